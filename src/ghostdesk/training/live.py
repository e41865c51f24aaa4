"""The live model as the running service takes it up: its experts, and the watch over its own forecasts."""

from __future__ import annotations

from pathlib import Path

from ghostdesk.control.curve_feed import ServedCurves
from ghostdesk.control.model_feed import ServedModel
from ghostdesk.profiles.forecast_watch import Judged
from ghostdesk.profiles.next_app.expert import NextAppExpert
from ghostdesk.profiles.next_app.lstm_expert import LstmExpert
from ghostdesk.profiles.next_app.mixture import TRAINED
from ghostdesk.training.drift import DriftWatch
from ghostdesk.training.drift_check import new_watch
from ghostdesk.training.registry import CurveRegistry, ModelRegistry, load_current, load_current_curves


class LiveModels:
    """A `ModelSource` on a folder of models.

    Args:
        folder: `models` in the state folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._registry = ModelRegistry(folder)

    def stamp(self) -> str:
        """See `Registry.stamp`."""
        return self._registry.stamp()

    def load(self) -> ServedModel:
        """The live model; with a problem where it cannot be used, and without a name where there is none."""
        model, problem = load_current(self._folder)
        if model is None:
            return ServedModel(problem=problem)
        version = self._registry.current_version()
        if version is None or version.digest != model.version:
            return ServedModel(problem="The live model changed while it was read; it is read again in a moment.")
        watch = new_watch(version)
        config, weights = model.header.config, model.weights

        def trained() -> dict[str, NextAppExpert]:
            return {TRAINED: LstmExpert(config, weights)}

        def judged(step: Judged) -> None:
            if step.trained_loss_nats is not None:
                watch.observe(step.app, step.trained_loss_nats)

        return ServedModel(version.name, version.digest, trained, judged, lambda: _words(watch))


class LiveCurves:
    """A `CurveSource` on a folder of models of usage curves.

    Args:
        folder: `models/curves` in the state folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._registry = CurveRegistry(folder)

    def stamp(self) -> str:
        """See `Registry.stamp`."""
        return self._registry.stamp()

    def load(self) -> ServedCurves:
        """The live models; with a problem where they cannot be used."""
        models, problem = load_current_curves(self._folder)
        return ServedCurves(models, problem)


def _words(watch: DriftWatch) -> str:
    report = watch.report()
    return report.words.removesuffix(" Train again.") if report.drifted else ""

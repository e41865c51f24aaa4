"""The figures that the simulator draws from: measured on recorded sets, fitted to them, and shipped as figures only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ghostdesk.replay.synthetic.figures_starts import Figures

_GROUPS = frozenset({"desktop-starts", "people", "apps", "resources"})


@dataclass(frozen=True)
class Parameters:
    """What `calibration.json` holds.

    Args:
        measured: by set ("desktop-starts", "people", "apps", "resources"), its figures; see `figures_*`.
        fitted: settings of the simulator that were moved until what it makes has the measured figures.
        about: by set, what it was, how much of it, and when it was measured.
    """

    measured: Mapping[str, Figures]
    fitted: Mapping[str, float]
    about: Mapping[str, str]

    def number(self, group: str, name: str) -> float:
        """One measured figure."""
        found = self.measured[group][name]
        if isinstance(found, list):
            raise TypeError(f"{name} is a table")
        return found

    def table(self, group: str, name: str) -> list[float]:
        """One measured table."""
        found = self.measured[group][name]
        if not isinstance(found, list):
            raise TypeError(f"{name} is a number")
        return found


@cache
def shipped() -> Parameters:
    """Those that come with ghostdesk."""
    return parse_parameters(
        files("ghostdesk.replay.synthetic").joinpath("calibration.json").read_text(encoding="utf-8")
    )


def parse_parameters(text: str) -> Parameters:
    """Read what `ghostdesk simulate calibrate --to` writes; raises `ValueError`, `TypeError`, `KeyError`."""
    found = json.loads(text)
    measured = {
        str(group): {
            str(name): [float(v) for v in value] if isinstance(value, list) else float(value)
            for name, value in figures.items()
        }
        for group, figures in found["measured"].items()
    }
    fitted = {str(name): float(value) for name, value in found["fitted"].items()}
    if missing := sorted(_GROUPS - set(measured)):
        raise ValueError(f"{missing[0]} is missing")
    return Parameters(measured, fitted, {str(group): str(said) for group, said in found["about"].items()})

"""The model of usage curves: experts, the gates that weigh them, and their form on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.resource_curves.experts import EXPERTS, expert_quantiles
from ghostdesk.profiles.resource_curves.features import FEATURES, features_of, scale_of
from ghostdesk.profiles.resource_curves.gate import GateShape, Parameters, mixed
from ghostdesk.profiles.resource_curves.predictor import HORIZON_H
from ghostdesk.profiles.resource_curves.quantiles import LEVEL_VALUES, Floats

_CHUNK_ROWS = 256
"""Rows served at once: 2 MB of experts' forecasts, which stay in the processor's cache."""
_MEND = "Train a new model with `ghostdesk train`, or roll back to an earlier one."


@dataclass(frozen=True, slots=True)
class CurveModel:
    """Forecasts of one resource.

    Args:
        shape: sizes of the gates.
        members: gates that are averaged, quantile by quantile; none: the plain mean of the experts.
        pool_scale: what is usual among all series, in their unit.
    """

    shape: GateShape
    members: tuple[Parameters, ...]
    pool_scale: float
    name: str = "ghostdesk"

    @staticmethod
    def untrained(pool_scale: float = 1.0) -> CurveModel:
        """The plain mean of the experts: sane before anything was learnt."""
        return CurveModel(GateShape(len(EXPERTS), HORIZON_H, LEVEL_VALUES.size), (), pool_scale)

    def quantiles(self, window: Floats, hour: npt.NDArray[np.float64], horizon_h: int = HORIZON_H) -> Floats:
        """Quantiles of the hourly means to come, shape (rows, horizon_h, levels), rising and never negative.

        Args:
            window: hourly means of the 168 hours before, shape (rows, 168); NaN is missing. Rows without any give 0.
            hour: of the first hour to come, shape (rows,): counted from the same midnight as in training.
            horizon_h: hours ahead, at most 48.
        """
        found = np.empty((len(window), horizon_h, LEVEL_VALUES.size), dtype=np.float32)
        for begin in range(0, len(window), _CHUNK_ROWS):
            rows = slice(begin, begin + _CHUNK_ROWS)
            found[rows] = self._chunk(window[rows], hour[rows], horizon_h)
        return found

    def _chunk(self, window: Floats, hour: npt.NDArray[np.float64], horizon_h: int) -> Floats:
        experts = expert_quantiles(window, horizon_h)
        if not self.members:
            return np.asarray(np.sort(experts.mean(axis=0), axis=-1), dtype=np.float32)
        scale = scale_of(window, self.pool_scale)
        features = features_of(window, hour, self.pool_scale)
        total = sum(mixed(member, self.shape, features, experts, scale) for member in self.members)
        average = np.asarray(total, dtype=np.float32) / np.float32(len(self.members))
        average[np.isnan(window).all(axis=1)] = 0.0
        return np.maximum(np.sort(average, axis=-1), 0.0)  # sorting mends crossing: Chernozhukov et al. 2010

    def to_arrays(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """The model as a header that JSON can hold, and arrays by name."""
        header: dict[str, object] = {
            "experts": [expert.name for expert in EXPERTS],
            "features": FEATURES,
            "hidden": self.shape.hidden,
            "hours": HORIZON_H,
            "levels": list(LEVELS),
            "members": len(self.members),
            "pool_scale": self.pool_scale,
        }
        return header, {f"{i}.{name}": array for i, p in enumerate(self.members) for name, array in p.items()}

    @staticmethod
    def from_arrays(header: Mapping[str, object], arrays: Mapping[str, Floats]) -> CurveModel:
        """The model that `to_arrays` gave. Raises `ConfigError` where it is of another make, cut short or damaged."""
        expected = {
            "experts": [expert.name for expert in EXPERTS],
            "features": FEATURES,
            "hours": HORIZON_H,
            "levels": list(LEVELS),
        }
        for key, value in expected.items():
            if header.get(key) != value:
                raise ConfigError(f"The model of usage curves was made with other {key}.", _MEND)
        hidden, members, pool_scale = header.get("hidden"), header.get("members"), header.get("pool_scale")
        if not (
            isinstance(hidden, int)
            and isinstance(members, int)
            and isinstance(pool_scale, (int, float))
            and 0 < hidden <= 4096
            and 0 <= members <= 64
            and np.isfinite(pool_scale)
            and pool_scale > 0
        ):
            raise ConfigError("The header of the model of usage curves is damaged.", _MEND)
        shape = GateShape(len(EXPERTS), HORIZON_H, LEVEL_VALUES.size, hidden)
        found = tuple(_member(shape, arrays, index) for index in range(members))
        return CurveModel(shape, found, float(pool_scale))


def _member(shape: GateShape, arrays: Mapping[str, Floats], index: int) -> Parameters:
    found: Parameters = {}
    for name, size in shape.shapes().items():
        array = arrays.get(f"{index}.{name}")
        if array is None or array.shape != size or not np.isfinite(array).all():
            raise ConfigError(f"The model of usage curves lacks sound weights {index}.{name}.", _MEND)
        found[name] = np.asarray(array, dtype=np.float32)
    if not (found["deviation"] > 0).all():
        raise ConfigError(f"The model of usage curves lacks sound weights {index}.deviation.", _MEND)
    return found

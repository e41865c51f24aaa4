"""The network that weighs evidence: one score a candidate, a softmax over candidates, learnt online.

A log-linear mixture of experts' opinions (logistic mixing in PAQ: Mahoney 2005; product of experts: Hinton 2002) with a
small hidden layer, shared by everyone, and a linear correction for each person that is shrunk towards nothing, so that
a person with little history is weighed as everyone is (partial pooling). A new network answers what prediction by
partial matching answers; learning can only move it from there.

Steps are Adam's (Kingma and Ba 2015) on small batches; nothing here needs more than numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.next_app.evidence import BLEND_FEATURE, FEATURES, Floats

HIDDEN = 32
_STEP = 3e-3
_BETAS = (0.9, 0.99)
_SHRINK = 1e-4
_OWN_STEP = 0.01
_OWN_SHRINK = 5e-4
_STEEPEST = 2.0
"""No step follows a steeper gradient than this: one odd batch moves little."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was known of the candidates when the person chose, and which row came: the last row is "another"."""

    features: Floats
    chosen: int


class EvidenceNetwork:
    """The shared weights. `seed` makes the first hidden weights."""

    def __init__(self, seed: int = 0, hidden: int = HIDDEN) -> None:
        rng = np.random.default_rng(seed)
        first = np.zeros(FEATURES, dtype=np.float32)
        first[BLEND_FEATURE] = 4.0  # features carry a quarter of the logarithm
        self.weights: dict[str, Floats] = {
            "linear": first,
            "in": (rng.standard_normal((FEATURES, hidden)) * (2.0 / FEATURES) ** 0.5).astype(np.float32),
            "in_bias": np.zeros(hidden, dtype=np.float32),
            "out": np.zeros(hidden, dtype=np.float32),
        }
        self._moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in self.weights.items()}
        self._steps = 0

    def scores(self, features: Floats, own: Floats | None = None) -> Floats:
        """Log probabilities of the rows, shape (rows,); `own` is a person's correction, shape (FEATURES,)."""
        w = self.weights
        linear = w["linear"] if own is None else w["linear"] + own
        raw = features @ linear + np.maximum(features @ w["in"] + w["in_bias"], 0.0) @ w["out"]
        raw -= raw.max()
        return np.asarray(raw - np.log(np.exp(raw).sum()), dtype=np.float32)

    def learn(self, lessons: Sequence[Lesson], step: float = _STEP) -> float:
        """One step of Adam on the mean log loss of the lessons; returns that loss in nats."""
        if not lessons:
            return 0.0
        w = self.weights
        rows = np.concatenate([lesson.features for lesson in lessons])
        sizes = np.array([len(lesson.features) for lesson in lessons])
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        hidden = rows @ w["in"] + w["in_bias"]
        active = np.maximum(hidden, 0.0)
        raw = rows @ w["linear"] + active @ w["out"]
        raw -= np.repeat(np.maximum.reduceat(raw, starts), sizes)
        odds = np.exp(raw)
        shares = odds / np.repeat(np.add.reduceat(odds, starts), sizes)
        chosen = starts + np.array([lesson.chosen for lesson in lessons])
        loss = float(-np.log(np.maximum(shares[chosen], 1e-9)).mean())
        slope = shares
        slope[chosen] -= 1.0
        slope = (slope / len(lessons)).astype(np.float32)
        back = (slope[:, None] * w["out"]) * (hidden > 0)
        self._move(
            {"linear": rows.T @ slope, "in": rows.T @ back, "in_bias": back.sum(axis=0), "out": active.T @ slope}, step
        )
        return loss

    def _move(self, slopes: Mapping[str, Floats], step: float) -> None:
        self._steps += 1
        first, second = _BETAS
        for name, slope in slopes.items():
            steep = float(np.sqrt((slope**2).sum()))
            held = slope * np.float32(min(1.0, _STEEPEST / max(steep, 1e-12)))
            mean, square = self._moments[name]
            mean += (1.0 - first) * (held - mean)
            square += (1.0 - second) * (held**2 - square)
            fair_mean, fair_square = mean / (1 - first**self._steps), square / (1 - second**self._steps)
            w = self.weights[name]
            w -= (step * fair_mean / (np.sqrt(fair_square) + 1e-8)).astype(np.float32)
            if name in ("in", "out"):
                w *= 1.0 - _SHRINK * step / _STEP

    def to_arrays(self) -> dict[str, Floats]:
        """A copy of the weights."""
        return {name: w.copy() for name, w in self.weights.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.float32]]) -> EvidenceNetwork:
        """A network with these weights; raises `ConfigError` when they are another network's."""
        network = cls(hidden=int(np.asarray(arrays.get("out", np.zeros(1))).size))
        for name, w in network.weights.items():
            found = arrays.get(name)
            if found is None or found.shape != w.shape or not np.isfinite(found).all():
                raise ConfigError(f"The weights {name!r} do not fit this version.", "Train again: `ghostdesk train`.")
            network.weights[name] = found.astype(np.float32)
        return network


def corrected(own: Floats, lesson: Lesson, log_shares: Floats) -> Floats:
    """A person's correction after one lesson (a gradient step, shrunk towards nothing)."""
    slope = np.exp(log_shares)
    slope[lesson.chosen] -= 1.0
    moved = own * (1.0 - _OWN_SHRINK) - _OWN_STEP * (slope @ lesson.features)
    return np.asarray(moved, dtype=np.float32)

"""The network that weighs the experts, hour by hour and level by level: a mixture of experts on quantiles.

A softmax gate (Jacobs et al. 1991) over quantile forecasts (quantile averaging, Lichtendahl et al. 2013) and a
correction in units of the series' own mean. Plain numpy: a forward pass for serving, and its gradient for `training`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.profiles.resource_curves.features import FEATURES, LIMIT
from ghostdesk.profiles.resource_curves.quantiles import Floats

Parameters = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class GateShape:
    """Sizes of a gate: experts, coming hours, levels and hidden units."""

    experts: int
    hours: int
    levels: int
    hidden: int = 64
    features: int = FEATURES

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter."""
        return {
            "mean": (self.features,),
            "deviation": (self.features,),
            "w1": (self.features, self.hidden),
            "b1": (self.hidden,),
            "w2": (self.hidden, self.hidden),
            "b2": (self.hidden,),
            "hours": (self.hidden, self.experts * self.hours),
            "hours_bias": (self.experts * self.hours,),
            "levels": (self.hidden, self.experts * self.levels),
            "levels_bias": (self.experts * self.levels,),
            "correction": (self.hidden, self.hours * self.levels),
            "correction_bias": (self.hours * self.levels,),
        }


@dataclass(frozen=True, slots=True)
class Passed:
    """What the forward pass computed, kept for the gradient."""

    inputs: Floats
    first: Floats
    kept: Floats
    second: Floats
    weights: Floats
    averaged: Floats
    quantiles: Floats


def new_parameters(shape: GateShape, rng: np.random.Generator, mean: Floats, deviation: Floats) -> Parameters:
    """Random weights (He et al. 2015), small in the last layers: at first the gate is near the plain mean."""
    made: Parameters = {}
    for name, size in shape.shapes().items():
        small = 0.1 if name in ("hours", "levels", "correction") else np.sqrt(2.0)
        made[name] = (
            (rng.standard_normal(size) * small / np.sqrt(size[0])).astype(np.float32)
            if len(size) > 1
            else np.zeros(size, dtype=np.float32)
        )
    return {**made, "mean": mean, "deviation": deviation}


def hidden_of(p: Parameters, features: Floats, kept: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Normalised inputs and both hidden layers; `kept` is a dropout mask (Srivastava et al. 2014) on the first."""
    inputs = np.clip((features - p["mean"]) / p["deviation"], -LIMIT, LIMIT)
    first = np.maximum(inputs @ p["w1"] + p["b1"], 0.0)
    if kept is not None:
        first = first * kept
    return inputs, first, np.maximum(first @ p["w2"] + p["b2"], 0.0)


def mixed(p: Parameters, shape: GateShape, features: Floats, experts: Floats, scale: Floats) -> Floats:
    """The forecast, shape (rows, hours, levels).

    The softmax of a sum is a product, so the weights are never held whole: rows are served in time for large pools.

    Args:
        p, shape: the gate.
        features: shape (rows, features).
        experts: shape (experts, rows, hours, levels); hours past the gate's are weighed like its last.
        scale: of each series, shape (rows,).
    """
    _, _, h = hidden_of(p, features)
    rows, hours = len(features), experts.shape[2]
    by_hour = _exponential((h @ p["hours"] + p["hours_bias"]).reshape(rows, shape.experts, shape.hours))
    by_level = _exponential((h @ p["levels"] + p["levels_bias"]).reshape(rows, shape.experts, shape.levels))
    correction = (h @ p["correction"] + p["correction_bias"]).reshape(rows, shape.hours, shape.levels)
    if hours != shape.hours:
        used = np.minimum(np.arange(hours), shape.hours - 1)
        by_hour, correction = by_hour[:, :, used], correction[:, used]
    total = np.matmul(by_hour.transpose(0, 2, 1), by_level)
    found = np.zeros_like(total)
    for e in range(shape.experts):
        found += (by_hour[:, e, :, None] * by_level[:, e, None, :]) * experts[e]
    return np.asarray(found / total + correction * scale[:, None, None], dtype=np.float32)


def forward(p: Parameters, shape: GateShape, features: Floats, experts: Floats, kept: Floats | None) -> Passed:
    """As `mixed`, in units of each series' scale and with all that `gradient` needs."""
    inputs, first, second = hidden_of(p, features, kept)
    rows = len(features)
    logits = (second @ p["hours"] + p["hours_bias"]).reshape(rows, shape.experts, shape.hours, 1) + (
        second @ p["levels"] + p["levels_bias"]
    ).reshape(rows, shape.experts, 1, shape.levels)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    averaged = (weights * experts).sum(axis=1)
    correction = (second @ p["correction"] + p["correction_bias"]).reshape(averaged.shape)
    mask = np.ones_like(first) if kept is None else kept
    return Passed(inputs, first, mask, second, weights, averaged, averaged + correction)


def gradient(p: Parameters, passed: Passed, experts: Floats, slope: Floats) -> Parameters:
    """Gradient of the loss by each parameter, from its slope by the quantiles, shape (rows, hours, levels)."""
    rows = len(slope)
    by_logit = passed.weights * (experts - passed.averaged[:, None]) * slope[:, None]
    by_hour, by_level = by_logit.sum(axis=3).reshape(rows, -1), by_logit.sum(axis=2).reshape(rows, -1)
    by_correction = slope.reshape(rows, -1)
    second = by_hour @ p["hours"].T + by_level @ p["levels"].T + by_correction @ p["correction"].T
    second = second * (passed.second > 0)
    first = (second @ p["w2"].T) * passed.kept * (passed.first > 0)
    return {
        "w1": passed.inputs.T @ first,
        "b1": first.sum(axis=0),
        "w2": passed.first.T @ second,
        "b2": second.sum(axis=0),
        "hours": passed.second.T @ by_hour,
        "hours_bias": by_hour.sum(axis=0),
        "levels": passed.second.T @ by_level,
        "levels_bias": by_level.sum(axis=0),
        "correction": passed.second.T @ by_correction,
        "correction_bias": by_correction.sum(axis=0),
    }


def _exponential(logits: Floats) -> Floats:
    """Exponentials that cannot overflow: the largest over the experts is 1."""
    return np.asarray(np.exp(logits - logits.max(axis=1, keepdims=True)), dtype=np.float32)

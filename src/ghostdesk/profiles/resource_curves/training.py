"""Fitting the gate on the past of many series: Adam on the quantile loss, deterministic by seed, bounded in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.resource_curves.experts import EXPERTS, expert_quantiles
from ghostdesk.profiles.resource_curves.features import WEEKLY, features_of, scale_of
from ghostdesk.profiles.resource_curves.gate import GateShape, Parameters, forward, gradient, new_parameters
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.predictor import DAY_H, HORIZON_H, WINDOW_H
from ghostdesk.profiles.resource_curves.quantiles import LEVEL_VALUES, Floats

_MOST_SCALES = 300.0
"""A series counts for at most so many times what is usual: nobody's use, true or made up, drowns the others."""
_FEWEST_ROWS = 64
_FEWEST_STEPS = 100
"""Few examples are passed over more often than `CurveTraining.epochs` says."""
_WEEKS_KNOWN_H = 2 * WINDOW_H
_UNSEEN = np.float32(1e6)
"""The day of the week is hidden from models that saw less than two weeks: dividing by this makes it nothing."""
_CHUNK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class CurveTraining:
    """How to train.

    Args:
        members: gates that are averaged.
        epochs: passes over the examples.
        batch: examples a step.
        rate: largest learning rate of Adam (Kingma and Ba 2015), warmed up and let down (Smith and Topin 2018).
        decay: weight decay (Loshchilov and Hutter 2019).
        dropout: share of hidden units that are left out in a step.
        balance: how much more a large series counts: its scale to this power (0 all alike, 1 as in the pooled loss).
        rows: examples kept at most; 9 kB each.
        fewest_known_h: hours that a window must hold to be learnt from.
        seed: of all chance.
    """

    members: int = 3
    epochs: int = 4
    batch: int = 256
    rate: float = 1e-3
    decay: float = 1e-2
    dropout: float = 0.1
    balance: float = 0.5
    rows: int = 40_000
    fewest_known_h: int = 3 * DAY_H
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Examples:
    features: Floats
    experts: Floats  # in units of the series' scale, as the targets
    targets: Floats
    weights: Floats


def pool_scale_of(hourly: Floats) -> float:
    """What is usual among series, shape (series, hours): the upper quartile of their means; 1 where all is 0."""
    with np.errstate(invalid="ignore"):
        known = (~np.isnan(hourly)).sum(axis=1)
        means = np.where(known > 0, np.nansum(hourly, axis=1) / np.maximum(known, 1), 0.0)
    positive = means[means > 0]
    return float(np.quantile(positive, 0.75)) if positive.size else 1.0


def train_curves(
    hourly: Floats,
    first_hour: int,
    options: CurveTraining | None = None,
    progress: Callable[[float], None] | None = None,
) -> CurveModel:
    """Learn to weigh the experts from everything in `hourly`.

    Args:
        hourly: hourly means of one resource, shape (series, hours); NaN is missing.
        first_hour: of the first column: hours since 1970, or since any other midnight that forecasts count from too.
        options: see `CurveTraining`.
        progress: told the share that is done.

    Returns:
        The trained model; where there are too few examples, the untrained one (the plain mean of the experts).
    """
    options = options or CurveTraining()
    hourly = np.asarray(hourly, dtype=np.float32)
    pool_scale = pool_scale_of(hourly)
    rng = np.random.default_rng(options.seed)
    examples = _examples(hourly, first_hour, pool_scale, options, rng)
    if len(examples.targets) < _FEWEST_ROWS:
        return CurveModel.untrained(pool_scale)
    shape = GateShape(len(EXPERTS), HORIZON_H, LEVEL_VALUES.size)
    mean = examples.features.mean(axis=0)
    deviation = examples.features.std(axis=0) + np.float32(1e-3)
    if hourly.shape[1] < _WEEKS_KNOWN_H:
        deviation[WEEKLY] = _UNSEEN
    members = []
    for member in range(options.members):
        start = new_parameters(shape, rng, mean, deviation)

        def told(share: float, member: int = member) -> None:
            if progress is not None:
                progress((member + share) / options.members)

        members.append(_fitted(start, shape, examples, options, rng, told))
    return CurveModel(shape, tuple(members), pool_scale)


def _examples(
    hourly: Floats, first_hour: int, pool_scale: float, options: CurveTraining, rng: np.random.Generator
) -> _Examples:
    """Windows and what followed them, drawn evenly from all series and times."""
    series, hours = hourly.shape
    fewest = options.fewest_known_h
    before = np.full((series, WINDOW_H + max(0, HORIZON_H - hours)), np.nan, dtype=np.float32)
    padded = np.concatenate([before, hourly], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_H + HORIZON_H, axis=1)  # at origin 0, 1, ...
    origins = np.arange(fewest, max(hours - HORIZON_H + 1, fewest))
    seen = np.concatenate([np.zeros((series, 1)), np.cumsum(~np.isnan(hourly), axis=1)], axis=1)
    past = seen[:, origins] - seen[:, np.maximum(origins - WINDOW_H, 0)]
    coming = seen[:, origins + HORIZON_H] - seen[:, origins] if origins.size else past
    who, when = np.nonzero((past >= fewest) & (coming > 0))
    if who.size > options.rows:
        chosen = np.sort(rng.choice(who.size, options.rows, replace=False))
        who, when = who[chosen], when[chosen]
    both = windows[who, origins[when]] if who.size else np.zeros((0, WINDOW_H + HORIZON_H), dtype=np.float32)
    window, targets = np.ascontiguousarray(both[:, :WINDOW_H]), both[:, WINDOW_H:]
    scale = scale_of(window, pool_scale)
    experts = np.empty((len(window), len(EXPERTS), HORIZON_H, LEVEL_VALUES.size), dtype=np.float32)
    for begin in range(0, len(window), _CHUNK_ROWS):
        rows = slice(begin, begin + _CHUNK_ROWS)
        experts[rows] = expert_quantiles(window[rows]).transpose(1, 0, 2, 3) / scale[rows, None, None, None]
    clock = (first_hour + origins[when]) % WINDOW_H if who.size else np.zeros(0)
    share = np.minimum(scale / pool_scale, _MOST_SCALES) ** options.balance
    weights = share / max(float(share.mean()), 1e-9) if share.size else share
    return _Examples(
        features_of(window, clock.astype(np.float64), pool_scale),
        experts,
        (targets / scale[:, None]).astype(np.float32),
        weights.astype(np.float32),
    )


def _fitted(
    p: Parameters,
    shape: GateShape,
    examples: _Examples,
    options: CurveTraining,
    rng: np.random.Generator,
    told: Callable[[float], None],
) -> Parameters:
    """AdamW with one cycle of the learning rate."""
    rows = len(examples.targets)
    batch = min(options.batch, rows)
    epochs = max(options.epochs, -(-_FEWEST_STEPS * batch // rows))
    steps = epochs * (rows // batch)
    learnt = [name for name in p if name not in ("mean", "deviation")]
    first = {name: np.zeros_like(p[name]) for name in learnt}
    second = {name: np.zeros_like(p[name]) for name in learnt}
    step = 0
    for _ in range(epochs):
        order = rng.permutation(rows)
        for begin in range(0, batch * (rows // batch), batch):
            step += 1
            slopes = _slopes(p, shape, examples, order[begin : begin + batch], options.dropout, rng)
            rate = options.rate * _cycle(step / steps)
            for name in learnt:
                slope = slopes[name]
                first[name] += 0.1 * (slope - first[name])
                second[name] += 0.001 * (slope * slope - second[name])
                move = (first[name] / (1 - 0.9**step)) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
                p[name] = (p[name] - rate * (move + options.decay * p[name])).astype(np.float32)
        told(step / steps)
    return p


def _slopes(
    p: Parameters,
    shape: GateShape,
    examples: _Examples,
    chosen: npt.NDArray[np.int64],
    dropout: float,
    rng: np.random.Generator,
) -> Parameters:
    """Gradient of the weighted quantile loss (Koenker and Bassett 1978) over one batch, cut to length 1."""
    experts = examples.experts[chosen]
    kept = (rng.random((len(chosen), shape.hidden)) >= dropout).astype(np.float32) / np.float32(1.0 - dropout)
    passed = forward(p, shape, examples.features[chosen], experts, kept)
    targets = examples.targets[chosen][:, :, None]
    below = np.where(np.isnan(targets), LEVEL_VALUES, (targets < passed.quantiles).astype(np.float32))
    slope = 2.0 * (below - LEVEL_VALUES) * examples.weights[chosen][:, None, None]
    slopes = gradient(p, passed, experts, (slope / slope.size).astype(np.float32))
    length = np.sqrt(sum(float((s * s).sum()) for s in slopes.values()))
    return {name: s / np.float32(max(1.0, length)) for name, s in slopes.items()}


def _cycle(done: float) -> float:
    """Share of the largest learning rate: up over the first 30 %, then down to nothing along a cosine."""
    if done < 0.3:
        return 0.04 + 0.96 * done / 0.3
    return 0.5 * (1.0 + float(np.cos(np.pi * (done - 0.3) / 0.7)))

"""Scores of usage curves: hourly means, 12 h ahead, on the last days of a history, trained on what came before.

Every hour of the scored days is a forecast's origin, and all of its 12 hours are scored. The model is trained once, on
the hours before the scored days; each forecast then sees its own last week, as the simple predictors do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ghostdesk.evaluate.curves_hours import HourlyUsage
from ghostdesk.evaluate.metrics import Interval, bootstrap_interval, pinball_loss
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.resource_curves.experts import SIMPLE
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.predictor import DAY_H, HORIZON_H, WINDOW_H
from ghostdesk.profiles.resource_curves.quantiles import Floats
from ghostdesk.profiles.resource_curves.training import CurveTraining, train_curves

MODEL = "ghostdesk"
UNSEEN = "ghostdesk, unseen machines"
SCORED_DAYS = 9
_FEWEST_HOURS = 3 * DAY_H
_DECILES = [LEVELS.index(level) for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
_INTERVALS = ((0.5, 0.25, 0.75), (0.8, 0.1, 0.9), (0.95, 0.025, 0.975))
_ORIGINS_AT_ONCE = 4096

Forecaster = Callable[[Floats, npt.NDArray[np.float64], npt.NDArray[np.int64]], Floats]
"""Quantiles from windows, hours of the week and machine numbers, all of the same rows."""
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class CurveScores:
    """How one predictor did on one resource.

    Args:
        predictor: its name.
        weighted_quantile_loss: 2 x pinball loss over the deciles, summed over machines and hours, by the sum of use.
        interval: 95 % bootstrap interval of it, machines drawn; None with one machine.
        coverage: share of hours inside the central 50, 80 and 95 % intervals, bounds included.
        coverage_ties_split: the same where an hour that equals a bound (a machine that idles at 0) counts in part, as
            in the randomised probability integral transform (Czado, Gneiting and Held 2009): what should be nominal.
    """

    predictor: str
    weighted_quantile_loss: float
    interval: Interval | None
    coverage: tuple[float, float, float]
    coverage_ties_split: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class CurveReport:
    """Scores of one resource, best first.

    Args:
        resource: the column.
        machines, forecasts: what was scored; a forecast is of 12 hours.
        trained_hours, scored_hours: the split.
        scores: one a predictor.
        notes: what limits the scores.
    """

    resource: str
    machines: int
    forecasts: int
    trained_hours: int
    scored_hours: int
    scores: tuple[CurveScores, ...]
    notes: tuple[str, ...] = ()


def scored_hours(hours: int) -> int:
    """How many hours at the end are scored: 9 days, or 30 % of a shorter history. Raises `ImportFileError`."""
    if hours < _FEWEST_HOURS:
        raise ImportFileError(
            f"The history covers {hours:,} hours, and curves are scored on three days or more.", "Give a longer one."
        )
    return min(SCORED_DAYS * DAY_H, max(HORIZON_H, int(0.3 * hours)))


def evaluate_curves(
    usage: HourlyUsage,
    *,
    options: CurveTraining | None = None,
    folds: int = 0,
    progress: Progress | None = None,
) -> list[CurveReport]:
    """Score every simple predictor and the model on each resource.

    Args:
        usage: the history.
        options: of the training.
        folds: also score the model on machines that its training never saw, in so many folds; 0 does not.
        progress: told what is being done, and the share that is done.
    """
    scored = scored_hours(usage.hours)
    told = progress or (lambda _what, _share: None)
    reports = []
    for number, (resource, hourly) in enumerate(usage.amounts.items()):

        def here(what: str, share: float, number: int = number, resource: str = resource) -> None:
            told(f"{resource}: {what}", (number + share) / len(usage.amounts))

        reports.append(_one_resource(resource, hourly, usage.first_hour, scored, options, folds, here))
    return reports


def _one_resource(
    resource: str,
    hourly: Floats,
    first_hour: int,
    scored: int,
    options: CurveTraining | None,
    folds: int,
    told: Progress,
) -> CurveReport:
    trained = hourly.shape[1] - scored
    share = 0.6 / (1 + folds)
    model = train_curves(hourly[:, :trained], first_hour, options, lambda done: told("training", share * done))
    notes = [] if model.members else ["Too little history to train on: the model is the plain mean of its experts."]
    forecasters: dict[str, Forecaster] = {
        p.name: lambda w, _h, _m, p=p: p.quantiles(w)  # type: ignore[misc]
        for p in SIMPLE
    }
    forecasters[MODEL] = lambda w, h, _m: model.quantiles(w, h)
    machines = len(hourly)
    if folds and machines >= 2:
        forecasters[UNSEEN] = _unseen(hourly[:, :trained], first_hour, min(folds, machines), options, share, told)
    elif folds:
        notes.append("One machine alone: there is none to leave out.")
    sums = {name: _Sums(machines) for name in forecasters}
    forecasts = 0
    for who, window, clock, actual, done in _origins(hourly, first_hour, trained):
        forecasts += len(who)
        for name, forecast in forecasters.items():
            sums[name].add(who, actual, forecast(window, clock, who))
        told("scoring", 0.6 + 0.4 * done)
    if not forecasts:
        notes.append("Nothing could be scored: no machine was measured before and within the scored days.")
    found = sorted((s.scores(name) for name, s in sums.items()), key=_rank)
    seen = int((next(iter(sums.values())).hours > 0).sum())
    return CurveReport(resource, seen, forecasts, trained, scored, tuple(found), tuple(notes))


def _unseen(
    hourly: Floats, first_hour: int, folds: int, options: CurveTraining | None, share: float, told: Progress
) -> Forecaster:
    """Each machine is forecast by a model that was trained on the machines of other folds.

    Folds are runs of machines in the order of the file: neighbours often work together, and are left out together.
    """
    machines = len(hourly)
    fold_of = np.arange(machines) * folds // machines
    base = options or CurveTraining()
    models: list[CurveModel] = []
    for fold in range(folds):
        start = share * (1 + fold)
        others = hourly[fold_of != fold]
        models.append(
            train_curves(
                others,
                first_hour,
                replace(base, seed=base.seed + 1 + fold),
                lambda done, start=start: told("training without some machines", start + share * done),  # type: ignore[misc]
            )
        )

    def forecast(window: Floats, clock: npt.NDArray[np.float64], who: npt.NDArray[np.int64]) -> Floats:
        found = np.empty((len(who), HORIZON_H, len(LEVELS)), dtype=np.float32)
        for fold, model in enumerate(models):
            rows = fold_of[who] == fold
            found[rows] = model.quantiles(window[rows], clock[rows])
        return found

    return forecast


def _origins(
    hourly: Floats, first_hour: int, trained: int
) -> Iterator[tuple[npt.NDArray[np.int64], Floats, npt.NDArray[np.float64], Floats, float]]:
    """Batches of: machine, window, hour of the week, what happened, and the share done; known rows only."""
    machines, hours = hourly.shape
    padded = np.concatenate([np.full((machines, WINDOW_H), np.nan, dtype=np.float32), hourly], axis=1)
    last = hours - HORIZON_H + 1
    step = max(1, _ORIGINS_AT_ONCE // machines)
    for begin in range(trained, last, step):
        origins = np.arange(begin, min(begin + step, last))
        who, when = (a.ravel() for a in np.meshgrid(np.arange(machines), origins, indexing="ij"))
        window = padded[who[:, None], when[:, None] + np.arange(WINDOW_H)]
        actual = hourly[who[:, None], when[:, None] + np.arange(HORIZON_H)]
        used = ~np.isnan(window).all(axis=1) & ~np.isnan(actual).all(axis=1)
        if used.any():
            clock = ((first_hour + when[used]) % WINDOW_H).astype(np.float64)
            yield who[used], window[used], clock, actual[used], (int(origins[-1]) + 1 - trained) / (last - trained)


class _Sums:
    """What one predictor lost and covered, by machine."""

    def __init__(self, machines: int) -> None:
        self.loss = np.zeros(machines)
        self.use = np.zeros(machines)
        self.hours = np.zeros(machines)
        self.inside = np.zeros((3, machines))
        self.split = np.zeros((3, machines))

    def add(self, who: npt.NDArray[np.int64], actual: Floats, quantiles: Floats) -> None:
        known = ~np.isnan(actual)
        levels = np.asarray(LEVELS)[_DECILES]
        loss = 2.0 * pinball_loss(np.nan_to_num(actual), quantiles[..., _DECILES], levels).mean(axis=-1)
        size = len(self.loss)

        def by_machine(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            sums = np.where(known, values, 0.0).sum(axis=1)
            return np.bincount(who, weights=sums, minlength=size).astype(np.float64)

        self.loss += by_machine(loss)
        self.use += by_machine(np.abs(actual.astype(np.float64)))
        self.hours += by_machine(known.astype(np.float64))
        low, high = levels_around(actual, quantiles)
        for i, (_, below, above) in enumerate(_INTERVALS):
            lower, upper = quantiles[..., LEVELS.index(below)], quantiles[..., LEVELS.index(above)]
            self.inside[i] += by_machine(((actual >= lower) & (actual <= upper)).astype(np.float64))
            overlap = np.clip(np.minimum(high, above) - np.maximum(low, below), 0.0, None) / (high - low)
            strictly = ((actual > lower) & (actual < upper)).astype(np.float64)
            tied = (actual == lower) | (actual == upper)
            self.split[i] += by_machine(np.where(tied, overlap, strictly))

    def scores(self, name: str) -> CurveScores:
        """The pooled scores; NaN where nothing was scored, or nothing was used."""
        use, hours = float(self.use.sum()), float(self.hours.sum())
        scored = self.use > 0
        interval = bootstrap_interval(self.loss[scored], self.use[scored], macro=False) if scored.sum() > 1 else None

        def shares(counts: npt.NDArray[np.float64]) -> tuple[float, float, float]:
            a, b, c = (float(one.sum()) / hours if hours else float("nan") for one in counts)
            return a, b, c

        loss = float(self.loss.sum()) / use if use > 0 else float("nan")
        return CurveScores(name, loss, interval, shares(self.inside), shares(self.split))


def levels_around(actual: Floats, quantiles: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The levels between which each value falls: below is the last quantile under it, above the first one over it.

    Args:
        actual: shape (...).
        quantiles: shape (..., levels), not falling.

    Returns:
        Two arrays of shape (...), the first always the smaller.
    """
    bounds = np.concatenate([[0.0], np.asarray(LEVELS), [1.0]])
    under = (quantiles < actual[..., None]).sum(axis=-1)
    not_over = (quantiles <= actual[..., None]).sum(axis=-1)
    return bounds[under], bounds[not_over + 1]


def _rank(one: CurveScores) -> tuple[bool, float]:
    loss = one.weighted_quantile_loss
    return (loss != loss, loss)  # noqa: PLR0124  (NaN last)

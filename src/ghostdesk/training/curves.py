"""New models of the usage curves, and whether they go live: pure numpy, no PyTorch.

The last part of the hours is held out. There the new model and the present one (without one: the plain mean of the
experts) forecast the same hours, twelve ahead, as the service does. A resource's new model is taken only where its
weighted quantile loss is lower beyond chance: the whole 95 % interval of the difference, by a bootstrap over people, is
on its side. All other resources keep what they have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.errors import ConfigError, Conflict
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.resource_curves.live import ENOUGH_HOURS, RESOURCES
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.model_file import CurveHeader, StoredCurves
from ghostdesk.profiles.resource_curves.predictor import DAY_H, HORIZON_H, WINDOW_H
from ghostdesk.profiles.resource_curves.quantiles import LEVEL_VALUES, Floats
from ghostdesk.profiles.resource_curves.training import CurveTraining, train_curves
from ghostdesk.training.cluster import Cluster
from ghostdesk.training.curve_hours import CurveHours
from ghostdesk.training.files import private_folder, sole_user
from ghostdesk.training.gate import interval_of_difference
from ghostdesk.training.registry import CurveRegistry, ModelVersion
from ghostdesk.training.run import models_folder
from ghostdesk.training.scoring import Losses
from ghostdesk.training.sources import HistorySource, ReadNotes, check_not_empty

FEWEST_HOURS: Final = 3 * DAY_H
MOST_HELD_OUT_H: Final = 9 * DAY_H
HELD_OUT_SHARE: Final = 0.3
_ROWS_JUDGED: Final = 4_000
_DECILES: Final = [LEVELS.index(level) for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
_OPTIONS: Final = CurveTraining(rows=10_000, fewest_known_h=ENOUGH_HOURS)

Told = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class CurveComparison:
    """What was found of one resource.

    Args:
        resource: of `live.RESOURCES`.
        people, forecasts, hours: on how much held-out history.
        challenger, champion: weighted quantile loss of the new and of the present model; None without held-out use.
        against: what the present one is: "the present model" or "the mean of the experts".
        low, high: 95 % interval of the difference; None with fewer than two people.
        better: whether the new model is taken.
        reason: why, in words.
    """

    resource: str
    people: int = 0
    forecasts: int = 0
    hours: int = 0
    challenger: float | None = None
    champion: float | None = None
    against: str = ""
    low: float | None = None
    high: float | None = None
    better: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CurveTrainReport:
    """What became of all resources; `model` is None where nothing could be trained."""

    model: ModelVersion | None
    live: bool
    reason: str
    resources: tuple[CurveComparison, ...]
    samples: int
    people: int
    notes: tuple[str, ...] = field(default=())


def train_curves_on(
    source: HistorySource,
    hours: CurveHours,
    state_folder: Path,
    *,
    identity: str,
    seed: int = 0,
    promote: bool = True,
    told: Told = lambda _what, _share: None,
    cluster: Cluster | None = None,
) -> CurveTrainReport:
    """The whole of it, from a history to models that are live or kept: one training at a time.

    Args:
        source: the history.
        hours: what was taken in of it already; where that is nothing, it is read now.
        state_folder: ghostdesk's; models go to `models/curves` in it.
        identity: of the source, from before it was read.
        seed, promote, told, cluster: see `train_curve_models`.

    Raises:
        ImportFileError: the history is empty or cannot be read.
        ConfigError: the disk refuses.
        Conflict: another training runs, or somebody deleted data while this one went on.
    """

    def still_allowed() -> None:
        if source.identity() != identity:
            raise Conflict(
                "Somebody deleted data or withdrew a consent while training went on; the new curves were thrown away.",
                "Train again.",
            )

    with sole_user(private_folder(state_folder / "training") / "lock", "is training a model"):
        if not hours.events:
            notes = ReadNotes()
            for event in source.events(notes):
                hours.add(event)
            check_not_empty(hours.events, notes, source.name)
        registry = CurveRegistry(curves_folder(state_folder))
        return train_curve_models(
            hours, registry, hours.now_s,
            seed=seed, promote=promote, told=told, still_allowed=still_allowed, cluster=cluster,
        )  # fmt: skip


def curves_folder(state_folder: Path) -> Path:
    """Where the models of the usage curves are."""
    return models_folder(state_folder) / "curves"


def train_curve_models(
    hours: CurveHours,
    registry: CurveRegistry,
    now_s: float,
    *,
    seed: int = 0,
    promote: bool = True,
    told: Told = lambda _what, _share: None,
    still_allowed: Callable[[], None] = lambda: None,
    cluster: Cluster | None = None,
) -> CurveTrainReport:
    """Train, compare, keep, and perhaps promote.

    Args:
        hours: the history.
        registry: where the models are kept.
        now_s: the present.
        seed: equal hours and seeds give equal weights.
        promote: whether better models go live by themselves.
        told: what is being done, and the share that is done.
        still_allowed: called before anything is kept; raises where the history may not be used any more.
        cluster: where the resources are trained, each by itself; None for this process, with the same result.

    Raises:
        ConfigError: the disk refuses.
    """
    present, notes = _present(registry)
    trained: dict[str, CurveModel] = {}
    found = []
    for resource, (model, comparison) in zip(RESOURCES, _all(hours, present, seed, told, cluster), strict=True):
        found.append(comparison)
        if model is not None:
            trained[resource] = model
    told("done", 1.0)
    samples, people = hours.samples, len(hours.people())
    if not trained:
        reason = "no resource has enough history" if samples else "no samples of whole desktops in use"
        return CurveTrainReport(None, False, reason, tuple(found), samples, people, notes)
    better = {one.resource for one in found if one.better}
    reason = (
        f"better for {', '.join(name.partition('_')[0] for name in RESOURCES if name in better)}"
        if better
        else "better for no resource beyond chance"
    )
    kept = {} if present is None else dict(present.models)
    models = {**kept, **{name: trained[name] for name in better}} if better else trained
    metrics = {f"{one.resource}_quantile_loss": one.challenger for one in found if one.challenger is not None}
    parent = None if present is None else present.version
    header = CurveHeader(now_s, hours.digest(), metrics, parent)
    still_allowed()
    version = registry.add(header, models, reason, {"resources": [asdict(one) for one in found]})
    live = bool(better) and promote
    if live:
        registry.promote(version, reason, now_s)
    elif better:
        reason = f"{reason}; kept aside by --no-promote"
    return CurveTrainReport(registry.version(version.name), live, reason, tuple(found), samples, people, notes)


_Found = tuple[CurveModel | None, CurveComparison]


@dataclass(frozen=True)
class _Job:
    """One resource's history, and its present model."""

    resource: str
    hourly: Floats
    first_hour: int
    stored: CurveModel | None
    seed: int


def _all(
    hours: CurveHours, present: StoredCurves | None, seed: int, told: Told, cluster: Cluster | None
) -> Iterator[_Found]:
    """Each resource's model, here one after the other, or side by side on the cluster."""

    def jobs() -> Iterator[_Job]:
        for resource in RESOURCES:
            hourly, first_hour = hours.hourly(resource)
            stored = None if present is None else present.models.get(resource)
            yield _Job(resource, hourly, first_hour, stored, seed)

    if cluster is not None:
        yield from cluster.map(_on_a_node, (_OPTIONS, _ROWS_JUDGED), jobs(), lambda n: told("", n / len(RESOURCES)))
        return
    for number, job in enumerate(jobs()):

        def here(share: float, number: int = number, job: _Job = job) -> None:
            told(job.resource.partition("_")[0], (number + share) / len(RESOURCES))

        yield _one(job, _OPTIONS, _ROWS_JUDGED, here)


def _on_a_node(options: tuple[CurveTraining, int], job: _Job) -> _Found:
    return _one(job, *options, lambda _share: None)


def _one(job: _Job, training: CurveTraining, rows: int, told: Callable[[float], None]) -> _Found:
    """A new model of one resource and how it did; None where there is too little to learn from."""
    resource, hourly, first_hour, seed = job.resource, job.hourly, job.first_hour, job.seed
    known = hourly.shape[1]
    if known < FEWEST_HOURS:
        reason = f"{known:,} hours of samples, and {FEWEST_HOURS} or more are needed" if known else "never measured"
        return None, CurveComparison(resource, people=len(hourly), hours=known, reason=reason)
    held_out = min(MOST_HELD_OUT_H, max(HORIZON_H, int(HELD_OUT_SHARE * known)))
    options = replace(training, seed=seed)
    model = train_curves(hourly[:, : known - held_out], first_hour, options, lambda share: told(0.8 * share))
    if not model.members:
        reason = "too few hours of people who were there for a day or more in all"
        return None, CurveComparison(resource, people=len(hourly), hours=held_out, reason=reason)
    against = "the mean of the experts" if job.stored is None else "the present model"
    champion = CurveModel.untrained(model.pool_scale) if job.stored is None else job.stored
    losses, forecasts = _losses(hourly, first_hour, known - held_out, (model, champion), seed, rows)
    return model, _compared(resource, losses, forecasts, held_out, against)


def _compared(
    resource: str, losses: tuple[Losses, Losses], forecasts: int, held_out: int, against: str
) -> CurveComparison:
    new, old = losses
    people = int((new.steps > 0).sum())
    if not people:
        return CurveComparison(resource, 0, forecasts, held_out, reason="nothing was used in the held-out hours")
    challenger, champion = new.mean(), old.mean()
    interval = interval_of_difference(new, old)
    low, high = interval if interval else (None, None)
    difference = challenger - champion
    better = (high if high is not None else difference) < 0.0
    if better:
        reason = f"better than {against}"
    elif difference < 0.0:
        reason = f"better than {against}, but that may be chance"
    else:
        reason = f"no better than {against}"
    return CurveComparison(
        resource, people, forecasts, held_out, challenger, champion, against, low, high, better, reason
    )


def _losses(
    hourly: Floats, first_hour: int, begin: int, models: tuple[CurveModel, CurveModel], seed: int, rows: int
) -> tuple[tuple[Losses, Losses], int]:
    """Quantile losses over the deciles, and use, by person: at most `rows` forecasts, drawn evenly."""
    people, hours = hourly.shape
    padded = np.concatenate([np.full((people, WINDOW_H), np.nan, dtype=np.float32), hourly], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_H + HORIZON_H, axis=1)
    origins = np.arange(begin, hours - HORIZON_H + 1)
    unknown = np.isnan(windows[:, begin : begin + origins.size])
    usable = ~unknown[..., :WINDOW_H].all(axis=2) & ~unknown[..., WINDOW_H:].all(axis=2)
    who, when = np.nonzero(usable)
    if who.size > rows:
        chosen = np.sort(np.random.default_rng([seed, 13]).choice(who.size, rows, replace=False))
        who, when = who[chosen], when[chosen]
    both = windows[who, origins[when]]
    window, actual = np.ascontiguousarray(both[:, :WINDOW_H]), both[:, WINDOW_H:]
    clock = ((first_hour + origins[when]) % WINDOW_H).astype(np.float64)
    use = np.bincount(who, np.nansum(actual, axis=1), people).astype(np.float64)
    one, other = (_loss_by_person(model.quantiles(window, clock), actual, who, people) for model in models)
    return (Losses(one, use), Losses(other, use)), int(who.size)


def _loss_by_person(
    quantiles: Floats, actual: Floats, who: npt.NDArray[np.intp], people: int
) -> npt.NDArray[np.float64]:
    """Twice the pinball loss (Koenker and Bassett 1978), mean over the deciles, summed over hours."""
    levels = LEVEL_VALUES[_DECILES]
    gap = actual[..., None] - quantiles[..., _DECILES]
    loss = 2.0 * np.maximum(levels * gap, (levels - 1.0) * gap).mean(axis=-1)
    return np.bincount(who, np.nansum(loss, axis=1), people).astype(np.float64)


def _present(registry: CurveRegistry) -> tuple[StoredCurves | None, tuple[str, ...]]:
    try:
        return registry.current(), ()
    except ConfigError as error:
        return None, (f"The present usage curves could not be compared with: {error.cause}",)

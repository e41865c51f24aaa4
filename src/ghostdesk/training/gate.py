"""Whether a new model goes live: it and the present one foretell the same recent history that neither was taught.

Both are run in numpy, as the service runs them, over everyone's last steps. What counts is the log loss of the next
application; the difference has an interval by a bootstrap over people (Efron 1979), as the steps of one person hang
together. A new model goes live only when the whole interval is on its side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.features import Step
from ghostdesk.profiles.lstm_step import LstmConfig, Weights
from ghostdesk.profiles.next_app.expert import ExpertFactory
from ghostdesk.profiles.sequences import batches_from_sequences
from ghostdesk.training.cluster import Cluster
from ghostdesk.training.plan import CONTEXT, WINDOW, Group, Room, Split, groups
from ghostdesk.training.scoring import Losses, ModelRun, expert_losses
from ghostdesk.training.shards import StepShards

MOST_PEOPLE: Final = 1_000
MOST_PEOPLE_SIMPLE: Final = 50
"""The simple predictors are slow one by one; these people, spread evenly, are enough for what is only reported."""
_RESAMPLES: Final = 2_000


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the comparison found.

    Args:
        people, steps: on how much held-out history.
        challenger, champion: mean log loss of the new and the present model in nats; None without a present one.
        difference: challenger minus champion; below 0 the new one is better.
        low, high: 95 % interval of the difference; None with fewer than two people.
        simple: mean log loss of each simple predictor on some of the people.
        challenger_on_those: the new model's on the same people.
        promote: whether the new model goes live.
        reason: why, in words.
    """

    people: int
    steps: int
    challenger: float
    champion: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    simple: Mapping[str, float] = field(default_factory=dict)
    challenger_on_those: float | None = None
    promote: bool = False
    reason: str = ""


def compare(
    shards: StepShards,
    room: Room,
    config: LstmConfig,
    challenger: Weights,
    champion: tuple[LstmConfig, Weights] | None,
    simple: Mapping[str, ExpertFactory],
    cluster: Cluster | None = None,
) -> GateReport:
    """Score both models, and where there is no present one the simple predictors, on the last steps of everyone.

    Args:
        shards: everyone's steps.
        room: the memory there is.
        config, challenger: the new model.
        champion: the present model, if there is one that can be served.
        simple: makes the simple predictors, by name.
        cluster: where the work is done, group by group of people; None for this process, with the same result.
    """
    splits = [Split.of(person.length) for person in shards.people]
    spans = [(max(split.validation - CONTEXT, 0), split.validation, split.end) for split in splits]
    chosen = _spread(len(spans), MOST_PEOPLE)
    models = [(config, challenger), *([champion] if champion else [])]
    losses = _models_losses(shards, spans, chosen, room, models, cluster)
    report = GateReport(len(chosen), int(losses[0].steps.sum()), losses[0].mean())
    if champion:
        return judged(report, losses[0], losses[1])
    few = _spread(len(chosen), MOST_PEOPLE_SIMPLE)
    sequences = [_steps(shards, spans, chosen[place]) for place in few]
    means = _simple_means(simple, sequences, cluster)
    own = Losses(losses[0].sums[list(few)], losses[0].steps[list(few)]).mean()
    return first_model(report, means, own)


def judged(report: GateReport, challenger: Losses, champion: Losses) -> GateReport:
    """The decision between two models."""
    difference = challenger.mean() - champion.mean()
    interval = interval_of_difference(challenger, champion)
    low, high = interval if interval else (None, None)
    promote = (high if high is not None else difference) < 0.0
    by = f"{abs(difference):.4f} nats a step (95 % interval {low:+.4f} to {high:+.4f})" if interval else ""
    by = by or f"{abs(difference):.4f} nats a step (one person: no interval)"
    if promote:
        reason = f"better than the present model by {by}"
    elif difference < 0.0:
        reason = f"better by {by}, but that may be chance"
    else:
        reason = f"no better than the present model: worse by {by}"
    return GateReport(
        report.people, report.steps, challenger.mean(), champion.mean(), difference, low, high,
        promote=promote, reason=reason,
    )  # fmt: skip


def first_model(report: GateReport, simple: Mapping[str, float], own: float) -> GateReport:
    """The decision without a present model: it is one expert of a mixture, which trusts it as far as it is right."""
    known = {name: loss for name, loss in simple.items() if math.isfinite(loss)}
    if not known:
        reason = "the first model; it is one expert in the mixture, which can ignore it"
    else:
        best = min(known, key=lambda name: known[name])
        beats = own < known[best]
        reason = (
            f"the first model; better than the best simple predictor ({best}) by {known[best] - own:.4f} nats a step"
            if beats
            else f"only an expert in the mixture, which can ignore it: the simple predictor {best} is better "
            f"by {own - known[best]:.4f} nats a step"
        )
    return GateReport(
        report.people, report.steps, report.challenger, simple=dict(simple), challenger_on_those=own,
        promote=True, reason=reason,
    )  # fmt: skip


def interval_of_difference(one: Losses, other: Losses, seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile interval of the difference of mean losses, people being drawn; None with fewer than two."""
    people = int((one.steps > 0).sum())
    if people < 2:
        return None
    keep = one.steps > 0
    gaps, steps = (one.sums - other.sums)[keep], one.steps[keep]
    rng = np.random.default_rng(seed)
    found = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        drawn = rng.integers(0, people, people)
        found[i] = gaps[drawn].sum() / steps[drawn].sum()
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


_Models = Sequence[tuple[LstmConfig, Weights]]
_Sums = list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]


def _models_losses(
    shards: StepShards,
    spans: list[tuple[int, int, int]],
    chosen: tuple[int, ...],
    room: Room,
    models: _Models,
    cluster: Cluster | None,
) -> list[Losses]:
    """Each window is made once and shown to all models."""
    found = [Losses(np.zeros(len(chosen)), np.zeros(len(chosen))) for _ in models]
    parts: tuple[Group, ...] = groups([spans[one][2] - spans[one][0] for one in chosen], room, 0)

    def sequences() -> Iterator[list[list[Step]]]:
        for part in parts:
            yield [_steps(shards, spans, chosen[place]) for place in part.people]
            shards.release()

    sums: Iterable[_Sums]
    if cluster is None:
        sums = (_group_losses(models, one) for one in sequences())
    else:
        sums = cluster.map(_group_losses, models, sequences())
    for part, told in zip(parts, sums, strict=True):
        for losses, (own, steps) in zip(found, told, strict=True):
            losses.sums[list(part.people)] += own
            losses.steps[list(part.people)] += steps
    return found


def _group_losses(models: _Models, sequences: Sequence[Sequence[Step]]) -> _Sums:
    """Sums of losses and numbers of steps of some people, of each model."""
    runs = [ModelRun.begin(config, weights, len(sequences)) for config, weights in models]
    found = [(np.zeros(len(sequences)), np.zeros(len(sequences))) for _ in models]
    for batch in batches_from_sequences(sequences, WINDOW):
        for own, run in zip(found, runs, strict=True):
            costs = run.take(batch)
            np.add(own[0], np.nansum(costs, axis=1), out=own[0])
            np.add(own[1], np.isfinite(costs).sum(axis=1), out=own[1])
    return found


def _simple_means(
    simple: Mapping[str, ExpertFactory], sequences: Sequence[Sequence[Step]], cluster: Cluster | None
) -> dict[str, float]:
    if cluster is None:
        return {name: expert_losses(factory, sequences).mean() for name, factory in simple.items()}
    work = [(name, person) for name in simple for person in range(len(sequences))]
    told = cluster.map(_person_losses, (dict(simple), sequences), work)
    means = {}
    for place, name in enumerate(simple):
        own = told[place * len(sequences) : (place + 1) * len(sequences)]
        means[name] = Losses(np.concatenate([o.sums for o in own]), np.concatenate([o.steps for o in own])).mean()
    return means


def _person_losses(
    given: tuple[Mapping[str, ExpertFactory], Sequence[Sequence[Step]]], which: tuple[str, int]
) -> Losses:
    factories, sequences = given
    return expert_losses(factories[which[0]], [sequences[which[1]]])


def _steps(shards: StepShards, spans: list[tuple[int, int, int]], person: int) -> list[Step]:
    first, scored, end = spans[person]
    return shards.steps(person, first, end, scored - first)


def _spread(count: int, most: int) -> tuple[int, ...]:
    """At most so many numbers below `count`, evenly spread."""
    return tuple(np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()) if count else ()

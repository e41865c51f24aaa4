"""Whether the live model still fits its people: its log loss against what it was at promotion, and what they use.

Two watches, both a few numbers large. The loss is watched by the test of Page and Hinkley (Page, Biometrika 41, 1954;
for data streams: Gama and others, "A survey on concept drift adaptation", ACM Computing Surveys 46, 2014): the sum of
what each loss exceeds the promised mean by, less a tolerance, may not climb far above its lowest point. The shares of
applications are watched by the population stability index (Siddiqi, "Credit Risk Scorecards", 2006), whose usual
bounds are 0.1 and 0.25. Drift is shown, and training again is the operator's to decide; the mixture weighs the model
down by itself meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

TOLERANCE: Final = 0.1
"""Nats a step by which the loss may rise without counting."""
THRESHOLD: Final = 400.0
"""Nats above the lowest point at which the loss has drifted: some 2,000 steps of a loss that rose by 0.3."""
STABLE_BELOW: Final = 0.1
MOVED_FROM: Final = 0.25
"""Bounds of the population stability index."""
MOST_LOSS: Final = 13.8
_FADE: Final = 1.0 / 3_000.0
_FEWEST: Final = 500
_SMALLEST_SHARE: Final = 1e-4
OTHERS: Final = ""
"""Stands for every application that is not named in the reference."""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How the live model fares.

    Args:
        steps: turns to an application since the watch began.
        loss: mean log loss of the latest some 3,000 steps, in nats; NaN without any.
        promised: the same on held-out history when the model was promoted.
        climb: how far Page and Hinkley's sum is above its lowest point, in nats; drift from `THRESHOLD`.
        stability: population stability index of the shares of applications; NaN with few steps.
        loss_drifted, use_moved: what the two watches say.
        words: for people.
    """

    steps: int
    loss: float
    promised: float
    climb: float
    stability: float
    loss_drifted: bool
    use_moved: bool
    words: str

    @property
    def drifted(self) -> bool:
        """Whether training again is advised."""
        return self.loss_drifted or self.use_moved


class DriftWatch:
    """Takes in the live model's losses one by one.

    Args:
        promised: mean log loss at promotion in nats, as in the registry.
        reference: share of each application then; the rest is `OTHERS`. Empty: use is not watched.
    """

    def __init__(self, promised: float, reference: Mapping[str, float]) -> None:
        self._promised = promised
        self._reference = {app: share for app, share in reference.items() if app != OTHERS}
        self._counts = dict.fromkeys((*self._reference, OTHERS), 0.0)
        self._steps = 0
        self._loss = 0.0
        self._weight = 0.0
        self._sum = self._lowest = 0.0
        self._drifted = False

    def observe(self, app: str, loss: float) -> None:
        """The person turned to `app`, to which the model had given a log loss of `loss` nats; NaN is passed over."""
        if math.isnan(loss):
            return
        loss = min(max(loss, 0.0), MOST_LOSS)
        self._steps += 1
        self._loss += _FADE * (loss - self._loss)
        self._weight += _FADE * (1.0 - self._weight)
        self._sum += loss - self._promised - TOLERANCE
        self._lowest = min(self._lowest, self._sum)
        self._drifted = self._drifted or self._sum - self._lowest >= THRESHOLD
        name = app if app in self._reference else OTHERS
        self._counts[name] += 1.0
        if self._steps % 3_000 == 0:
            self._counts = {known: count / 2.0 for known, count in self._counts.items()}

    def report(self) -> DriftReport:
        """How things are now."""
        loss = self._loss / self._weight if self._weight else math.nan
        enough = self._steps >= _FEWEST and bool(self._reference)
        stability = population_stability(self._reference, self._counts) if enough else math.nan
        moved = stability >= MOVED_FROM
        words = _words(self._steps, loss, self._promised, stability, self._drifted)
        climb = self._sum - self._lowest
        return DriftReport(self._steps, loss, self._promised, climb, stability, self._drifted, moved, words)


def population_stability(reference: Mapping[str, float], counts: Mapping[str, float]) -> float:
    """The index: sum of (share now - share then) x ln(share now / share then); 0 is no change.

    Args:
        reference: shares then, without `OTHERS`, which is what is left to 1.
        counts: of now, by the same names and `OTHERS`; a name that is not in the reference counts as `OTHERS`.
    """
    total = sum(counts.values())
    if total <= 0.0:
        return 0.0
    now = {app: counts.get(app, 0.0) / total for app in reference}
    now[OTHERS] = max(1.0 - sum(now.values()), 0.0)
    then = {**reference, OTHERS: max(1.0 - sum(reference.values()), 0.0)}
    index = 0.0
    for app, share in then.items():
        before, after = max(share, _SMALLEST_SHARE), max(now[app], _SMALLEST_SHARE)
        index += (after - before) * math.log(after / before)
    return index


def reference_shares(uses: Mapping[str, tuple[int, int]], fewest_people: int = 3, most: int = 64) -> dict[str, float]:
    """The shares that are kept with a model: of applications that several people use, so that it tells of nobody.

    Args:
        uses: of each application how often it was turned to, and by how many people.
        fewest_people: who use an application that is named.
        most: named applications.
    """
    total = sum(count for count, _ in uses.values())
    shared = [(app, count) for app, (count, people) in uses.items() if people >= fewest_people]
    best = sorted(shared, key=lambda one: (-one[1], one[0]))[:most]
    return {app: count / total for app, count in best} if total else {}


def _words(steps: int, loss: float, promised: float, stability: float, drifted: bool) -> str:
    if not steps:
        return "Nothing was foretold yet."
    change = f"it costs {loss:.2f} nats a step, {promised:.2f} at promotion"
    if drifted:
        return f"The model has drifted: {change}. Train again."
    if stability >= MOVED_FROM:
        return f"People use other applications than at promotion (stability index {stability:.2f}). Train again."
    if stability >= STABLE_BELOW:
        return f"The model holds ({change}), but use begins to move (stability index {stability:.2f})."
    return f"The model holds: {change}."

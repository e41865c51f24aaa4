"""Whether the forecasts that the service lives by still come true: watched as events come, in bounded memory.

The next application is watched by what each step cost (log loss) and by how often the first choice was right, against
what they were before; arrivals by how many came in each half hour against how many were expected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.change import CountWatch, LevelWatch

MOST_LOSS = 13.8
"""Nats that one surprise can cost: a probability below one in a million counts as that."""
_LOSS_TOLERANCE = 0.15
"""Nats by which a step may cost more without a word."""
_HIT_TOLERANCE = 0.10
"""Of twelve people on real desktops the rate went up and down by 7 points without any fault of the forecasts."""
_FEWEST_STEPS = 200
_FADE = 1.0 / 336.0
"""Arrivals are told of the last week, more or less."""
_SURE_HALF_HOURS = 48


@dataclass(frozen=True, slots=True)
class Judged:
    """One step that had been forecast: what came, and what it cost.

    Args:
        app: what the person turned to.
        loss_nats: log loss of the whole forecast.
        hit: whether it was the first choice.
        trained_loss_nats: log loss of the trained model alone; None without one.
    """

    app: AppId
    loss_nats: float
    hit: bool
    trained_loss_nats: float | None = None


@dataclass(frozen=True, slots=True)
class NextAppHealth:
    """How the next application is forecast.

    Args:
        steps: steps judged so far.
        loss_nats: mean log loss of the latest steps; NaN without any.
        loss_before_nats: what it was before it rose; None when it did not.
        hit_rate: share of the latest steps at which the first choice was right; NaN without any.
        hit_rate_before: what it was before it fell; None when it did not.
    """

    steps: int = 0
    loss_nats: float = math.nan
    loss_before_nats: float | None = None
    hit_rate: float = math.nan
    hit_rate_before: float | None = None

    @property
    def drifted(self) -> bool:
        """Whether it is forecast worse than before."""
        return self.loss_before_nats is not None or self.hit_rate_before is not None


@dataclass(frozen=True, slots=True)
class ArrivalHealth:
    """How sign-ins are forecast.

    Args:
        half_hours: half hours judged so far.
        expected, came: sign-ins a week at the latest rate, as forecast and as they came.
        more, fewer: whether more, or fewer, came than was forecast, beyond chance.
    """

    half_hours: int = 0
    expected: float = 0.0
    came: float = 0.0
    more: bool = False
    fewer: bool = False

    @property
    def drifted(self) -> bool:
        """Whether the forecast is wrong beyond chance."""
        return self.more or self.fewer


class NextAppWatch:
    """Takes in judged steps one by one."""

    def __init__(self) -> None:
        self._steps = 0
        self._loss = LevelWatch(_LOSS_TOLERANCE / MOST_LOSS, _FEWEST_STEPS)
        self._misses = LevelWatch(_HIT_TOLERANCE, _FEWEST_STEPS)

    def judged(self, step: Judged) -> None:
        """One more step; one that costs nothing finite is passed over."""
        if math.isnan(step.loss_nats):
            return
        self._steps += 1
        self._loss.add(min(max(step.loss_nats, 0.0), MOST_LOSS) / MOST_LOSS)
        self._misses.add(0.0 if step.hit else 1.0)

    def health(self) -> NextAppHealth:
        """How things are now."""
        loss, misses = self._loss, self._misses
        return NextAppHealth(
            self._steps,
            loss.now * MOST_LOSS,
            None if loss.before is None else loss.before * MOST_LOSS,
            1.0 - misses.now,
            None if misses.before is None else 1.0 - misses.before,
        )


class ArrivalWatch:
    """Compares the sign-ins of each half hour with what was expected of it."""

    def __init__(self) -> None:
        self._counts = CountWatch()
        self._slot: int | None = None
        self._expected = self._dispersion = 0.0
        self._came = 0
        self._mean_expected = self._mean_came = self._weight = 0.0

    def slot_begins(self, slot: int, expected: float, dispersion: float) -> None:
        """A half hour begins, or what is left of it: it is judged when the very next one begins."""
        if self._slot is not None and slot == self._slot + 1:
            self._counts.add(self._came, self._expected, self._dispersion)
            self._mean_expected += _FADE * (self._expected - self._mean_expected)
            self._mean_came += _FADE * (self._came - self._mean_came)
            self._weight += _FADE * (1.0 - self._weight)
        self._slot, self._expected, self._dispersion, self._came = slot, expected, dispersion, 0

    def slot(self) -> int | None:
        """The half hour that goes on; None before the first."""
        return self._slot

    def arrived(self, slot: int) -> None:
        """Somebody signed in; told late, it counts for no half hour."""
        if slot == self._slot:
            self._came += 1

    def health(self) -> ArrivalHealth:
        """How things are now."""
        counts = self._counts
        sure = counts.counts >= _SURE_HALF_HOURS
        a_week = 336.0 / self._weight if self._weight else 0.0
        return ArrivalHealth(
            counts.counts, self._mean_expected * a_week, self._mean_came * a_week, sure and counts.more,
            sure and counts.fewer,
        )  # fmt: skip

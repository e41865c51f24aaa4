"""Sign-ins of everyone together, as distributions of counts: adaptive negative binomial, and an online mixture of such.

Counts are over-dispersed against Poisson: a Poisson rate that is itself gamma distributed gives the negative binomial
(Greenwood and Yule 1920). The rate is that of the hour of the week, its weeks fading by a quarter each, times how the
last hours went against it (as in Winters 1960). The mixture is Bayesian with fixed share (Herbster and Warmuth 1998).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.profiles.arrivals.seam import Floats

HOURS = 168
WEEK_DECAY = 0.75
DISPERSION = 1.3
DISPERSIONS = (1.0, 1.3, 2.0, 3.0, 5.0, 9.0)
"""Ratios of variance to mean that the mixture weighs."""
_STRENGTH = 5.0
_PRIOR_SLOTS = 0.5
_SHARE = 1e-3
_LEAST_RATE = 1e-6
_RECENT_S = 3 * 3600
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class SlotCounts:
    """Starts that are expected in slots to come.

    Args:
        mean: in each slot, shape (slots,).
        spread: how much more than chance they vary: (variance - mean) / mean^2, of all these slots together.
    """

    mean: Floats
    spread: float


class HourRate:
    """Expected starts of everyone in a slot, by the hour of the week; weeks fade by `WEEK_DECAY`."""

    def __init__(self) -> None:
        self._counts: Floats = np.zeros(HOURS)
        self._slots: Floats = np.zeros(HOURS)
        self._whole: Floats = np.array([0.0, 1.0])
        self._week: int | None = None

    def expected(self, hour: int) -> float:
        """The rate in a slot of this hour of the week, 0 to 167."""
        mean = self._whole[0] / self._whole[1]
        return float((self._counts[hour] + _PRIOR_SLOTS * mean) / (self._slots[hour] + _PRIOR_SLOTS)) + _LEAST_RATE

    def learn(self, week: int, hour: int, count: int) -> None:
        """A slot is over."""
        if self._week is not None and week > self._week:
            fade = WEEK_DECAY ** min(week - self._week, 520)
            self._counts *= fade
            self._slots *= fade
            self._whole *= fade
        self._week = week
        self._counts[hour] += count
        self._slots[hour] += 1.0
        self._whole += (count, 1.0)

    def remove(self, week: int, hour: int) -> None:
        """Take one start in this hour of this week back, as far as it still counts."""
        ago = (self._week or 0) - week
        if 0 <= ago < 520:
            gone = min(WEEK_DECAY**ago, self._counts[hour])
            self._counts[hour] -= gone
            self._whole[0] = max(self._whole[0] - gone, 0.0)


class RecentLevel:
    """Actual against expected starts over the last slots, shrunk to 1.

    Args:
        slots: how many.
    """

    def __init__(self, slots: int) -> None:
        self._kept: deque[tuple[float, float]] = deque(maxlen=max(slots, 1))
        self._actual = self._expected = 0.0

    @property
    def slots(self) -> int:
        """How many slots it goes back."""
        return self._kept.maxlen or 1

    def ratio(self, count: float = 0.0, expected: float = 0.0) -> float:
        """What to multiply the next expectation with; a part of a slot may be added that is not over."""
        return (self._actual + count + _STRENGTH) / (self._expected + expected + _STRENGTH)

    def learn(self, count: float, expected: float) -> None:
        """A slot is over."""
        if len(self._kept) == self._kept.maxlen:
            old = self._kept[0]
            self._actual -= old[0]
            self._expected = max(self._expected - old[1], 0.0)
        self._kept.append((count, expected))
        self._actual += count
        self._expected += expected


def count_probabilities(means: Floats, dispersions: Floats, counts: int) -> Floats:
    """Negative binomial probabilities of 0, 1, ... `counts` - 1, shape (candidates, counts); Poisson at dispersion 1.

    Args:
        means: above 0, shape (candidates,).
        dispersions: variance over mean, 1 or more, shape (candidates,).
        counts: how many.
    """
    k = np.arange(counts - 1, dtype=np.float64)
    over = dispersions > 1.0 + 1e-9
    ratio = np.where(over, dispersions, 2.0)
    size = means / (ratio - 1.0)
    negative = np.log(k + size[:, None]) - np.log(k + 1.0) + np.log1p(-1.0 / ratio)[:, None]
    poisson = np.log(means)[:, None] - np.log(k + 1.0)
    first = np.where(over, -size * np.log(ratio), -means)
    steps = np.where(over[:, None], negative, poisson)
    return np.asarray(np.exp(np.concatenate((first[:, None], first[:, None] + np.cumsum(steps, axis=1)), axis=1)))


class CountMixture:
    """Mixes rates and dispersions: whichever foretold the counts best counts most.

    Args:
        rates: how many rates are given in each slot.
    """

    def __init__(self, rates: int) -> None:
        self._dispersions: Floats = np.tile(np.array(DISPERSIONS), rates)
        self._weights: Floats = np.full(len(self._dispersions), 1.0 / len(self._dispersions))

    def probabilities(self, rates: Floats, counts: int) -> Floats:
        """Probabilities of 0, 1, ... `counts` - 1 starts, shape (counts,)."""
        return np.asarray(self._weights @ self._candidates(rates, counts))

    def moments(self, rates: Floats) -> tuple[float, float]:
        """Mean and variance of the starts."""
        means = np.repeat(np.maximum(rates, _LEAST_RATE), len(DISPERSIONS))
        mean = float(self._weights @ means)
        return mean, float(self._weights @ (self._dispersions * means + means**2)) - mean**2

    def learn(self, rates: Floats, count: int) -> None:
        """A slot is over in which `rates` had been expected."""
        likelihood = self._candidates(rates, count + 2)[:, count] + 1e-30
        after = self._weights * likelihood
        self._weights = (1.0 - _SHARE) * after / after.sum() + _SHARE / len(after)

    def _candidates(self, rates: Floats, counts: int) -> Floats:
        means = np.repeat(np.maximum(rates, _LEAST_RATE), len(DISPERSIONS))
        return count_probabilities(means, self._dispersions, counts)


class EveryoneCounts:
    """Everyone's starts, slot after slot: the rates, and the mixture of them and of dispersions.

    Four rates are mixed: the hour of the week's; that times how the last three hours went, or the last day; and the
    sum of the rows' own hazards, times how such sums went in the last day.

    Args:
        slot_s: length of a slot in seconds.
    """

    def __init__(self, slot_s: int) -> None:
        self.table = HourRate()
        self._three_hours = RecentLevel(_RECENT_S // slot_s)
        self._day, self._summed = RecentLevel(_DAY_S // slot_s), RecentLevel(_DAY_S // slot_s)
        self.mixture = CountMixture(4)

    def rates(self, hour: int, summed: float) -> Floats:
        """The four rates of the next slot; `summed` is the rows' hazards together, NaN where they are not known."""
        return self._rates(hour, summed, self._levels(0.0, 0.0, 0.0))

    def learn(self, week: int, hour: int, count: int, summed: float, *, mixing: bool = True) -> None:
        """A slot is over; without `mixing` only the tables learn."""
        expected = self.table.expected(hour)
        known = summed if np.isfinite(summed) else expected
        if mixing:
            self.mixture.learn(self.rates(hour, summed), count)
            self._summed.learn(count, known)
        self._three_hours.learn(count, expected)
        self._day.learn(count, expected)
        self.table.learn(week, hour, count)

    def ahead(self, hours: Sequence[int], summed: Sequence[float], count: int, passed: float) -> SlotCounts:
        """Expected starts in the slot that goes on and in those after it.

        Args:
            hours: hour of the week of each slot.
            summed: the rows' hazards together in each, NaN where they are not known.
            count: starts so far in the slot that goes on.
            passed: how much of it is over, 0 to 1.
        """
        expected = self.table.expected(hours[0])
        known = summed[0] if np.isfinite(summed[0]) else expected
        levels = self._levels(count, expected * passed, known * passed)
        fade_slots = np.array([self._three_hours.slots, self._day.slots, self._summed.slots])
        found = []
        for at, (hour, one) in enumerate(zip(hours, summed, strict=True)):
            # Levels fade ahead, as fast as they were measured.
            faded = 1.0 + (levels - 1.0) * np.exp(-at / fade_slots)
            found.append(self.mixture.moments(self._rates(hour, one, faded)))
        mean, variance = np.array(found).T
        return SlotCounts(mean, max(float((variance - mean).sum() / (mean**2).sum()), 0.0))

    def _levels(self, count: float, expected: float, summed: float) -> Floats:
        """How the last three hours, day, and day of sums went, with the part of a slot that is not over."""
        recent = ((self._three_hours, expected), (self._day, expected), (self._summed, summed))
        return np.array([one.ratio(count, part) for one, part in recent])

    def _rates(self, hour: int, summed: float, levels: Floats) -> Floats:
        expected = self.table.expected(hour)
        known = summed if np.isfinite(summed) else expected
        three_hours, day, sums = levels.tolist()
        return np.array([expected, expected * three_hours, expected * day, max(known * sums, _LEAST_RATE)])

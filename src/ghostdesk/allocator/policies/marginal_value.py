"""Ours: one ghost more wherever the misses that it avoids are worth its time, at one price that keeps a service target.

A constant quantile holds too much in quiet hours and too little in busy ones, as what counts is the share of starts.
The least idle time for a share of misses is had by the marginal rule of stock keeping (Fox 1966; lost sales with
base stock): hold the next ghost if, and only if, the misses that it is expected to avoid each minute, times a price,
exceed one. `TailNetwork` says the rate of the next minutes, from the habits of the week, how today goes against them,
and the last minutes; `TailTable` says, from what was counted, which part pools of each size miss at such a rate;
`ServicePrice` finds the price and keeps the target by online correction. All learn from virtual pools of every size, so
nothing has to be tried out on people. Until enough was learnt, the adaptive negative binomial decides at the service
target's quantile; so it does where more are needed than the network has sizes for.

A minute costs about a tenth of a millisecond, with the learning in it. Everything is a function of what was observed
and of a seed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from ghostdesk.allocator.policies.adaptive_count import AdaptiveCount
from ghostdesk.allocator.policies.minute_counts import reach_minutes
from ghostdesk.allocator.policies.seam import Decision, Floats, Moment, Observed, PolicyFamily, Setting
from ghostdesk.allocator.policies.service_price import OVER_A_YEAR, OVER_ANY_MONTH, Keeping, ServicePrice, sizes_at
from ghostdesk.allocator.policies.tail_features import DAY_MINUTES, TailFeatures
from ghostdesk.allocator.policies.tail_network import TailNetwork, VirtualPools
from ghostdesk.allocator.policies.tail_table import TailTable
from ghostdesk.profiles.averaged_adam import Floats32

SIZES = 25
_LEARN_MINUTES = 24
_LEARN_ROWS = 256
_KEEP_EVERY = 3
_KEPT_ROWS = 175_200  # a year
_RECENT_ROWS = 28 * 480
_LEARNT_STEPS = 500
_LONGEST_WINDOW = 30
_MOST_MINUTES_LATE = 1_440
_SETTLE_MINUTES = 60


@dataclass(slots=True)
class _Minute:
    """A minute whose consequences are not all known yet."""

    features: Floats32
    window: int
    rate: float = 0.0
    missed: Floats32 = field(default_factory=lambda: np.zeros(SIZES, dtype=np.float32))
    starts: int = 0


class TailForecast:
    """What pools of each size would miss in each of the next minutes. Several policies may share one.

    `missed` are those expected misses a minute, shape (SIZES,), `avoided` what each ghost more avoids, and `before`
    what pools of each size really missed in the minute before, with its starts.

    Args:
        seed: of the network's first weights and of the order in which it learns.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._features = TailFeatures()
        self._pools = VirtualPools(SIZES)
        self._network = TailNetwork(TailFeatures.size, SIZES, self._rng)
        self._table = TailTable(SIZES)
        self._kept = np.zeros((4_096, TailFeatures.size), dtype=np.float16)
        self._kept_missed = np.zeros((4_096, SIZES), dtype=np.float16)
        self._rows = self._minutes = 0
        self._open: deque[_Minute] = deque()
        self._lead_s = 0.0
        self._now_s = self._seen_s = -np.inf
        self.avoided: Floats = np.zeros(SIZES - 1)
        self.missed: Floats = np.zeros(SIZES)
        self.before: tuple[Floats, int] = (np.zeros(SIZES), 0)

    @property
    def learnt(self) -> bool:
        """Whether it knows enough to decide by."""
        return self._network.steps >= _LEARNT_STEPS

    @property
    def minute(self) -> int:
        """How many minutes it has lived through."""
        return self._minutes

    def observe(self, observed: Observed) -> None:
        """Learn what happened; said twice, it counts once."""
        if observed.to_s <= self._seen_s or not self._open:
            return
        self._seen_s = observed.to_s
        self._features.observe(observed)
        last = self._open[-1]
        for start_s in observed.started_s.tolist():
            last.missed += self._pools.start(start_s, self._lead_s)
            last.starts += 1

    def turn(self, moment: Moment) -> bool:
        """It is now; returns whether a minute is over. Asked twice, nothing changes."""
        late = 1 if not self._open else int((moment.now_s - self._now_s) // 60.0)
        if late < 1:
            return False
        self._lead_s = moment.lead_s
        self._now_s = moment.now_s if late > _MOST_MINUTES_LATE or not self._open else self._now_s + 60.0 * late
        window = min(reach_minutes(moment) + 1, _LONGEST_WINDOW)
        if self._open:
            self.before = (self._open[-1].missed.astype(np.float64), self._open[-1].starts)
        for _ in range(min(late, _MOST_MINUTES_LATE)):
            features = self._features.now(moment)
            self._open.append(_Minute(features, window))
            self._minutes += 1
            self._close()
        said = self._network.missed(features).astype(np.float64)
        rate = float(said[0]) / window
        self._open[-1].rate = rate
        self.missed = self._table.missed(rate, said / max(float(said[0]), 1e-12))
        self.avoided = np.minimum.accumulate(self.missed[:-1] - self.missed[1:])
        return True

    def _close(self) -> None:
        """A minute whose window is over is kept to learn from."""
        if len(self._open) > self._open[0].window:
            oldest = self._open[0]
            missed = np.sum([self._open[k].missed for k in range(oldest.window)], axis=0)
            if oldest.rate > 0.0 and self.learnt:
                self._table.learn(oldest.rate, missed.astype(np.float64) / oldest.window)
            if self._minutes % _KEEP_EVERY == 0:
                self._keep(oldest, missed)
            self._open.popleft()
        if self._minutes % DAY_MINUTES == 0:
            self._table.fade()
        if self._minutes % _LEARN_MINUTES == 0 and self._rows >= _LEARN_ROWS:
            self._learn()

    def _keep(self, minute: _Minute, missed: Floats32) -> None:
        if self._rows == len(self._kept) < _KEPT_ROWS:
            more = min(len(self._kept), _KEPT_ROWS - len(self._kept))
            self._kept = np.concatenate((self._kept, np.zeros((more, self._kept.shape[1]), dtype=np.float16)))
            self._kept_missed = np.concatenate((self._kept_missed, np.zeros((more, SIZES), dtype=np.float16)))
        place = self._rows % len(self._kept)
        self._kept[place], self._kept_missed[place] = minute.features, np.minimum(missed, 60_000.0)
        self._rows += 1

    def _learn(self) -> None:
        """One step on old minutes, half of them of the last four weeks."""
        half = _LEARN_ROWS // 2
        recent = self._rng.integers(0, min(self._rows, _RECENT_ROWS, len(self._kept)), half)
        any_time = self._rng.integers(0, min(self._rows, len(self._kept)), _LEARN_ROWS - half)
        places = (self._rows - 1 - np.concatenate((recent, any_time))) % len(self._kept)
        self._network.learn(self._kept[places].astype(np.float32), self._kept_missed[places].astype(np.float32))


class MarginalValue:
    """Holds the next ghost where the misses that it avoids are worth it.

    Args:
        target_hit_rate: the share of starts that find a ghost ready, above 0 and below 1.
        forecast: one of its own where none is given.
        keeping: how closely the target is kept.
    """

    def __init__(
        self, target_hit_rate: float, forecast: TailForecast | None = None, keeping: Keeping = OVER_A_YEAR
    ) -> None:
        self._price = ServicePrice(1.0 - target_hit_rate, keeping)
        self._forecast = forecast if forecast is not None else TailForecast()
        self._fallback = AdaptiveCount(target_hit_rate)
        self._sizes = np.zeros(0, dtype=np.int64)
        self._starts = self._misses = 0
        self._target = 0
        self._minute = -1

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        """Learn what happened."""
        self._forecast.observe(observed)
        self._fallback.observe(observed)
        self._starts += len(observed.started_s)
        self._misses += observed.misses

    def decide(self, moment: Moment) -> Decision:
        """How many ghosts pay, at the present price."""
        fallback = self._fallback.decide(moment)
        self._forecast.turn(moment)
        if self._minute != self._forecast.minute:
            self._learn_price()
            self._minute = self._forecast.minute
            if self._minute % _SETTLE_MINUTES == 0:
                self._price.settle()
            self._sizes = sizes_at(self._forecast.avoided)
            self._target = int((self._forecast.avoided * self._price.price > 1.0).sum())
        if not self._forecast.learnt:
            return Decision(fallback.target, None, "learning", f"still learning: {fallback.why}")
        if self._target == SIZES - 1:
            return Decision(max(self._target, fallback.target), None, "many", fallback.why)
        return Decision(self._target, None, "marginal", self._why())

    def _learn_price(self) -> None:
        """What the minute that is over says of each price."""
        missed, starts = self._forecast.before
        if self._forecast.learnt and len(self._sizes) and starts:
            self._price.learn(self._sizes, missed, self._starts, self._misses)
        self._starts = self._misses = 0

    def _why(self) -> str:
        price, avoided, held = self._price.price, self._forecast.avoided, self._target
        said = f"{60.0 * self._forecast.missed[0]:.1f} starts an hour are expected; at {price:.0f} idle minutes a miss "
        if not held:
            return f"{said}even the first ghost saves only {price * avoided[0]:.2f} times its time"
        last, more = price * avoided[held - 1], price * avoided[held] if held < len(avoided) else 0.0
        return f"{said}the last of {held} ghosts saves {last:.1f} times its time, and one more would save {more:.1f}"


_HIT_RATES = (0.9, 0.95, 0.98, 0.985, 0.99, 0.993, 0.995, 0.998)


def _family(name: str, title: str, keeping: Keeping) -> PolicyFamily:
    def setting(hit_rate: float) -> Setting:
        return Setting(f"{hit_rate:.1%} hits", lambda: MarginalValue(hit_rate, keeping=keeping))

    def together() -> list[MarginalValue]:
        forecast = TailForecast()
        return [MarginalValue(hit_rate, forecast, keeping) for hit_rate in _HIT_RATES]

    source = "ours: marginal analysis (Fox 1966) on counted miss tails, at one price from recent history"
    return PolicyFamily(name, title, source, tuple(setting(hit_rate) for hit_rate in _HIT_RATES), together)


FAMILY = _family("marginal-value", "ghostdesk: marginal value", OVER_A_YEAR)
MONTHLY_FAMILY = _family("marginal-value-monthly", "ghostdesk: marginal value, kept each month", OVER_ANY_MONTH)

"""Ways to choose a price: so that a hit rate is kept, or so that an idle time a session is.

Both keep a rolling curve of what each price would have given in the last weeks, whatever was chosen: the starts below
it would have been cold, the idle time above it would have been held. The price that would have met the aim is taken,
and the aim itself is corrected by how the last days came out (proportional-integral control). That works however good
the scores are; only their order matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.allocator.policies.row_scores import idle_rows, rows_decision
from ghostdesk.allocator.policies.seam import Decision, Floats, Ints, Moment, Observed

_BINS = 240
_DEEPEST = float(np.log(1e-6))
_CURVE_HALF_LIFE_S = 7 * 86_400.0
_RESULT_HALF_LIFE_S = 2 * 86_400.0
_MEMORY_HALF_LIVES = 15.0
_ENOUGH_STARTS = 100.0
_SURE_STARTS = 200.0
_GAIN = 1.0
_INTEGRAL_S = 4 * 86_400.0
_MOST_TRIM = 1.5
"""Of the aim's logarithm: what a lasting bias may be corrected by."""
_FIRST_HAZARD = 0.05
_MARGIN = 0.9
"""Of the misses that are allowed, so many are aimed at: a month varies around its aim, to both sides."""


@dataclass(slots=True)
class _Asked:
    """What was chosen from last: bin of each row's score, and which rows were idle and held."""

    bins: Ints
    idle: list[bool]
    held: list[bool]


class RollingCurve:
    """Starts and idle seconds by score, each fading; and what does not depend on any price."""

    def __init__(self) -> None:
        self.starts: Floats = np.zeros(_BINS)
        self.idle_s: Floats = np.zeros(_BINS)
        self.fixed: Floats = np.zeros(3)
        """Starts that are ready anyhow, idle seconds that come anyhow, starts of rows that nobody knew."""

    def fade(self, factor: float) -> None:
        """Time passes."""
        self.starts *= factor
        self.idle_s *= factor
        self.fixed *= factor

    @property
    def sessions(self) -> float:
        """All starts."""
        return float(self.starts.sum() + self.fixed[0] + self.fixed[2])

    def least_bin_of_cold(self, share: float) -> int:
        """The lowest bin to hold so that at most such a share of starts would have been cold."""
        cold = self.fixed[2] + np.cumsum(self.starts)  # if this bin and all below were not held
        return max(int(np.searchsorted(cold, share * self.sessions, side="right")), 1)

    def least_bin_of_idle(self, idle_s: float) -> int:
        """The lowest bin to hold so that at most so many idle seconds a session would have been held."""
        held = self.fixed[1] + np.cumsum(self.idle_s[::-1])  # from the top down to each bin
        can = int(np.searchsorted(held, idle_s * self.sessions, side="right"))
        return max(_BINS - can, 1)


class _Target:
    """What both have in common: the curve, what really came of it, and the accounting of every slot."""

    memory_s = _MEMORY_HALF_LIVES * _CURVE_HALF_LIFE_S

    def __init__(self) -> None:
        self._curve = RollingCurve()
        self._asked: _Asked | None = None
        self._came: Floats = np.zeros(3)  # starts, misses, idle seconds of the last days
        self._trim = 0.0

    def observe(self, observed: Observed) -> None:
        """See `Chooser.observe`."""
        length_s = observed.to_s - observed.from_s
        self._curve.fade(0.5 ** (length_s / _CURVE_HALF_LIFE_S))
        self._came *= 0.5 ** (length_s / _RESULT_HALF_LIFE_S)
        asked, curve = self._asked, self._curve
        if asked is None:
            return
        starts = zip(observed.started_s.tolist(), observed.started.tolist(), strict=True)
        ends = zip(observed.ended_s.tolist(), observed.ended.tolist(), strict=True)
        rows, spent_s = len(asked.idle), 0.0
        first_s: dict[int, float] = {}
        ended_s: dict[int, float] = {}
        for time_s, begins, row in sorted([(t, False, r) for t, r in ends] + [(t, True, r) for t, r in starts]):
            if not begins:
                ended_s[row] = time_s
            elif row in ended_s:
                spent_s += time_s - ended_s.pop(row)
                curve.fixed[0] += 1.0
            elif row < rows and asked.idle[row]:
                first_s[row] = time_s
                curve.starts[asked.bins[row]] += 1.0
            else:
                curve.fixed[2] += 1.0
        spent_s += sum(observed.to_s - time_s for time_s in ended_s.values())
        curve.fixed[1] += spent_s
        idle_s = np.where(asked.idle, length_s, 0.0)
        if first_s:
            idle_s[list(first_s)] = np.array(list(first_s.values())) - observed.from_s
        curve.idle_s += np.bincount(asked.bins, weights=idle_s, minlength=_BINS)
        self._came += (len(observed.started), observed.misses, spent_s + float(idle_s[asked.held].sum()))

    def _corrected(self, aim: float, came: float, moment: Moment) -> float:
        """What to aim at in place of `aim`, seeing what came of it."""
        starts = float(self._came[0])
        wrong = float(np.clip(1.0 - came / aim, -1.0, 1.0)) * starts / (starts + _SURE_STARTS)
        step = wrong * (moment.until_s - moment.now_s) / _INTEGRAL_S
        self._trim = float(np.clip(self._trim + step, -_MOST_TRIM, _MOST_TRIM))
        return aim * float(np.exp(self._trim + _GAIN * wrong))

    def _held(self, scores: Floats, moment: Moment, least: int, code: str, why: str) -> Decision:
        with np.errstate(invalid="ignore", divide="ignore"):
            depth = 1.0 - np.log(scores) / _DEEPEST
        bins = np.clip(np.nan_to_num(depth, nan=0.0, posinf=1.0, neginf=0.0) * _BINS, 0, _BINS - 1).astype(np.int64)
        idle = idle_rows(moment)
        warm = idle & (bins >= least)
        self._asked = _Asked(bins, idle.tolist(), warm.tolist())
        return rows_decision(warm, code, why)


class HitRateTarget(_Target):
    """A `Chooser` that keeps a share of starts ready, at the lowest price that does.

    Args:
        hit_rate: the share, above 0 and below 1.
    """

    def __init__(self, hit_rate: float) -> None:
        if not 0.0 < hit_rate < 1.0:
            raise ValueError(f"a hit rate of {hit_rate} is not above 0 and below 1")
        super().__init__()
        self._misses = 1.0 - hit_rate

    def choose(self, scores: Floats, moment: Moment) -> Decision:
        """See `Chooser.choose`."""
        starts, misses, _ = self._came.tolist()
        aim = self._corrected(_MARGIN * self._misses, misses / max(starts, 1.0), moment)
        enough = self._curve.sessions >= _ENOUGH_STARTS
        least = self._curve.least_bin_of_cold(aim) if enough else 1
        return self._held(scores, moment, least, "hit-rate", f"{1.0 - self._misses:.2%} of starts are to be ready")


class IdleBudget(_Target):
    """A `Chooser` that spends so much idle time a session.

    Args:
        minutes: idle minutes a session, above 0.
    """

    def __init__(self, minutes: float) -> None:
        if not minutes > 0.0:
            raise ValueError(f"a budget of {minutes} minutes is not above 0")
        super().__init__()
        self._budget_s = 60.0 * minutes

    def choose(self, scores: Floats, moment: Moment) -> Decision:
        """See `Chooser.choose`."""
        starts, _, spent_s = self._came.tolist()
        aim_s = self._corrected(self._budget_s, spent_s / max(starts, 1.0), moment)
        enough = self._curve.sessions >= _ENOUGH_STARTS
        first = int((1.0 - np.log(_FIRST_HAZARD) / _DEEPEST) * _BINS)
        least = self._curve.least_bin_of_idle(aim_s) if enough else first
        why = f"{self._budget_s / 60.0:g} idle minutes a session may be spent"
        return self._held(scores, moment, least, "idle-budget", why)

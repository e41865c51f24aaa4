"""The hybrid histogram policy of Shahrad et al. 2020, "Serverless in the Wild" (arXiv 2003.03423), with its parameters.

A row's idle times are counted in bins of one minute up to a range (4 hours in the paper). The row is kept ready from
the 5th percentile of the histogram, rounded down to its bin's start and less 10 %, to the 99th percentile, rounded up
to its bin's end and more 10 %. Where the histogram is not representative (coefficient of variation of its bin counts
below 2), it is kept ready for the whole range from the end of use. Where half of the idle times or more lie beyond
the range, the next one is foretold from the series of them, and the row is kept ready from 15 % before to 15 % after
it.

For that series the paper fits ARIMA models; here it is ARIMA(1, 0, 0) fitted by least squares, kept as five sums a
row, as the search for an order would cost seconds a row. The policy has no probabilities: `WindowShare` measures
them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.arrivals.seam import Flags, Floats, Ints, SlotBlock, SlotOutcome, enlarged
from ghostdesk.profiles.arrivals.window_share import WindowShare

BIN_S = 60.0
HEAD, TAIL = 0.05, 0.99
MARGIN = 0.10
LEAST_VARIATION = 2.0
SERIES_MARGIN = 0.15
MOST_BEYOND = 0.5
_RENEW_SHARE = 0.02
"""A row's window is worked out anew when it has this share of idle times more."""


class IdleHistograms:
    """Idle times of every row in bins of a minute: shared by policies of several ranges, as a range is the first bins.

    Args:
        range_s: the widest range in seconds; it takes two bytes a row and minute.
    """

    def __init__(self, range_s: float = 48 * 3600.0) -> None:
        self._bins = round(range_s / BIN_S)
        self._counts: npt.NDArray[np.uint16] = np.zeros((0, self._bins + 1), dtype=np.uint16)
        self._sums: Floats = np.zeros((0, 5))
        self._last_s: Floats = np.zeros(0)
        self.totals: Ints = np.zeros(0, dtype=np.int64)

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        self._counts = enlarged(self._counts, rows)
        self._sums = enlarged(self._sums, rows)
        self._last_s = enlarged(self._last_s, rows)
        self.totals = enlarged(self.totals, rows)

    def add(self, row: int, idle_s: float) -> None:
        """One more idle time of a row; one that is unknown is passed over."""
        if not np.isfinite(idle_s) or idle_s < 0.0:
            return
        place = min(int(idle_s // BIN_S), self._bins)
        if self._counts[row, place] == np.iinfo(np.uint16).max:
            self._counts[row] >>= 1
        self._counts[row, place] += 1
        if self.totals[row]:
            x, y = self._last_s[row], idle_s
            self._sums[row] += (1.0, x, y, x * x, x * y)
        self._last_s[row] = idle_s
        self.totals[row] += 1

    def window_s(self, row: int, range_s: float) -> tuple[float, float]:
        """Seconds of idleness from which, and to which, the policy keeps the row ready."""
        bins = round(range_s / BIN_S)
        counts = self._counts[row].astype(np.float64)
        whole, inside = counts.sum(), counts[:bins].sum()
        if not whole:
            return 0.0, range_s
        if inside <= (1.0 - MOST_BEYOND) * whole:
            expected_s = self._next_s(row)
            return (1.0 - SERIES_MARGIN) * expected_s, (1.0 + SERIES_MARGIN) * expected_s
        mean = inside / bins
        variation = float(np.sqrt(max((counts[:bins] ** 2).mean() - mean * mean, 0.0)) / mean)
        if variation < LEAST_VARIATION:
            return 0.0, range_s
        share = np.cumsum(counts[:bins]) / inside
        head, tail = np.searchsorted(share, (HEAD, TAIL))
        return (1.0 - MARGIN) * BIN_S * int(head), (1.0 + MARGIN) * BIN_S * (int(tail) + 1)

    def forget(self, row: int) -> None:
        """Drop a row's idle times."""
        self._counts[row] = 0
        self._sums[row] = 0.0
        self._last_s[row] = 0.0
        self.totals[row] = 0

    def move(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`, and is empty then."""
        for kept in (self._counts, self._sums, self._last_s, self.totals):
            kept[target] = kept[source]
        self.forget(source)

    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return self._counts.nbytes + self._sums.nbytes + self._last_s.nbytes + self.totals.nbytes

    def _next_s(self, row: int) -> float:
        """The next idle time: a line through pairs of one and the next, or the last one where there are too few."""
        n, x, y, xx, xy = self._sums[row]
        spread = n * xx - x * x
        if n < 3 or spread <= 1e-9 * n * xx:
            return float(self._last_s[row])
        slope = float(np.clip((n * xy - x * y) / spread, -0.99, 0.99))
        return float(max((y - slope * x) / n + slope * self._last_s[row], BIN_S))


class HybridHistogram:
    """A `HazardExpert`: 60 bytes a row, beside the shared histograms (5.8 kB a row at 48 hours).

    Args:
        idle: the shared histograms; they are filled by the policy that has `owner`.
        range_s: the histogram's range in seconds.
        owner: whether this policy fills the shared histograms; exactly one does, and learns last.
    """

    def __init__(self, idle: IdleHistograms, range_s: float, *, owner: bool) -> None:
        self.name = f"hybrid histogram {range_s / 3600:g} h"
        self._idle = idle
        self._range_s = range_s
        self._owner = owner
        self._window_s: Floats = np.zeros((0, 2))
        self._counted: Ints = np.zeros(0, dtype=np.int64)
        self._share = WindowShare()

    def grow(self, rows: int) -> None:
        """See `HazardExpert.grow`."""
        if self._owner:
            self._idle.grow(rows)
        known = len(self._window_s)
        self._window_s = enlarged(self._window_s, rows)
        self._window_s[known:] = (0.0, self._range_s)
        self._counted = enlarged(self._counted, rows)
        self._share.grow(rows)

    def windows_s(self, rows: Ints) -> Floats:
        """Seconds of idleness from which, and to which, each row is kept ready, shape (rows, 2)."""
        return np.asarray(self._window_s[rows])

    def inside(self, block: SlotBlock) -> Flags:
        """Whether the policy keeps each row ready at some moment of each slot, shape (rows, slots)."""
        window = self._window_s[block.rows]
        return np.asarray((block.idle_s + block.slot_s > window[:, :1]) & (block.idle_s <= window[:, 1:]))

    def hazards(self, block: SlotBlock) -> Floats:
        """See `HazardExpert.hazards`."""
        return self._share.hazards(block, self.inside(block))

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """See `HazardExpert.learn`."""
        self._share.learn(block, self.inside(block), outcome)
        if self._owner:
            for place, slot in np.argwhere(outcome.started).tolist():
                self._idle.add(int(block.rows[place]), float(outcome.idle_at_start_s[place, slot]))
        totals = self._idle.totals[block.rows]
        counted = self._counted[block.rows]
        for row in block.rows[totals - counted > _RENEW_SHARE * counted].tolist():
            self._window_s[row] = self._idle.window_s(row, self._range_s)
            self._counted[row] = self._idle.totals[row]

    def forget(self, row: int) -> None:
        """See `HazardExpert.forget`."""
        if self._owner:
            self._idle.forget(row)
        self._window_s[row] = (0.0, self._range_s)
        self._counted[row] = 0
        self._share.forget(row)

    def move(self, source: int, target: int) -> None:
        """See `HazardExpert.move`."""
        if self._owner:
            self._idle.move(source, target)
        self._window_s[target], self._counted[target] = self._window_s[source], self._counted[source]
        self._share.move(source, target)
        self._window_s[source], self._counted[source] = (0.0, self._range_s), 0

    def nbytes(self) -> int:
        """See `HazardExpert.nbytes`."""
        return (
            self._window_s.nbytes
            + self._counted.nbytes
            + self._share.nbytes()
            + (self._idle.nbytes() if self._owner else 0)
        )

"""What each way of keeping desktops ready would have cost: cold starts against idle readiness.

A start is cold when its row was not ready just then (no time is allowed for booting). Readiness that is not used
counts as idle, from the end of one session to the start of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.profiles.arrivals.hybrid_histogram import IdleHistograms
from ghostdesk.profiles.arrivals.seam import Floats

KEEP_ALIVE_MINUTES = (20, 60, 120, 240)
RANGES_HOURS = (4, 16, 24, 48)
_RENEW_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class PrewarmingCost:
    """What a policy costs.

    Args:
        policy: its name and parameter.
        cold: share of starts that find the row not ready, 0 to 1.
        idle_minutes: ready but not in use, per session.
    """

    policy: str
    cold: float
    idle_minutes: float


def idle_times_s(rows: Sequence[RowUse], from_s: Floats) -> tuple[Floats, int]:
    """Idle seconds before each session that starts at or after its row's `from_s`, and how many have none known."""
    found, unknown = [np.zeros(0)], 0
    for row, start_s in zip(rows, from_s.tolist(), strict=True):
        gaps = row.start_s[1:] - row.end_s[:-1]
        found.append(gaps[row.start_s[1:] >= start_s])
        unknown += int(len(row.start_s) > 0 and row.start_s[0] >= start_s)
    return np.concatenate(found), unknown


def keep_alive_costs(rows: Sequence[RowUse], from_s: Floats) -> list[PrewarmingCost]:
    """Keeping each row ready for a fixed time after every use."""
    gaps, unknown = idle_times_s(rows, from_s)
    sessions = max(len(gaps) + unknown, 1)
    costs = []
    for minutes in KEEP_ALIVE_MINUTES:
        cold = (int((gaps > minutes * 60.0).sum()) + unknown) / sessions
        idle = float(np.minimum(gaps, minutes * 60.0).sum()) / 60.0 / sessions
        costs.append(PrewarmingCost(f"keep alive {minutes} min", cold, idle))
    always = float(gaps.sum()) / 60.0 / sessions
    return [*costs, PrewarmingCost("always on, from one use to the next", unknown / sessions, always)]


def hybrid_histogram_costs(rows: Sequence[RowUse], from_s: Floats) -> list[PrewarmingCost]:
    """The hybrid histogram policy, learning on: a row's windows are worked out anew every 2 % more sessions."""
    cold, idle_s, sessions = np.zeros(len(RANGES_HOURS)), np.zeros(len(RANGES_HOURS)), 0
    for row, start_s in zip(rows, from_s.tolist(), strict=True):
        idle = IdleHistograms(max(RANGES_HOURS) * 3600.0)
        idle.grow(1)
        windows, counted = np.zeros((len(RANGES_HOURS), 2)), -1
        gaps = np.append(np.inf, row.start_s[1:] - row.end_s[:-1])
        for gap, judged in zip(gaps[: len(row.start_s)].tolist(), (row.start_s >= start_s).tolist(), strict=True):
            if judged:
                if idle.totals[0] - counted > _RENEW_SHARE * counted:
                    windows = np.array([idle.window_s(0, hours * 3600.0) for hours in RANGES_HOURS])
                    counted = int(idle.totals[0])
                sessions += 1
                cold += (gap < windows[:, 0]) | (gap > windows[:, 1])
                if np.isfinite(gap):
                    idle_s += np.clip(np.minimum(gap, windows[:, 1]) - windows[:, 0], 0.0, None)
            idle.add(0, gap)
    n = max(sessions, 1)
    return [
        PrewarmingCost(f"hybrid histogram, range {hours} h", c / n, s / 60.0 / n)
        for hours, c, s in zip(RANGES_HOURS, cold.tolist(), idle_s.tolist(), strict=True)
    ]

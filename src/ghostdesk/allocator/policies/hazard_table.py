"""Hour-of-week x idle-age hazard table: a row is held where a start in the next slot is likely enough.

The table (`profiles/arrivals/hour_by_idle.py`) is everyone's, with each row's own ratio to it. Holding whatever has the
highest hazard for each idle minute is the best that a given table can do: a fractional knapsack (Dantzig 1957).
"""

from __future__ import annotations

from ghostdesk.allocator.policies.expert_scores import ExpertScores
from ghostdesk.allocator.policies.row_scores import ScoredRows, Threshold
from ghostdesk.allocator.policies.seam import PolicyFamily, Setting
from ghostdesk.profiles.arrivals.hour_by_idle import HourByIdle


def _setting(percent: float) -> Setting:
    why = f"a start is likely by {percent:g} % or more"
    return Setting(
        f"hazard {percent:g} %",
        lambda: ScoredRows(ExpertScores(HourByIdle()), Threshold(percent / 100.0, "hazard-table", why), "hour x idle"),
    )


FAMILY = PolicyFamily(
    "hazard-table",
    "hour-of-week x idle-age table",
    "discrete-time hazard with two time scales (Allison 1982)",
    tuple(_setting(p) for p in (30, 20, 10, 7, 5, 4, 3, 2, 1.5, 1.2, 1, 0.8, 0.6, 0.4, 0.2)),
)

"""The sets of arrival experts: the one to serve from, and the one to compare in an evaluation."""

from __future__ import annotations

from ghostdesk.profiles.arrivals.base_rate import BaseRate
from ghostdesk.profiles.arrivals.hour_by_idle import HourByIdle
from ghostdesk.profiles.arrivals.hour_of_week import HourOfWeek
from ghostdesk.profiles.arrivals.hybrid_histogram import HybridHistogram, IdleHistograms
from ghostdesk.profiles.arrivals.recent_ratio import RecentRatio
from ghostdesk.profiles.arrivals.seam import HazardExpert
from ghostdesk.profiles.arrivals.weekday_rule import WeekdayRule

_HOUR_S = 3600.0
_DAY_S = 24 * _HOUR_S


def simple_experts() -> list[HazardExpert]:
    """The strong simple predictors to compare with, in an order in which they can be taught."""
    idle = IdleHistograms(48 * _HOUR_S)
    ranges = [HybridHistogram(idle, hours * _HOUR_S, owner=hours == 48) for hours in (4, 16, 24, 48)]
    return [BaseRate(), HourOfWeek(), WeekdayRule(), *ranges, HourByIdle()]


def served_experts() -> list[HazardExpert]:
    """The members of the mixture, in an order in which they can be taught.

    Hybrid histograms (5.8 kB a row) are left out: with them the mixture's log loss on recorded histories is the same to
    the fourth digit.
    """
    base = HourByIdle()
    # The hour of week is taught before the owner of the starts, so that forgetting finds them.
    return [*with_recency(base), BaseRate(), HourOfWeek(base.starts), WeekdayRule(), base]


def with_recency(base: HazardExpert) -> list[HazardExpert]:
    """The same expert, corrected by how the last time went for everyone and for the row; teach these before `base`."""
    return [
        RecentRatio(base, 2 * _HOUR_S, pooled=True, name=f"{base.name}, everyone's 2 h"),
        RecentRatio(base, 2 * _DAY_S, pooled=True, name=f"{base.name}, everyone's 2 days"),
        RecentRatio(base, 2 * _DAY_S, pooled=False, name=f"{base.name}, own 2 days"),
        RecentRatio(base, 21 * _DAY_S, pooled=False, name=f"{base.name}, own 3 weeks"),
    ]

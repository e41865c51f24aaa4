"""Fixed keep-alive: a row stays ready for a fixed time after every use, as on serverless platforms."""

from __future__ import annotations

from ghostdesk.allocator.policies.row_scores import ScoredRows, Threshold
from ghostdesk.allocator.policies.seam import Floats, Moment, Observed, PolicyFamily, Setting


class TimeSinceUse:
    """`RowScores`: the shorter the idle time, the higher; it is that of a slot's middle, as slots are held whole."""

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        """The moment says it all."""

    def scores(self, moment: Moment) -> Floats:
        """Minus the idle seconds, shape (rows,)."""
        return -(moment.idle_s + 0.5 * (moment.until_s - moment.now_s))


def _setting(minutes: int) -> Setting:
    why = f"idle for less than {minutes} minutes"
    return Setting(
        f"{minutes} min",
        lambda: ScoredRows(TimeSinceUse(), Threshold(-60.0 * minutes, "keep-alive", why), "time since use"),
    )


FAMILY = PolicyFamily(
    "keep-alive",
    "fixed keep-alive",
    "disconnect timers of session hosts; 10 to 20 minutes on serverless platforms (Shahrad et al. 2020)",
    tuple(_setting(minutes) for minutes in (10, 20, 40, 60, 120, 240, 480, 960, 1440, 2880)),
    from_starts=True,
)

"""ghostdesk's own policy for rows: whatever has the highest hazard for each idle minute is held, down to one price.

The hazard knows the whole house (`profiles/arrivals/crowd_hazard.py`) and is mixed with experts of habit. Given true
hazards, holding a row for a slot pays where its hazard exceeds a price, the same for every row and slot (a fractional
knapsack, Dantzig 1957).
"""

from __future__ import annotations

from ghostdesk.allocator.policies.mixed_scores import MixedScores
from ghostdesk.allocator.policies.row_scores import RowScores, ScoredRows, Threshold
from ghostdesk.allocator.policies.row_targets import HitRateTarget, IdleBudget
from ghostdesk.allocator.policies.seam import Floats, Moment, Observed, PolicyFamily, Setting
from ghostdesk.profiles.arrivals.crowd_hazard import CrowdHazard

KEY = "crowd hazard"
LEAST_SLOT_S = 600.0
_SPREADS = 1.0


class CrowdScores:
    """`RowScores`: the hazard of each row until the next moment, and until a ghost begun then would be ready.

    Args:
        seed: of what is drawn for training.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._rows = 0
        self._crowd: CrowdHazard | None = None

    def grow(self, rows: int) -> None:
        """See `RowScores.grow`."""
        self._rows = rows
        if self._crowd is not None:
            self._crowd.grow(rows)

    def observe(self, observed: Observed) -> None:
        """See `RowScores.observe`."""
        crowd = self._crowd
        if crowd is None:
            return
        ends = zip(observed.ended_s.tolist(), observed.ended.tolist(), strict=True)
        starts = zip(observed.started_s.tolist(), observed.started.tolist(), strict=True)
        for time_s, begins, row in sorted([(t, False, r) for t, r in ends] + [(t, True, r) for t, r in starts]):
            if begins:
                crowd.started(row, time_s)
            else:
                crowd.ended(row, time_s)

    def scores(self, moment: Moment) -> Floats:
        """See `RowScores.scores`."""
        if self._crowd is None:
            # The first distance between two moments is the slot from then on.
            self._crowd = CrowdHazard(max(moment.until_s - moment.now_s, LEAST_SLOT_S), self._seed)
            self._crowd.grow(self._rows)
        lead_s = moment.lead_s * (1.0 + _SPREADS * moment.lead_spread)
        ahead_s = min(lead_s, self._crowd.slot_s)
        return self._crowd.hazards(moment.now_s, moment.offset_s, moment.idle_s, ahead_s, moment.row_offset_s)


def house_and_habits() -> RowScores:
    """The hazards of all three families."""
    return MixedScores(CrowdScores())


def _setting(percent: float) -> Setting:
    why = f"a start is likely by {percent:g} % or more, seeing who else is there"
    return Setting(
        f"hazard {percent:g} %",
        lambda: ScoredRows(house_and_habits(), Threshold(percent / 100.0, "crowd-hazard", why), KEY),
    )


def _target(percent: float) -> Setting:
    return Setting(f"{percent:g} % ready", lambda: ScoredRows(house_and_habits(), HitRateTarget(percent / 100.0), KEY))


def _budget(minutes: int) -> Setting:
    return Setting(f"{minutes} min a session", lambda: ScoredRows(house_and_habits(), IdleBudget(minutes), KEY))


FAMILY = PolicyFamily(
    "crowd-rows",
    "ghostdesk, by price",
    "ghostdesk: hazards that know the whole house, mixed with habits",
    tuple(_setting(p) for p in (30, 20, 10, 7, 5, 4, 3, 2, 1.5, 1.2, 1, 0.8, 0.6, 0.4, 0.2)),
)

TARGET_FAMILY = PolicyFamily(
    "crowd-target",
    "ghostdesk, by hit rate",
    "the same hazards; the price that keeps a hit rate",
    tuple(_target(percent) for percent in (80, 90, 95, 98, 99, 99.5)),
)

BUDGET_FAMILY = PolicyFamily(
    "crowd-budget",
    "ghostdesk, by idle time",
    "the same hazards; the price that keeps an idle time a session",
    tuple(_budget(minutes) for minutes in (15, 35, 58, 87, 114, 160, 212)),
)

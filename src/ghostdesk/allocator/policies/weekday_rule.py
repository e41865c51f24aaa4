"""The learned-weekday rule: a row is held at the times of the week at which it was used in the last weeks."""

from __future__ import annotations

import numpy as np

from ghostdesk.allocator.policies.expert_scores import ExpertScores
from ghostdesk.allocator.policies.row_scores import ScoredRows, Threshold
from ghostdesk.allocator.policies.seam import Policy, PolicyFamily, Setting
from ghostdesk.profiles.arrivals.weekday_rule import WeekdayRule

_RULES = ((3, 4), (2, 3), (2, 2), (1, 1))


def _policy(of_three: int, of_seven: int) -> Policy:
    rule = WeekdayRule(of_last_three=of_three, of_last_seven=of_seven)
    chooser = Threshold(0.5, "weekday-rule", "used at this time of the week before")
    scores = ExpertScores(rule, lambda block: rule.inside(block).astype(np.float64))
    return ScoredRows(scores, chooser, f"weekday rule {of_three} {of_seven}")


def _setting(of_three: int, of_seven: int) -> Setting:
    return Setting(f"{of_three} of 3 or {of_seven} of 7 weeks", lambda: _policy(of_three, of_seven))


FAMILY = PolicyFamily(
    "weekday-rule",
    "learned-weekday rule",
    "as learning thermostats and schedules do: 2 of the last 3 same weekdays, else of the last 7",
    tuple(_setting(three, seven) for three, seven in _RULES),
)

"""Learning the next application anew beside the forecasts that are in use, for a model that is to take their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.baselines.slots import EARLIEST_S
from ghostdesk.profiles.forecast_watch import Judged
from ghostdesk.profiles.next_app.expert import NextAppExpert
from ghostdesk.profiles.next_app.forecasts import NextAppForecasts
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.history import History

RECALLED = 300
"""Of a long past each user's last three hundred applications are learnt."""
APP_EVENTS = frozenset({EventKind.APP_LAUNCH, EventKind.APP_FOCUS})

TrainedExperts = Callable[[], dict[str, NextAppExpert]]
"""Makes one person's experts from trained models, by their names; none without a model."""
OnJudged = Callable[[Judged], None]
"""Told what each step cost that had been forecast."""


class Refit:
    """Made by `UserProfileEngine.begin_refit`; `learn` may run in another thread, all else is the engine's.

    Args:
        forecasts: new ones, which know nobody yet.
        trained: what they were made with.
        judged: told of their steps.
    """

    def __init__(self, forecasts: NextAppForecasts, trained: TrainedExperts, judged: OnJudged) -> None:
        self.forecasts = forecasts
        self.trained = trained
        self.judged = judged
        self.spoiled = False
        """Whether somebody was forgotten meanwhile: what was learnt may tell of them, and is of no use."""
        self._live: list[UsageEvent] = []

    def learn(self, history: History, until_s: float) -> None:
        """Learn from a history up to the moment at which this began; ends early when somebody is forgotten."""
        left: Counter[UserId | None] = Counter(event.user for event in history if event.kind in APP_EVENTS)
        for event in history:
            if self.spoiled:
                return
            after = left[event.user]
            if after <= RECALLED and EARLIEST_S <= event.time_s <= until_s:
                self.forecasts.observe(event, apps_after=after)
            if event.kind in APP_EVENTS:
                left[event.user] -= 1

    def note(self, event: UsageEvent) -> None:
        """Something happened while the past is learnt: it is learnt after it."""
        self._live.append(event)

    def catch_up(self) -> None:
        """Learn what happened meanwhile."""
        for event in self._live:
            self.forecasts.observe(event)
        self._live = []

"""Everyone's calendars in the forecast: which arrivals they make likelier or not, and what they say of a moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.calendar import Agenda, CalendarFeatures
from ghostdesk.profiles.calendar_effect import CalendarEffect
from ghostdesk.profiles.situation import Situation
from ghostdesk.telemetry.calendars.entries import BusyTime

Floats = npt.NDArray[np.float64]
_LEARNT_A_SLOT = 2000
"""People whose calendars are learnt from in one half hour; with more of them, they take turns."""


class Diary:
    """Agendas of those who opted in, everybody's holidays and terms, and their learnt effect on arrivals."""

    def __init__(self) -> None:
        self.effect = CalendarEffect()
        self._agendas: dict[UserId, Agenda] = {}
        self._everyone = Agenda(())
        self._slot: int | None = None
        self._watched: dict[UserId, float] = {}
        self._turn = 0

    def set(self, personal: Mapping[UserId, Sequence[BusyTime]], everyone: Sequence[BusyTime]) -> None:
        """Replace all agendas; nothing of a person who is not in `personal` is kept."""
        self._everyone = Agenda(everyone)
        self._agendas = {user: Agenda((*everyone, *times)) for user, times in personal.items() if times}

    def forget(self, user: UserId) -> None:
        """Drop a person's agenda and what was learnt from it."""
        self._agendas.pop(user, None)
        self._watched.pop(user, None)
        self.effect.forget(user)

    def known(self) -> bool:
        """Whether any calendar says anything."""
        return bool(self._agendas) or self._everyone.public

    def features(self, user: UserId, now_s: float) -> CalendarFeatures:
        """What the calendar says of a moment."""
        return self._agendas.get(user, self._everyone).at(now_s)

    def around(self, user: UserId, situation: Situation) -> Situation:
        """The situation with what the calendar says of it."""
        if situation.time_s is None or not self.known():
            return situation
        found = self.features(user, situation.time_s)
        return replace(
            situation,
            calendar_minutes=found.minutes,
            calendar_series=found.series,
            holiday=found.day_off,
        )

    def adjust(self, users: Sequence[UserId], hazards: Floats, moments_s: Floats) -> Floats:
        """Hazards, shape (users, moments), with the calendars taken into account."""
        if self._everyone.public:
            hazards = self.effect.adjust_many(users, hazards, self._everyone.slots(moments_s))
        if not self._agendas:
            return hazards
        adjusted = hazards.copy()
        for row, user in enumerate(users):
            agenda = self._agendas.get(user)
            if agenda is not None:
                adjusted[row] = self.effect.adjust(user, hazards[row], agenda.slots(moments_s))
        return adjusted

    def learn(
        self,
        slot: int,
        start_s: float,
        slot_s: float,
        hazard: Callable[[UserId], float | None],
        came: Callable[[UserId, int], bool],
    ) -> None:
        """Learn from the slot before, and note what is expected of this one; does nothing within the same slot.

        Args:
            slot: number of the slot of the week that goes on.
            start_s: the present time; the slot is taken to begin then.
            slot_s: length of a slot.
            hazard: chance that a person comes in this slot without a calendar; None while they are there.
            came: whether a person came in a slot.
        """
        if slot == self._slot or not self.known():
            return
        if self._slot == slot - 1:
            middle = np.array([start_s - slot_s / 2])
            for user, chance in self._watched.items():
                agenda = self._agendas.get(user, self._everyone)
                self.effect.learn(user, [chance], agenda.slots(middle), [came(user, slot - 1)])
        users = list(self._agendas)
        turn = self._turn % max(len(users), 1)
        some = (users[turn:] + users[:turn])[:_LEARNT_A_SLOT]
        self._turn += len(some)
        expected = {user: hazard(user) for user in some}
        self._watched = {user: chance for user, chance in expected.items() if chance is not None}
        self._slot = slot

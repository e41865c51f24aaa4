"""What the profile engine is told beside events: who works as what, what calendars say, and whose modes there are."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ghostdesk.control.calendar_sync import CalendarSync
from ghostdesk.control.ways import Ways, read_ways
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.location import Place
from ghostdesk.profiles.modes import Mode
from ghostdesk.profiles.next_app.pool import Attributes
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.calendars.entries import BusyTime
from ghostdesk.telemetry.events import TelemetrySource

log = logging.getLogger(__name__)
_BACK_S = 86_400.0
_AHEAD_S = 8 * 86_400.0


class TakesSurroundings(Protocol):
    """An engine that knows more of people than their events."""

    def set_attributes(self, attributes: Mapping[UserId, Attributes]) -> None:
        """Job roles and departments."""
        ...

    def set_calendars(self, personal: Mapping[UserId, Sequence[BusyTime]], everyone: Sequence[BusyTime]) -> None:
        """Busy times of those who opted in, holidays and terms of everyone."""
        ...

    def set_ways(self, modes: Mapping[UserId, Sequence[Mode]], places: Mapping[UserId, Sequence[Place]]) -> None:
        """Modes and places of those who agree that they are used."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of people at one moment."""

    attributes: Mapping[UserId, Attributes]
    personal: Mapping[UserId, Sequence[BusyTime]]
    everyone: Sequence[BusyTime]
    ways: Ways = field(default_factory=Ways)

    def tell(self, profiles: TakesSurroundings) -> None:
        """Hand it to the engine."""
        profiles.set_attributes(self.attributes)
        profiles.set_calendars(self.personal, self.everyone)
        profiles.set_ways(self.ways.modes, self.ways.places)


def read_surroundings(
    store: Store, now_s: float, operator: Collection[TelemetrySource] = tuple(TelemetrySource)
) -> Surroundings:
    """Read it from the database; of people who do not agree nothing is there (of busy times see `CalendarSync`).

    Args:
        operator: sources that the operator allows.
    """
    attributes = {u.user: Attributes(u.job_role, u.department) for u in store.users() if u.job_role or u.department}
    personal: dict[UserId, list[BusyTime]] = defaultdict(list)
    everyone: list[BusyTime] = []
    for user, busy in store.busy_times(now_s - _BACK_S, now_s + _AHEAD_S):
        (everyone if user is None else personal[user]).append(busy)
    return Surroundings(attributes, dict(personal), everyone, read_ways(store, operator))


class ProfileFeed:
    """Keeps the engine told. Reading is done in a thread, telling in the event loop, where the engine is asked."""

    def __init__(
        self,
        store: Store,
        profiles: TakesSurroundings,
        sync: CalendarSync,
        clock: Clock,
        operator: Collection[TelemetrySource] = tuple(TelemetrySource),
    ) -> None:
        self._store, self._profiles, self._sync, self._clock = store, profiles, sync, clock
        self._operator = operator

    def begin(self) -> None:
        """Tell the engine what is stored, before it learns from history; blocks. Trouble leaves it without."""
        try:
            read_surroundings(self._store, self._clock.now_s(), self._operator).tell(self._profiles)
        except GhostdeskError as error:
            log.warning("calendars, job roles and modes cannot be read: %s", error)

    async def renew(self) -> None:
        """Read calendars that are due, and tell the engine; what cannot be read stays as it was told last."""
        now_s = self._clock.now_s()
        try:
            await asyncio.to_thread(self._sync.sync_all, now_s)
            found = await asyncio.to_thread(read_surroundings, self._store, now_s, self._operator)
        except GhostdeskError as error:
            log.warning("calendars and job roles cannot be read: %s", error)
            return
        found.tell(self._profiles)

    async def follow_every(self, every_s: float) -> None:
        """Renew for ever."""
        while True:
            try:
                await self.renew()
            except Exception:  # whatever a calendar does, the service goes on
                log.exception("renewing what is known of people failed")
            await asyncio.sleep(every_s)

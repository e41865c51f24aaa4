"""What the profile engine is told beside events: who works as what, and what calendars say."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ghostdesk.control.calendar_sync import CalendarSync
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.next_app.pool import Attributes
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.calendars.entries import BusyTime

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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of people at one moment."""

    attributes: Mapping[UserId, Attributes]
    personal: Mapping[UserId, Sequence[BusyTime]]
    everyone: Sequence[BusyTime]

    def tell(self, profiles: TakesSurroundings) -> None:
        """Hand it to the engine."""
        profiles.set_attributes(self.attributes)
        profiles.set_calendars(self.personal, self.everyone)


def read_surroundings(store: Store, now_s: float) -> Surroundings:
    """Read it from the database; busy times of people who do not agree are not there (see `CalendarSync`)."""
    attributes = {u.user: Attributes(u.job_role, u.department) for u in store.users() if u.job_role or u.department}
    personal: dict[UserId, list[BusyTime]] = defaultdict(list)
    everyone: list[BusyTime] = []
    for user, busy in store.busy_times(now_s - _BACK_S, now_s + _AHEAD_S):
        (everyone if user is None else personal[user]).append(busy)
    return Surroundings(attributes, dict(personal), everyone)


class ProfileFeed:
    """Keeps the engine told. Reading is done in a thread, telling in the event loop, where the engine is asked."""

    def __init__(self, store: Store, profiles: TakesSurroundings, sync: CalendarSync, clock: Clock) -> None:
        self._store, self._profiles, self._sync, self._clock = store, profiles, sync, clock

    async def renew(self) -> None:
        """Read calendars that are due, and tell the engine; what cannot be read stays as it was told last."""
        now_s = self._clock.now_s()
        try:
            await asyncio.to_thread(self._sync.sync_all, now_s)
            found = await asyncio.to_thread(read_surroundings, self._store, now_s)
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

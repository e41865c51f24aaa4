"""The rules of capacity as they stand: from the settings, with departments and bookings from the database."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from ghostdesk.allocator.bookings import Booking
from ghostdesk.allocator.capacity import CapacityRules
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import Store

log = logging.getLogger(__name__)


class CapacityFeed:
    """Holds the rules in memory, where plans and sign-ins ask for them, and reads again now and then.

    Args:
        store: where accounts and bookings are.
        rules: what the settings say.
    """

    def __init__(self, store: Store, rules: CapacityRules, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._rules = rules
        self._told: frozenset[str] = frozenset()

    def __call__(self) -> CapacityRules:
        return self._rules

    def read(self) -> tuple[dict[UserId, str], tuple[Booking, ...]]:
        """Who belongs where, and what is booked; blocks.

        Raises:
            StoreError: the database cannot serve.
        """
        where = {user.user: user.department for user in self._store.users() if user.department}
        return where, tuple(self._store.bookings(self._clock.now_s()))

    def take(self, where: dict[UserId, str], bookings: tuple[Booking, ...]) -> None:
        """Go by this from now on."""
        if where != self._rules.departments or bookings != self._rules.bookings:
            self._rules = replace(self._rules, departments=where, bookings=bookings)
        self._tell_unknown(frozenset(self._rules.quotas.departments) - frozenset(where.values()))

    def _tell_unknown(self, unknown: frozenset[str]) -> None:
        """A quota for a department that nobody belongs to is likely a slip of the pen; told once."""
        for department in sorted(unknown - self._told):
            log.warning("quotas.departments.%s: nobody belongs to this department", department)
        self._told = unknown

    def begin(self) -> None:
        """Read for the first time; blocks. Trouble leaves the settings' rules alone."""
        try:
            self.take(*self.read())
        except GhostdeskError as error:
            log.warning("departments and bookings cannot be read: %s", error)

    async def follow_every(self, every_s: float) -> None:
        """Read again for ever; what cannot be read stays as it was."""
        while True:
            await asyncio.sleep(every_s)
            try:
                self.take(*await asyncio.to_thread(self.read))
            except GhostdeskError as error:
                log.warning("departments and bookings cannot be read: %s", error)
            except Exception:  # whatever is in the database, the service goes on
                log.exception("reading departments and bookings failed")

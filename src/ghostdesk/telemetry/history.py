"""A history: events in order, immutable."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.events import EventKind, UsageEvent


@dataclass(frozen=True)
class History:
    """Events sorted by time. Build one with `History.of`, which sorts."""

    events: tuple[UsageEvent, ...] = ()

    @classmethod
    def of(cls, events: Iterable[UsageEvent]) -> History:
        """A history of `events` in any order."""
        return cls(tuple(sorted(events, key=lambda e: e.time_s)))

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[UsageEvent]:
        return iter(self.events)

    def between(self, start_s: float, end_s: float) -> History:
        """Events with ``start_s <= time_s < end_s``."""
        low = bisect_left(self.events, start_s, key=lambda e: e.time_s)
        high = bisect_left(self.events, end_s, key=lambda e: e.time_s)
        return History(self.events[low:high])

    def of_user(self, user: UserId) -> History:
        """That user's events."""
        return History(tuple(e for e in self.events if e.user == user))

    def of_kind(self, *kinds: EventKind) -> History:
        """Events of these kinds."""
        wanted = frozenset(kinds)
        return History(tuple(e for e in self.events if e.kind in wanted))

    def users(self) -> tuple[UserId, ...]:
        """Everyone named in it, sorted."""
        return tuple(sorted({e.user for e in self.events if e.user is not None}))

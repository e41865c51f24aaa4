"""The part of the store's seam that holds what belongs to a person beside their events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.location import Place
from ghostdesk.profiles.modes import Mode
from ghostdesk.telemetry.calendars.entries import BusyTime, CalendarSource
from ghostdesk.telemetry.consent import Consent
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

MOST_PREPARED = 200
"""As many of the latest preparations are kept of each user."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """Why something was prepared for a user: what it was, and the reason in words."""

    time_s: float
    user: UserId
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """A person deleted what came from `source` (None: everything) before `time_s`; it must not come back."""

    user: UserId
    source: TelemetrySource | None
    time_s: float


@dataclass(frozen=True, slots=True)
class EventCount:
    """How many events of a kind are stored of a user, and from when to when."""

    kind: EventKind
    events: int
    first_s: float
    last_s: float


class PersonalStore(Protocol):
    """What belongs to a person. Raises `StoreError` when the database cannot serve."""

    def put_consent(self, consent: Consent) -> None:
        """Keep a person's choice for one source."""
        ...

    def consents(self, user: UserId | None = None, *, since_s: float | None = None) -> Sequence[Consent]:
        """Choices of one person, or of everyone; with `since_s` only those made then or later."""
        ...

    def put_place(self, user: UserId, place: Place) -> None:
        """Add or change a place."""
        ...

    def places(self, user: UserId) -> Sequence[Place]:
        """A person's places, by name."""
        ...

    def delete_place(self, user: UserId, name: str) -> bool:
        """Remove a place and every event that names it; returns whether it was there."""
        ...

    def put_mode(self, user: UserId, mode: Mode) -> None:
        """Add or change a mode."""
        ...

    def modes(self, user: UserId) -> Sequence[Mode]:
        """A person's modes, by name."""
        ...

    def all_modes(self) -> Mapping[UserId, Sequence[Mode]]:
        """Everyone's modes."""
        ...

    def delete_mode(self, user: UserId, name: str) -> bool:
        """Remove a mode and every event that names it; returns whether it was there."""
        ...

    def put_calendar(self, calendar: CalendarSource) -> None:
        """Add or change a calendar."""
        ...

    def update_calendar(self, calendar: CalendarSource) -> bool:
        """Change a calendar that is there; returns whether it was. What was deleted meanwhile does not come back."""
        ...

    def calendars(self, user: UserId | None = None) -> Sequence[CalendarSource]:
        """A person's calendars; without a user all there are, with those that hold for everyone."""
        ...

    def delete_calendar(self, user: UserId | None, name: str) -> bool:
        """Remove a calendar and its busy times; `user` is None for one that holds for everyone."""
        ...

    def replace_busy_times(self, user: UserId | None, calendar: str, times: Sequence[BusyTime]) -> None:
        """Put these in the place of all that was known of the calendar; raises `NotFound` when it is not there."""
        ...

    def busy_times(
        self, since_s: float, until_s: float, user: UserId | None = None
    ) -> Iterator[tuple[UserId | None, BusyTime]]:
        """Entries that overlap ``[since_s, until_s)`` with whose they are (None: everyone's), in order of start.

        With a user: theirs alone; without: all there are.
        """
        ...

    def busy_time_counts(self, user: UserId) -> Mapping[str, int]:
        """How many entries each of a person's calendars has, by its name."""
        ...

    def add_preparation(self, preparation: Preparation) -> None:
        """Remember why something was prepared; the oldest beyond `MOST_PREPARED` of the user go."""
        ...

    def preparations(self, user: UserId, limit: int = MOST_PREPARED) -> Sequence[Preparation]:
        """The latest first."""
        ...

    def event_counts(self, user: UserId) -> Sequence[EventCount]:
        """What is stored of a user, by kind."""
        ...

    def last_event(self, user: UserId, kind: EventKind) -> UsageEvent | None:
        """The latest event of a kind."""
        ...

    def delete_personal_data(self, user: UserId, source: TelemetrySource | None, now_s: float) -> int:
        """Remove what was recorded of a user (from one source, or everything), and see that it cannot come back.

        Everything is: events, launches, reasons of preparations, places, modes and calendars. Of one source: its
        events, what the person defined for it (places, modes, calendars), and all reasons, which may tell of it. The
        account, its sign-ins in the audit log and the person's consents stay.

        Returns:
            How many events went.
        """
        ...

    def deletions(self, since_s: float | None = None) -> Sequence[Deletion]:
        """What people deleted; with `since_s` only what was deleted then or later."""
        ...

    def lift_deletions(self, user: UserId) -> int:
        """Let events from before the user's deletions be taken again (an operator imports a corrected log); returns
        how many deletions were lifted. What was deleted stays deleted."""
        ...

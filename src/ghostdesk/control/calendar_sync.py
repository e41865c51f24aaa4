"""Keeps busy times up to date: reads each calendar whose owner agreed, and keeps what is known where that fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from ghostdesk.control.booking_sources import KIND as KIND_BOOKINGS
from ghostdesk.control.booking_sources import Accounts, take_reading
from ghostdesk.kernel.errors import GhostdeskError, NotFound
from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.calendars.addresses import AddressPolicy
from ghostdesk.telemetry.calendars.days import parse_terms, public_holidays, terms
from ghostdesk.telemetry.calendars.digests import series_key
from ghostdesk.telemetry.calendars.entries import BusyTime, CalendarSource
from ghostdesk.telemetry.calendars.errors import CalendarError, CalendarRefused, CalendarSignInFailed
from ghostdesk.telemetry.calendars.lines import BOOKING_LINES, split_calendar
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.telemetry.consent import Consent, allowed_sources
from ghostdesk.telemetry.events import TelemetrySource

if TYPE_CHECKING:  # the libraries behind it take half a second to import, and most commands do not need them
    from ghostdesk.telemetry.calendars.remote import Fetched

log = logging.getLogger(__name__)
DAY_S = 86_400.0
PAST_S = 120 * DAY_S
"""How far back busy times are kept: as far as history is learned from, so that the effect can be learned at a start."""
AHEAD_S = 60 * DAY_S
_ORPHAN_S = 3_600.0
_FIRST_RETRY_S, _LONGEST_RETRY_S = 300.0, 6 * 3_600.0
_REFUSED_RETRY_S = 6 * 3_600.0
"""After a wrong password or a refused address: trying often would lock the account, and changes nothing."""
_WORKERS = 4
REMOTE = frozenset({"caldav", "url"})


class CalendarStore(Accounts, Protocol):
    """What of the store is needed here."""

    def calendars(self, user: UserId | None = None) -> Sequence[CalendarSource]:
        """A person's calendars; without a user all there are, with those that hold for everyone."""
        ...

    def put_calendar(self, calendar: CalendarSource) -> None:
        """Add or change a calendar."""
        ...

    def delete_calendar(self, user: UserId | None, name: str) -> bool:
        """Remove a calendar and its busy times."""
        ...

    def replace_busy_times(self, user: UserId | None, calendar: str, times: Sequence[BusyTime]) -> None:
        """Put these in the place of all that was known of the calendar; raises `NotFound` when it is not there."""
        ...

    def consents(self, user: UserId | None = None, *, since_s: float | None = None) -> Sequence[Consent]:
        """Choices of one person, or of everyone."""
        ...


@dataclass(frozen=True, slots=True)
class CalendarOptions:
    """How calendars are read.

    Args:
        timezone: IANA name of the zone of whole days, and of times that name none.
        policy: which addresses may be reached.
        ca_file: certificates to trust for calendar servers instead of the usual ones.
        sync_every_s: how often servers are asked; files, holidays and terms are read again once a day.
        operator_sources: what the operator allows at all.
        total_timeout_s: for all that is asked of one server.
    """

    timezone: str = "UTC"
    policy: AddressPolicy = field(default_factory=AddressPolicy)
    ca_file: str | None = None
    sync_every_s: float = 900.0
    operator_sources: Collection[TelemetrySource] = tuple(TelemetrySource)
    total_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What came of one calendar.

    Args:
        user, name: which.
        state: "read", "unchanged", "failed" (what was known is kept) or "no consent" (nothing is kept).
        busy_times: how many there are now, where it was read.
        problem: why it failed, or what of it could not be read; empty when all is well.
    """

    user: UserId | None
    name: str
    state: str
    busy_times: int = 0
    problem: str = ""


@dataclass(slots=True)
class _Memory:
    """What is known of a calendar between two rounds; a restart may lose it."""

    next_s: float = 0.0
    failures: int = 0
    version: str = ""
    window_day: int = -1
    cleared: bool = False
    """Whether its busy times were removed, as its owner does not agree."""


class CalendarSync:
    """Reads calendars into the store. Calls block for as long as servers take: use a thread.

    Args:
        store: where sources and busy times are.
        secrets: where passwords, addresses and handed-in files are.
        options: see `CalendarOptions`.
    """

    def __init__(self, store: CalendarStore, secrets: SecretFiles, options: CalendarOptions) -> None:
        self._store, self._secrets, self._options = store, secrets, options
        self._memory: dict[tuple[UserId | None, str], _Memory] = {}
        self._lock = threading.Lock()

    def sync_all(
        self, now_s: float, *, force: bool = False, only: Callable[[CalendarSource], bool] | None = None
    ) -> list[SyncOutcome]:
        """Read every calendar that is due, whose owner agreed.

        A calendar that cannot be read keeps its busy times, says why in its `problem`, and is tried again later and
        later. Busy times of people who do not agree (any more) are removed. Secrets of calendars that are gone as well.

        Args:
            now_s: the present time.
            force: also those that are not due.
            only: which of the calendars; all when not given.

        Raises:
            StoreError: the database cannot serve.
        """
        known = self._store.calendars()
        keys = [(source.user, source.name) for source in known]
        self._secrets.keep_only(keys, before_s=now_s - _ORPHAN_S)
        with self._lock:
            self._memory = {key: self._memory.get(key) or _Memory() for key in keys}
            memories = dict(self._memory)
        willing = self._willing()

        def is_due(source: CalendarSource) -> bool:
            memory = memories[source.user, source.name]
            if source.user not in willing:
                return force or not memory.cleared
            is_new = source.synced_s is None and not source.problem
            return force or memory.cleared or is_new or memory.next_s <= now_s

        due = [source for source in known if (only is None or only(source)) and is_due(source)]
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="calendar") as threads:
            return list(
                threads.map(
                    lambda source: self._sync(
                        source, memories[source.user, source.name], source.user in willing, now_s
                    ),
                    due,
                )
            )

    def add_text(self, user: UserId | None, name: str, text: str, now_s: float) -> None:
        """Take in an iCalendar text that a person handed in, and read it; see `calendar_sources.add_file`.

        Raises:
            CalendarError: the text is no calendar.
        """
        from ghostdesk.control.calendar_sources import add_file

        add_file(self._store, self._secrets, user, name, text.encode())
        self.sync_all(now_s, force=True, only=lambda source: (source.user, source.name) == (user, name))

    def _willing(self) -> frozenset[UserId | None]:
        """Whose calendars may be read: everyone's own (None), and those of people who agreed."""
        choices: dict[UserId, dict[TelemetrySource, bool]] = {}
        for consent in self._store.consents():
            choices.setdefault(consent.user, {})[consent.source] = consent.allowed
        agreed = (
            user
            for user, theirs in choices.items()
            if TelemetrySource.CALENDAR in allowed_sources(theirs, self._options.operator_sources)
        )
        return frozenset([None, *agreed])

    def _sync(self, source: CalendarSource, memory: _Memory, willing: bool, now_s: float) -> SyncOutcome:
        try:
            if not willing:
                self._store.replace_busy_times(source.user, source.name, ())
                memory.version, memory.cleared = "", True
                return SyncOutcome(source.user, source.name, "no consent")
            memory.cleared = False
            return self._read(source, memory, now_s)
        except NotFound:  # it was deleted meanwhile
            return SyncOutcome(source.user, source.name, "failed", problem="The calendar was deleted.")
        except GhostdeskError as error:
            return self._failed(source, memory, error, now_s)
        except Exception as error:
            # Only the kind of error is logged: its text may hold what the calendar says.
            log.error("calendar %r of %s: unexpected %s", source.name, source.user, type(error).__name__)
            unexpected = CalendarError(
                "The calendar could not be read.", "Please report this, with the kind of calendar."
            )
            return self._failed(source, memory, unexpected, now_s)

    def _read(self, source: CalendarSource, memory: _Memory, now_s: float) -> SyncOutcome:
        day = int(now_s // DAY_S)
        is_same = memory.window_day == day and not memory.failures and source.synced_s is not None
        version = memory.version if is_same else ""
        window = day * DAY_S - PAST_S, day * DAY_S + AHEAD_S
        problem = source.problem
        fetched = self._fetch(source, *window, version)
        count = 0
        if fetched is not None and fetched.unchanged:
            state, memory.failures = "unchanged", 0
        elif source.kind == KIND_BOOKINGS and fetched is not None:
            count, problem = self._take_bookings(source, fetched, now_s)
            state, memory.failures = "read", 0
            memory.version, memory.window_day = fetched.version, day
        else:
            times, problem = self._times(source, fetched, *window)
            self._store.replace_busy_times(source.user, source.name, times)
            state, memory.failures, count = "read", 0, len(times)
            memory.version, memory.window_day = fetched.version if fetched is not None else "", day
        memory.next_s = now_s + self._options.sync_every_s if _is_remote(source) else (day + 1) * DAY_S
        self._store.put_calendar(replace(source, synced_s=now_s, problem=problem))
        return SyncOutcome(source.user, source.name, state, count, problem)

    def _fetch(self, source: CalendarSource, since_s: float, until_s: float, version: str) -> Fetched | None:
        """What the source has as iCalendar text; None for holidays and terms."""
        from ghostdesk.telemetry.calendars.remote import Fetched, fetch_account, fetch_url
        from ghostdesk.telemetry.calendars.web import CalendarSession

        if source.kind == "file":
            return Fetched((split_calendar(self._secret(source, "text")),))
        if source.kind == KIND_BOOKINGS and not source.location:
            return Fetched((split_calendar(self._secret(source, "text"), BOOKING_LINES),))
        if source.kind not in REMOTE and source.kind != KIND_BOOKINGS:
            return None
        options = self._options
        with CalendarSession(
            options.policy, ca_file=options.ca_file, total_timeout_s=options.total_timeout_s
        ) as session:
            if source.kind != "caldav":
                further = BOOKING_LINES if source.kind == KIND_BOOKINGS else frozenset[str]()
                return fetch_url(session, options.policy.check_url(self._secret(source, "address")), version, further)
            url, password = options.policy.check_url(source.location), self._secret(source, "password")
            return fetch_account(session, url, source.username, password, since_s, until_s, version)

    def _take_bookings(self, source: CalendarSource, fetched: Fetched, now_s: float) -> tuple[int, str]:
        """What an operator's calendar books, put in the place of what it booked before."""
        from ghostdesk.telemetry.calendars.bookings import read_bookings

        zone = ZoneInfo(self._options.timezone)
        reading = read_bookings(fetched.texts, now_s - DAY_S, now_s + AHEAD_S, timezone=zone)
        return take_reading(self._store, source.name, reading, now_s)

    def _times(
        self, source: CalendarSource, fetched: Fetched | None, since_s: float, until_s: float
    ) -> tuple[tuple[BusyTime, ...], str]:
        zone = ZoneInfo(self._options.timezone)
        if source.kind == "holidays":
            return public_holidays(source.location, since_s, until_s, zone), ""
        if source.kind == "terms":
            found = terms(parse_terms(self._secret(source, "text")), zone)
            return found, _terms_problem(found, until_s - AHEAD_S)
        if fetched is None:
            raise CalendarError(f"There is no kind of calendar {source.kind!r}.", "Remove it, and add it again.")
        from ghostdesk.telemetry.calendars.reading import read_calendar

        key = series_key(self._secrets.series_key(), source.user)
        reading = read_calendar(fetched.texts, since_s, until_s, timezone=zone, key=key)
        return reading.times, reading.describe_problem()

    def _secret(self, source: CalendarSource, kind: str) -> str:
        found = self._secrets.get(source.user, source.name, kind)
        if found is None:
            raise CalendarError(f"The calendar's {kind} is not there.", "Remove the calendar, and add it again.")
        return found

    def _failed(self, source: CalendarSource, memory: _Memory, error: GhostdeskError, now_s: float) -> SyncOutcome:
        wait_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(memory.failures, 10))
        if isinstance(error, (CalendarRefused, CalendarSignInFailed)):
            wait_s = max(wait_s, _REFUSED_RETRY_S)
        memory.failures += 1
        memory.next_s = now_s + wait_s
        problem = str(error)
        if any(one.name == source.name for one in self._store.calendars() if one.user == source.user):
            self._store.put_calendar(replace(source, problem=problem))
        return SyncOutcome(source.user, source.name, "failed", problem=problem)


def _is_remote(source: CalendarSource) -> bool:
    return source.kind in REMOTE or (source.kind == KIND_BOOKINGS and bool(source.location))


def _terms_problem(found: Sequence[BusyTime], now_s: float) -> str:
    """Terms of other years say nothing about today: tell it, rather than to be silently of no use."""
    first, last = min(one.start_s for one in found), max(one.end_s for one in found)
    if first <= now_s < last:
        return ""
    years = f"{datetime.fromtimestamp(first, UTC).year} to {datetime.fromtimestamp(last, UTC).year}"
    return f"The terms are of the years {years}: add this year's, or they say nothing about today."

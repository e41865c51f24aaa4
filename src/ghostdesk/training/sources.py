"""Where a history comes from: a file that `ghostdesk import` reads, or the store. Read once, event after event."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.calendar import Agenda
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.importers.opening import HistoryFile
from ghostdesk.telemetry.importers.protocol import BadLine
from ghostdesk.telemetry.importers.registry import load_importers, sniff_importer
from ghostdesk.telemetry.importers.rows import read_table
from ghostdesk.telemetry.importers.runner import read_options
from ghostdesk.training.encoding import NOBODY, PersonFacts

FactsOf = Callable[[UserId], PersonFacts]
_HOUR_S = 3_600.0


@dataclass
class ReadNotes:
    """What reading came across: bad lines, and why a file ended too early."""

    bad_lines: int = 0
    first_bad: str = ""
    broken: str = ""


@dataclass(frozen=True)
class HistorySource:
    """A history that can be read more than once.

    Args:
        name: for people.
        identity: tells whether it is the same history; asked again, it changes when somebody deleted data meanwhile.
        events: reads it, and writes what it came across into the notes.
        facts: reads what is known of people beside their events.
    """

    name: str
    identity: Callable[[], str]
    events: Callable[[ReadNotes], Iterator[UsageEvent]]
    facts: Callable[[], FactsOf] = field(default=lambda: _nobody)


def file_source(path: Path, timezone: str = "UTC", people: Mapping[UserId, PersonFacts] | None = None) -> HistorySource:
    """A history file of any format that has an importer; nothing of it is put into the store.

    Columns `department` and `job_role` of a CSV say what the store would know of a person.

    Args:
        path: plain or compressed.
        timezone: of times that have no zone.
        people: what is known of people; None reads it from the file.

    Raises:
        ImportFileError: the file cannot be read at all.
    """
    options = read_options(user=None, users=None, timezone=timezone)
    with HistoryFile(path) as file:
        importer = sniff_importer(file, tuple(load_importers().values()))

    def identity() -> str:
        with HistoryFile(path) as file:
            return f"file:{file.digest()}:{importer.name}:{timezone}"

    def events(notes: ReadNotes) -> Iterator[UsageEvent]:
        with HistoryFile(path) as file:
            for parsed in importer.read(file, options):
                if isinstance(parsed, BadLine):
                    notes.bad_lines += 1
                    notes.first_bad = notes.first_bad or f"line {parsed.line}: {parsed.reason}"
                else:
                    yield parsed[1]
            notes.broken = file.broken or ""

    def facts() -> FactsOf:
        known = people_of_csv(path) if people is None else people
        return lambda user: known.get(user, NOBODY)

    return HistorySource(str(path), identity, events, facts)


def people_of_csv(path: Path) -> dict[UserId, PersonFacts]:
    """Each user's department and job role, from the first row of theirs that has them; empty for other formats."""
    found: dict[UserId, PersonFacts] = {}
    with HistoryFile(path) as file:
        places, rows = read_table(file)
        user, department, role = (places.get(name) for name in ("user", "department", "job_role"))
        if user is None or (department is None and role is None):
            return {}
        for row in rows:
            if isinstance(row, BadLine):
                continue
            name = UserId(row[1][user].strip().lower())
            if name in found:
                continue
            told_role, told_department = (
                "" if place is None else row[1][place].strip()[:128] for place in (role, department)
            )
            if told_role or told_department:
                found[name] = PersonFacts(told_role, told_department)
    return found


def store_source(store: Store, until_s: float, since_s: float | None = None) -> HistorySource:
    """What the store holds between two moments (all by default), with roles, departments and calendars."""

    def identity() -> str:
        gone = sorted(repr(deletion) for deletion in store.deletions())
        refused = sorted(repr(consent) for consent in store.consents())
        digest = hashlib.blake2b(repr((gone, refused)).encode(), digest_size=16).hexdigest()
        return f"store:{until_s:.0f}:{digest}"

    def events(_notes: ReadNotes) -> Iterator[UsageEvent]:
        return store.events(since_s=since_s, until_s=until_s)

    def facts() -> FactsOf:
        people = {user.user: user for user in store.users()}
        everyones, owners = [], set[UserId]()
        if store.calendars():
            for owner, time in store.busy_times(0.0, until_s + 7 * 24 * _HOUR_S):
                if owner is None:
                    everyones.append(time)
                else:
                    owners.add(owner)

        def of(user: UserId) -> PersonFacts:
            own = [t for _, t in store.busy_times(0.0, until_s + 168 * _HOUR_S, user)] if user in owners else []
            agenda = Agenda([*everyones, *own]) if everyones or own else None
            account = people.get(user)
            if account is None:
                return NOBODY if agenda is None else PersonFacts(agenda=agenda)
            return PersonFacts(account.job_role, account.department, agenda)

        return of

    return HistorySource("the store", identity, events, facts)


def check_not_empty(events: int, notes: ReadNotes, name: str) -> None:
    """Raise `ImportFileError` when a history held no event at all."""
    if events:
        return
    why = f" ({notes.bad_lines:,} lines were bad; {notes.first_bad})" if notes.bad_lines else ""
    raise ImportFileError(
        f"The history in {name} holds no events of anybody{why}.",
        "Import some (`ghostdesk import FILE`), or give a file with --history.",
    )


def _nobody(_user: UserId) -> PersonFacts:
    return NOBODY

"""Histories as sequences of applications, with honest, chronological splits, and what is known around each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from itertools import pairwise
from pathlib import Path

from ghostdesk.evaluate.tables import DataKind, ReadNotes, RowCheck, Table, latest, name_of, time_of
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.baselines.sessions import SESSION_GAP_S
from ghostdesk.profiles.situation import Situation
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.importers.opening import HistoryFile
from ghostdesk.telemetry.importers.protocol import BadLine, ReadOptions
from ghostdesk.telemetry.importers.registry import load_importers

TRAIN_SHARE = 0.8
APP_KINDS = (EventKind.APP_LAUNCH, EventKind.APP_FOCUS)
_SPLITS = {"train": 0, "test": 1}
_FEWEST_STEPS = 2


@dataclass(frozen=True, slots=True)
class AppSequence:
    """One person's applications in order: the first to learn from, the last to be foretold.

    Args:
        user: whose.
        draw: which of the user's sequences; draws of one user may overlap in time.
        apps: the applications.
        test_from: index of the first step that is scored.
        times_s: UTC seconds of each step, empty where unknown.
        days: ordinal of each step's local day, empty where unknown.
        hours: local time of day of each step in hours, empty where unknown.
        dwells_s: how long each application had the focus; NaN or empty where unknown.
    """

    user: UserId
    draw: str
    apps: tuple[AppId, ...]
    test_from: int
    times_s: tuple[float, ...] = ()
    days: tuple[int, ...] = ()
    hours: tuple[float, ...] = ()
    dwells_s: tuple[float | None, ...] = ()

    def training(self) -> AppSequence:
        """Only what may be learnt from."""
        end = self.test_from
        return AppSequence(
            self.user, self.draw, self.apps[:end], end,
            self.times_s[:end], self.days[:end], self.hours[:end], self.dwells_s[:end],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class AppHistory:
    """A file's sequences, and what reading it came across."""

    kind: DataKind
    sequences: tuple[AppSequence, ...]
    notes: ReadNotes
    users_left_out: int = 0


def situations(sequence: AppSequence) -> Iterator[Situation]:
    """What is known the moment before each step: the time, and how long the application before had been there.

    That the next step is about to come is given; it is what a forecast that is asked on every tick is worth then.
    """
    position = 0
    for step in range(len(sequence.apps)):
        time_s = sequence.times_s[step] if sequence.times_s else None
        day = sequence.days[step] if sequence.days else None
        gap_s = dwell_s = None
        if step:
            fresh = day is not None and time_s is None and day != sequence.days[step - 1]
            if time_s is not None:
                gap_s = time_s - sequence.times_s[step - 1]
                fresh = gap_s >= SESSION_GAP_S
            if sequence.dwells_s:
                dwell_s = sequence.dwells_s[step - 1]
            position = 0 if fresh else position + 1
        yield Situation(
            time_s=time_s,
            hour=sequence.hours[step] if sequence.hours else None,
            weekday=None if day is None else (day - 1) % 7,
            gap_s=gap_s,
            session_position=position if time_s is not None or day is not None else None,
            dwell_s=dwell_s,
        )


def read_app_history(path: Path, zone: tzinfo = UTC, *, now_s: float | None = None) -> AppHistory:
    """Sequences of a file: rows with ``split``, rows with ``time`` (last fifth scored), usage events, ActivityWatch.

    Args:
        path: CSV or parquet, or a file that `ghostdesk import` knows.
        zone: of times that name none, and of the people's clocks.
        now_s: the present, for refusing times that lie ahead; the clock's when not given.

    Raises:
        ImportFileError: says what is wrong and how to mend it.
    """
    if (events := foreign_events(path, zone, now_s)) is not None:
        found, notes = events
        return sequences_of_events(found, zone, notes, path)
    with Table(path) as table:
        kind = table.kind((DataKind.SPLIT_APPS, DataKind.EVENTS, DataKind.TIMED_APPS))
        if kind is DataKind.SPLIT_APPS:
            return _read_split(path, table)
        if kind is DataKind.TIMED_APPS:
            return _read_timed(path, table, zone, latest(now_s))
    events_read, notes = _read_events("csv", path, zone, now_s)
    return sequences_of_events(events_read, zone, notes, path)


def sequences_of_events(
    events: Iterable[UsageEvent], zone: tzinfo, notes: ReadNotes | None = None, path: Path | None = None
) -> AppHistory:
    """Sequences of usage events (launches, and applications turned to), from a file or from the store."""
    rows: dict[UserId, list[_Timed]] = {}
    count = 0
    for event in events:
        if event.kind in APP_KINDS and event.app is not None and event.user is not None:
            count += 1
            dwell_s = event.value if event.kind is EventKind.APP_FOCUS else None
            rows.setdefault(event.user, []).append((event.time_s, event.app, dwell_s))
    if not count:
        where = "The store" if path is None else str(path)
        raise ImportFileError(
            f"{where} holds no application that was launched or turned to.", "Give a history with app-focus events."
        )
    sequences, left_out, _, _ = _timed_sequences(rows, zone)
    return _whole(path, DataKind.EVENTS, sequences, notes or ReadNotes(count), left_out)


_Timed = tuple[float, AppId, float | None]


def _read_timed(path: Path, table: Table, zone: tzinfo, latest_s: float) -> AppHistory:
    user, when, app = (table.columns[name] for name in ("user", "time", "app"))
    check = RowCheck(path)
    names: dict[str, AppId] = {}
    rows: dict[UserId, list[_Timed]] = {}
    for line, row in table.rows(check):
        try:
            time_s = time_of(row[when], zone, latest_s)
            name = name_of(row[app], "app")
            who = UserId(name_of(row[user], "user"))
        except ValueError as error:
            check.reject(line, str(error))
            continue
        rows.setdefault(who, []).append((time_s, names.setdefault(name, AppId(name)), None))
    sequences, left_out, check.duplicates, check.out_of_order = _timed_sequences(rows, zone)
    return _whole(path, DataKind.TIMED_APPS, sequences, check.finish(table.broken), left_out)


def _timed_sequences(rows: dict[UserId, list[_Timed]], zone: tzinfo) -> tuple[list[AppSequence], int, int, int]:
    """Sequences, users left out as too short, duplicate rows, rows out of order."""
    sequences, left_out, duplicates, out_of_order = [], 0, 0, 0
    for user, steps in rows.items():
        out_of_order += sum(later[0] < one[0] for one, later in pairwise(steps))
        steps.sort(key=lambda step: step[0])  # stable: rows of one second keep the order of the file
        duplicates += sum(later[:2] == one[:2] for one, later in pairwise(steps))
        turns = [step for i, step in enumerate(steps) if i == 0 or steps[i - 1][1] != step[1]]
        if len(turns) < _FEWEST_STEPS:
            left_out += 1
            continue
        moments = [datetime.fromtimestamp(step[0], zone) for step in turns]
        sequences.append(
            AppSequence(
                user=user,
                draw="1",
                apps=tuple(step[1] for step in turns),
                test_from=int(len(turns) * TRAIN_SHARE),
                times_s=tuple(step[0] for step in turns),
                days=tuple(moment.toordinal() for moment in moments),
                hours=tuple(moment.hour + moment.minute / 60.0 + moment.second / 3600.0 for moment in moments),
                dwells_s=tuple(step[2] for step in turns) if any(step[2] is not None for step in turns) else (),
            )
        )
    return sequences, left_out, duplicates, out_of_order


_Step = tuple[int, int, AppId, int]
"""Split (0 is train), position, application, ordinal of the day (0 where unknown)."""


def _read_split(path: Path, table: Table) -> AppHistory:
    columns = table.columns
    user, split, app = (columns[name] for name in ("user", "split", "app"))
    draw, position, day = (columns.get(name) for name in ("draw", "position", "day"))
    check = RowCheck(path)
    names: dict[str, AppId] = {}
    rows: dict[tuple[UserId, str], list[_Step]] = {}
    for line, row in table.rows(check):
        try:
            part = _SPLITS.get(row[split].strip().lower())
            if part is None:
                raise ValueError(f"split {row[split].strip()[:40]!r} is neither train nor test")
            name = name_of(row[app], "app")
            key = UserId(name_of(row[user], "user")), "1" if draw is None else row[draw].strip()
            steps = rows.setdefault(key, [])
            place = len(steps) if position is None else int(row[position])
            steps.append((part, place, names.setdefault(name, AppId(name)), 0 if day is None else _day(row[day])))
        except ValueError as error:
            check.reject(line, str(error))
    sequences, left_out = [], set()
    for (who, which), steps in rows.items():
        ordered = _in_order(steps, check)
        test_from = sum(step[0] == 0 for step in ordered)
        if test_from == len(ordered):
            left_out.add(who)
        days = tuple(step[3] for step in ordered)
        sequences.append(
            AppSequence(who, which, tuple(step[2] for step in ordered), test_from, days=days if all(days) else ())
        )
    return _whole(path, DataKind.SPLIT_APPS, sequences, check.finish(table.broken), len(left_out))


def _in_order(steps: list[_Step], check: RowCheck) -> list[_Step]:
    """Training steps, then those to be scored, each by position; a position that is there twice counts once."""
    check.out_of_order += sum(later[:2] < one[:2] for one, later in pairwise(steps))
    ordered = sorted(steps, key=lambda step: step[:2])
    kept = [step for i, step in enumerate(ordered) if i == 0 or ordered[i - 1][:2] != step[:2]]
    check.duplicates += len(ordered) - len(kept)
    return kept


def _day(text: str) -> int:
    try:
        return date.fromisoformat(text.strip()[:10]).toordinal()
    except ValueError:
        raise ValueError(f"day {text.strip()[:40]!r} is no date such as 2014-05-29") from None


def foreign_events(path: Path, zone: tzinfo, now_s: float | None) -> tuple[list[UsageEvent], ReadNotes] | None:
    """Events of a file that is no table, but that an importer knows (ActivityWatch); None for a table."""
    try:
        with path.open("rb") as raw:
            if raw.read(4) == b"PAR1":
                return None
    except (OSError, ValueError):
        pass  # opening it as a table says what is wrong
    with HistoryFile(path) as file:
        head = file.head()
    if not head.lstrip().startswith(("{", "[")):
        return None
    for name, importer in load_importers().items():
        if importer.sniff(head):
            return _read_events(name, path, zone, now_s)
    return None


def _read_events(name: str, path: Path, zone: tzinfo, now_s: float | None) -> tuple[list[UsageEvent], ReadNotes]:
    check, latest_s, found = RowCheck(path), latest(now_s), list[UsageEvent]()
    with HistoryFile(path) as file:
        for parsed in load_importers()[name].read(file, ReadOptions(user=UserId("user"), timezone=zone)):
            check.rows += 1
            if isinstance(parsed, BadLine):
                check.reject(parsed.line, parsed.reason)
            elif parsed[1].time_s > latest_s:
                check.reject(parsed[0], "the time lies in the future")
            else:
                found.append(parsed[1])
        return found, check.finish(file.broken)


def _whole(
    path: Path | None, kind: DataKind, sequences: list[AppSequence], notes: ReadNotes, left_out: int
) -> AppHistory:
    if not any(one.test_from < len(one.apps) for one in sequences):
        where = "The store" if path is None else str(path)
        raise ImportFileError(
            f"{where} holds nothing to be foretold: no user has two different applications in a row, or no test rows.",
            "Give a longer history.",
        )
    return AppHistory(kind, tuple(sequences), notes, left_out)

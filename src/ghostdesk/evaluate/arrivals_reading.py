"""Reads a history as sessions of rows: activity of users, states of shared desktops, or usage events."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import numpy as np

from ghostdesk.evaluate.arrivals_timeline import RowUse, lonely_times, sessions_from_events, sessions_from_signs
from ghostdesk.evaluate.readers import read_activity, read_states
from ghostdesk.evaluate.state_log import IN_USE, Finding, desktop_uses
from ghostdesk.evaluate.tables import DataKind, RowCheck, Table, latest
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.profiles.arrivals.seam import Floats
from ghostdesk.profiles.baselines.sessions import ACTIVITY
from ghostdesk.telemetry.events import EventKind
from ghostdesk.telemetry.importers.opening import HistoryFile
from ghostdesk.telemetry.importers.protocol import BadLine, ReadOptions
from ghostdesk.telemetry.importers.usage_csv import UsageCsvImporter

_KINDS = (DataKind.ACTIVITY, DataKind.STATES, DataKind.EVENTS, DataKind.TIMED_APPS)


@dataclass(frozen=True)
class ArrivalHistory:
    """What a file says of who was there when.

    Args:
        rows: each user's, or desktop's, sessions.
        noun: "user" or "desktop".
        slot_minutes: the slots that fit this kind of history.
        notes: what the reader of a report should know.
        findings: what was odd in a state log, counted, with the rule that mended it; `notes` tell them, too.
    """

    rows: list[RowUse]
    noun: str
    slot_minutes: tuple[int, ...]
    notes: list[str] = field(default_factory=list)
    findings: tuple[Finding, ...] = ()


def read_arrival_history(path: Path, zone: tzinfo = UTC, *, now_s: float | None = None) -> ArrivalHistory:
    """Read a file of a kind that its columns tell.

    Args:
        path: CSV (plain or compressed) or parquet.
        zone: of times without one, and of people's clocks where the file does not tell.
        now_s: times a day or more after it are bad rows; the clock when None.

    Raises:
        ImportFileError: it cannot be read, or holds no session.
    """
    with Table(path) as table:
        kind = table.kind(_KINDS)
    if kind is DataKind.ACTIVITY:
        history = _activity(path, now_s)
    elif kind is DataKind.STATES:
        history = _states(path, zone, now_s)
    else:
        history = _events(path, zone, now_s)
    if not any(len(row.start_s) for row in history.rows):
        raise ImportFileError(
            f"{path} holds no session: nobody ever arrived.",
            f"It needs signs of life, or desktops that change to {IN_USE}.",
        )
    return history


def _activity(path: Path, now_s: float | None) -> ArrivalHistory:
    read = read_activity(path, now_s=now_s)
    wrong = lonely_times(read.utc_s)
    user, time_s, offset_s = read.user[~wrong], read.utc_s[~wrong], read.tz_min[~wrong] * 60.0
    edges = np.searchsorted(user, np.arange(len(read.users) + 1))
    rows = [
        sessions_from_signs(name, time_s[a:b], offset_s[a:b])
        for name, a, b in zip(read.users, edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    return ArrivalHistory(rows, "user", (60,), _notes(read.notes.sentences(), int(wrong.sum())))


def _states(path: Path, zone: tzinfo, now_s: float | None) -> ArrivalHistory:
    read = read_states(path, zone, now_s=now_s)
    right = ~lonely_times(read.time_s)
    uses, odd = desktop_uses(read.desktops, read.desktop[right], read.state[right], read.time_s[right], read.states)
    findings = (*read.clock, *odd)
    notes = [*_notes(read.notes.sentences(), int((~right).sum())), *(finding.sentence() for finding in findings)]
    return ArrivalHistory([_in_zone(use, zone) for use in uses], "desktop", (10,), notes, findings)


def _events(path: Path, zone: tzinfo, now_s: float | None) -> ArrivalHistory:
    latest_s, check = latest(now_s), RowCheck(path)
    signs: dict[str, list[tuple[float, EventKind]]] = defaultdict(list)
    with HistoryFile(path) as file:
        for parsed in UsageCsvImporter().read(file, ReadOptions(timezone=zone)):
            check.rows += 1
            if isinstance(parsed, BadLine):
                check.reject(parsed.line, parsed.reason)
                continue
            line, event = parsed
            if event.time_s > latest_s:
                check.reject(line, "the time lies in the future")
            elif event.user is not None and (event.kind in ACTIVITY or event.kind is EventKind.SIGN_OUT):
                signs[event.user].append((event.time_s, event.kind))
        notes = check.finish(file.broken)
    every = np.array([time_s for one in signs.values() for time_s, _ in one])
    wrong = lonely_times(every)
    rows, at = [], 0
    for user, told in signs.items():
        right = ~wrong[at : at + len(told)]
        at += len(told)
        kept = [one for one, fits in zip(told, right.tolist(), strict=True) if fits]
        rows.append(_in_zone(sessions_from_events(str(user), kept), zone))
    return ArrivalHistory(rows, "user", (60,), _notes(notes.sentences(), int(wrong.sum())))


def _in_zone(row: RowUse, zone: tzinfo) -> RowUse:
    if zone is UTC:
        return row
    return RowUse(row.name, row.start_s, row.end_s, _offsets_s(row.start_s, zone), row.until_s)


def _offsets_s(time_s: Floats, zone: tzinfo) -> Floats:
    found = (datetime.fromtimestamp(t, zone).utcoffset() for t in time_s.tolist())
    return np.array([offset.total_seconds() if offset is not None else 0.0 for offset in found])


def _notes(said: list[str], wrong: int) -> list[str]:
    if wrong:
        said = [
            *said,
            f"{wrong:,} rows lie two years or more from all others and were left out: a broken clock's.",
        ]
    return said

"""Reads a log of opened files: `user,time,app,path,size_bytes`, as `ghostdesk simulate history --files` writes it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from ghostdesk.evaluate.tables import latest, number_of, time_of
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.kernel.ids import app_id
from ghostdesk.prefetch.file_history import FileOpened, checked_path
from ghostdesk.telemetry.importers.opening import HistoryFile

NEEDED = ("user", "time", "app", "path", "size_bytes")
_SHOWN = 3
_LARGEST_BYTES = 2**60


@dataclass(frozen=True, slots=True)
class FileLog:
    """Everybody's openings, each person's in the order of time.

    Args:
        people: openings by user.
        source: what the file's `source` column says ("synthetic"), empty where it has none.
        notes: rows that were left out, and why, in sentences.
    """

    people: Mapping[str, Sequence[FileOpened]]
    source: str = ""
    notes: tuple[str, ...] = ()


def read_file_log(path: Path, zone: tzinfo) -> FileLog:
    """Read a log.

    Args:
        zone: of times that name none.

    Raises:
        ImportFileError: it cannot be read, lacks a column, or has no good row.
    """
    people: dict[str, list[FileOpened]] = {}
    sources: dict[str, None] = {}
    bad: list[str] = []
    count, latest_s = 0, latest(None)
    with HistoryFile(path) as file:
        rows = csv.DictReader(file.lines())
        try:
            names = [name.strip().lower() for name in rows.fieldnames or ()]
            if missing := [name for name in NEEDED if name not in names]:
                raise ImportFileError(
                    f"{path} has no column {', '.join(missing)}.", f"A log of opened files has: {','.join(NEEDED)}."
                )
            rows.fieldnames = names
            for row in rows:
                count += 1
                try:
                    user = (row["user"] or "").strip()
                    if not user:
                        raise ValueError("no user")
                    opened = _opened(row, zone, latest_s)
                    people.setdefault(user, []).append(opened)
                    sources.setdefault((row.get("source") or "").strip())
                except (ValueError, OverflowError, TypeError) as problem:
                    bad.append(f"line {rows.line_num}: {problem}")
        except csv.Error as error:
            raise ImportFileError(f"{path} is no CSV file: {error}.", "Give a log of opened files.") from None
        if file.broken:
            bad.append(f"after line {rows.line_num}: {file.broken}")
    if not people:
        raise ImportFileError(f"{path} has no opening of a file.", *(bad[:1] or ["Give a log of opened files."]))
    for opens in people.values():
        opens.sort(key=lambda one: one.time_s)
    notes = []
    if bad:
        notes.append(f"{len(bad):,} of {count:,} rows were left out: {'; '.join(bad[:_SHOWN])}.")
    return FileLog(people, ", ".join(source for source in sources if source), tuple(notes))


def _opened(row: Mapping[str, str | None], zone: tzinfo, latest_s: float) -> FileOpened:
    size_bytes = number_of(row["size_bytes"] or "")
    if not 0 <= size_bytes < _LARGEST_BYTES:
        raise ValueError(f"{row['size_bytes']!r} is no size in bytes")
    path = checked_path((row["path"] or "").strip().lstrip("/"))
    time_s = time_of(row["time"] or "", zone, latest_s)
    return FileOpened(time_s, app_id((row["app"] or "").strip()), path, int(size_bytes))

"""Tables of history, recognised by their columns and never by their name: CSV (plain or compressed), parquet.

Rows that cannot be read are counted and left out up to 1 %; more is an error, as scores on the rest would mislead.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.telemetry.importers.cleaning import parse_time_s
from ghostdesk.telemetry.importers.opening import HistoryFile
from ghostdesk.telemetry.importers.protocol import BadLine
from ghostdesk.telemetry.importers.rows import Row, read_table

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BAD_SHARE = 0.01
_SHOWN = 10
_AHEAD_S = 86_400.0
"""A time further ahead of the clock than a day is a misread number, and its row a bad one."""
_NAME_CHARS = 256
_PARQUET = b"PAR1"


class DataKind(StrEnum):
    """What a file holds, told by its columns."""

    SPLIT_APPS = "applications with a split"
    TIMED_APPS = "applications with times"
    EVENTS = "usage events"
    ACTIVITY = "activity"
    STATES = "desktop states"
    RESOURCES = "resource usage"


NEEDED: dict[DataKind, tuple[str, ...]] = {
    DataKind.SPLIT_APPS: ("user", "split", "app"),
    DataKind.EVENTS: ("user", "time", "event"),
    DataKind.TIMED_APPS: ("user", "time", "app"),
    DataKind.ACTIVITY: ("user", "utc", "tz_min"),
    DataKind.STATES: ("desktop", "state", "time"),
    DataKind.RESOURCES: ("vm", "time_s"),
}
"""The columns of each kind, the more telling kinds first."""


@dataclass(frozen=True, slots=True)
class ReadNotes:
    """What reading a file came across, for the report.

    Args:
        rows: rows that were read, bad ones included.
        bad_rows: how many were left out; `bad_lines` are the first of them, with reasons.
        duplicates: rows that said the same as another, and were left out.
        out_of_order: rows that came later in the file than in time; they were sorted in.
    """

    rows: int
    bad_rows: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    bad_lines: tuple[BadLine, ...] = ()

    def sentences(self) -> list[str]:
        """What the reader of a report should know, if anything."""
        said = []
        if self.bad_rows:
            first = f" (line {self.bad_lines[0].line}: {self.bad_lines[0].reason})" if self.bad_lines else ""
            said.append(f"{self.bad_rows:,} of {self.rows:,} rows could not be read and were left out{first}.")
        if self.duplicates:
            said.append(f"{self.duplicates:,} rows were there twice and count once.")
        if self.out_of_order:
            said.append(f"{self.out_of_order:,} rows were out of order and were sorted in.")
        return said


class RowCheck:
    """Counts what is wrong with a file while it is read, and refuses it where that is too much.

    Args:
        path: the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bad: list[BadLine] = []
        self.rows = 0
        self.bad_rows = 0
        self.duplicates = 0
        self.out_of_order = 0

    def reject(self, line: int, reason: str) -> None:
        """One row is left out."""
        self.bad_rows += 1
        if len(self._bad) < _SHOWN:
            self._bad.append(BadLine(line, reason))

    def finish(self, broken: str | None = None) -> ReadNotes:
        """What there is to say; raises `ImportFileError` where the rows cannot be trusted."""
        if broken:
            raise ImportFileError(f"{self._path} ends too early: {broken}.", "Get a whole copy.")
        if not self.rows:
            raise ImportFileError(f"{self._path} has a header and no rows.", "Give a file with history in it.")
        if self.bad_rows > _BAD_SHARE * self.rows:
            first = self._bad[0]
            raise ImportFileError(
                f"{self.bad_rows:,} of {self.rows:,} rows of {self._path} cannot be read; "
                f"the first is line {first.line}: {first.reason}.",
                "Mend or remove those rows; up to 1 % is left out.",
            )
        return ReadNotes(self.rows, self.bad_rows, self.duplicates, self.out_of_order, tuple(self._bad))


class Table:
    """An open file of rows; use it in a ``with`` statement.

    Args:
        path: CSV, plain or compressed (gzip, xz, bzip2, zstd), or parquet.

    Raises:
        ImportFileError: it cannot be opened, is empty, or is parquet and pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text: HistoryFile | None = None
        self._parquet: Any = None
        if is_parquet(path):
            self._parquet = open_parquet(path)
            names = [str(name).strip().lower() for name in self._parquet.schema_arrow.names]
            self.columns = {name: place for place, name in reversed(tuple(enumerate(names)))}
            self._rows: Iterator[Row] = _parquet_rows(self._parquet)
        else:
            self._text = HistoryFile(path)
            self.columns, self._rows = read_table(self._text)
        self._names = sorted(self.columns, key=self.columns.__getitem__)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        if self._text is not None:
            self._text.__exit__(None, None, None)
        else:
            self._parquet.close()

    @property
    def broken(self) -> str | None:
        """Why the rows ended before the file's end, when they did."""
        return None if self._text is None else self._text.broken

    def kind(self, wanted: Iterable[DataKind]) -> DataKind:
        """Which of the kinds the columns speak of; raises `ImportFileError` that names what is missing."""
        kinds = list(wanted)
        for kind, needed in NEEDED.items():
            if kind in kinds and self.columns.keys() >= set(needed):
                return kind
        lacks = [[name for name in NEEDED[kind] if name not in self.columns] for kind in kinds]
        missing = ", ".join(sorted(lacks, key=len)[0])
        known = "; or ".join(",".join(NEEDED[kind]) for kind in kinds)
        raise ImportFileError(
            f"{self.path} lacks columns: {missing} (it has {_short(', '.join(self._names)) or 'none'}).",
            f"Its first line must name the columns {known}.",
        )

    def rows(self, check: RowCheck) -> Iterator[tuple[int, list[str]]]:
        """The rows that can be split, with their line numbers; the others are noted in `check`."""
        for row in self._rows:
            check.rows += 1
            if isinstance(row, BadLine):
                check.reject(row.line, row.reason)
            else:
                yield row


class Codes:
    """Names as numbers, in the order in which they come."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}

    def of(self, name: str) -> int:
        """The number of a name."""
        return self._code.setdefault(name, len(self._code))

    def names(self) -> tuple[str, ...]:
        """All names, by number."""
        return tuple(self._code)


def latest(now_s: float | None) -> float:
    """The latest time that a history can hold: a day after `now_s`, which is the clock's when it is not given."""
    return (time.time() if now_s is None else now_s) + _AHEAD_S


def time_of(text: str, zone: tzinfo, latest_s: float) -> float:
    """UTC seconds; raises `ValueError` where they cannot be read or lie ahead."""
    time_s = parse_time_s(text, zone)
    if time_s > latest_s:
        raise ValueError(f"time {text.strip()[:40]!r} lies in the future")
    return time_s


def number_of(text: str) -> float:
    """A finite number; raises `ValueError`."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text.strip()[:40]!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text.strip()[:40]!r} is not a finite number")
    return number


def name_of(text: str, what: str) -> str:
    """A name of 1 to 256 characters, without space around it; raises `ValueError`."""
    name = text.strip()
    if not name:
        raise ValueError(f"the {what} is empty")
    if len(name) > _NAME_CHARS:
        raise ValueError(f"the {what} is longer than {_NAME_CHARS} characters")
    return name


def backward_steps(group: Ints, time_s: Floats) -> int:
    """How many rows are earlier than the row before of the same group, in the order of the file."""
    order = np.argsort(group, kind="stable")
    g, t = group[order], time_s[order]
    return int(((t[1:] < t[:-1]) & (g[1:] == g[:-1])).sum())


def first_of_equals(*columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which sorted rows differ from the row before in any of the columns."""
    fresh = np.ones(len(columns[0]), dtype=np.bool_)
    if len(fresh) > 1:
        fresh[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return fresh


def is_parquet(path: Path) -> bool:
    """Whether the file starts as parquet does; False where it cannot be opened (opening it says why)."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == _PARQUET
    except (OSError, ValueError):
        return False


def open_parquet(path: Path) -> Any:
    """A ``pyarrow.parquet.ParquetFile``; raises `ImportFileError`."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ImportFileError(
            f"{path} is parquet, and pyarrow is not installed.", "pip install 'ghostdesk[evaluate]'"
        ) from None
    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ImportFileError(f"{path} is damaged parquet ({_short(str(error))}).", "Get a whole copy.") from None


def _parquet_rows(file: Any) -> Iterator[Row]:
    """Rows as text, numbered from 2 as in CSV, batch by batch."""
    import pyarrow as pa

    line = 2
    try:
        for batch in file.iter_batches(batch_size=65_536):
            columns = [_as_text(column.to_pylist()) for column in batch.columns]
            for row in zip(*columns, strict=True):
                yield line, list(row)
                line += 1
    except (pa.ArrowException, OSError) as error:
        raise ImportFileError(
            f"The parquet file is damaged after row {line - 2:,} ({_short(str(error))}).",
            "Get a whole copy.",
        ) from None


def _as_text(values: list[Any]) -> list[str]:
    return ["" if value is None else str(value) for value in values]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:157]}..."

"""Brings one history file into the store: idempotent, resumable, and with a word for every line that was left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from hashlib import blake2b
from pathlib import Path
from zoneinfo import ZoneInfo

from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.kernel.ids import user_id
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.importers.opening import HistoryFile
from ghostdesk.telemetry.importers.protocol import (
    BadLine,
    ImportCheckpoint,
    Importer,
    ImportSink,
    ReadOptions,
)
from ghostdesk.telemetry.importers.registry import load_importers, sniff_importer

MAX_BAD_LINES_KEPT = 100
MAX_REASON_CHARS = 200
_REVISION = "1"
"""Part of the digest: change it when the readers give other events for the same file, so that it can be read anew."""

Progress = Callable[[int, int, int, int], None]
"""``(bytes_done, bytes_total, events, bad)``: how far in the file, of how many, and what came out so far."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Args:
        path: the file.
        importer: the name of the format.
        new_events: added by this run.
        duplicate_events: found in the file but known already.
        lines: the number of the last line (or record) that was read; 0 when there were none.
        bad_lines: the first `MAX_BAD_LINES_KEPT` lines that were left out, with reasons.
        bad_total: how many were left out in all.
        resumed_after_line: where an earlier, interrupted import had got to; 0 for a fresh start.
        already_complete: the file had been imported to its end before, so that it was not read again.
        broken: why reading ended before the file's end, when it did (a cut or damaged compressed file).
    """

    path: Path
    importer: str
    new_events: int
    duplicate_events: int
    lines: int
    bad_lines: tuple[BadLine, ...] = ()
    bad_total: int = 0
    resumed_after_line: int = 0
    already_complete: bool = False
    broken: str | None = None


def run_import(
    path: Path,
    store: ImportSink,
    importer: Importer | None = None,
    *,
    user: str | None = None,
    users: Mapping[str, str] | None = None,
    timezone: str = "UTC",
    progress: Progress | None = None,
    batch: int = 20_000,
) -> ImportReport:
    """Read `path` into `store`.

    Events go in `batch` by `batch`, each in one transaction with a checkpoint; killed at any moment and run again, the
    import goes on where it was, and the result is the same as without the interruption.

    Args:
        path: a plain, gzip, xz, bzip2 or zstd file.
        store: where events go.
        importer: the format; None tells it from the file's first characters.
        user: whose the events are, where the file names nobody.
        users: names in the file (for ActivityWatch: host names) to user ids.
        timezone: IANA name of the zone of times that have none.
        progress: called after every batch and at the end.
        batch: events a transaction.

    Raises:
        ImportFileError: the file cannot be read at all, or an option is wrong.
        StoreError: the store cannot take the events; what went in before stays, and the next run goes on from there.
    """
    options = read_options(user=user, users=users, timezone=timezone)
    with HistoryFile(path) as file:
        reader = importer or sniff_importer(file, tuple(load_importers().values()))
        digest = _import_digest(file, reader, options)
        before = store.import_checkpoint(digest)
        if before is not None and before.complete:
            return ImportReport(
                path, reader.name, 0, before.events, before.lines, bad_total=before.bad_lines, already_complete=True
            )
        run = _Run(file, store, reader, digest, before, progress or _quiet, batch)
        return run.to_end(options)


def read_options(*, user: str | None, users: Mapping[str, str] | None, timezone: str) -> ReadOptions:
    """Checked options; raises `ImportFileError` naming the one that is wrong."""
    try:
        checked = {name: user_id(value) for name, value in (users or {}).items()}
        owner = user_id(user) if user is not None else None
    except ValueError as error:
        raise ImportFileError(f"{error}.", "Give another user id.") from None
    try:
        zone = UTC if timezone == "UTC" else ZoneInfo(timezone)  # UTC works without a zone database
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ImportFileError(
            f"{timezone!r} is no known time zone.", "Use an IANA name such as Europe/Berlin."
        ) from None
    return ReadOptions(owner, checked, zone)


def _import_digest(file: HistoryFile, importer: Importer, options: ReadOptions) -> str:
    """The same bytes read with another zone or for another user are another import."""
    parts = (
        _REVISION,
        file.digest(),
        importer.name,
        options.user,
        str(options.timezone),
        sorted(options.users.items()),
    )
    return blake2b(repr(parts).encode(), digest_size=20).hexdigest()


def _quiet(_bytes_done: int, _bytes_total: int, _events: int, _bad: int) -> None:
    pass


@dataclass
class _Run:
    """The counters of one import under way."""

    file: HistoryFile
    store: ImportSink
    importer: Importer
    digest: str
    before: ImportCheckpoint | None
    progress: Progress
    batch: int
    events: int = 0
    lines: int = 0
    new_events: int = 0
    added: int = 0
    flushed_line: int = 0
    bad_total: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)
    pending: list[UsageEvent] = field(default_factory=list)

    def to_end(self, options: ReadOptions) -> ImportReport:
        done_line = self.before.lines if self.before else 0
        for parsed in self.importer.read(self.file, options):
            line = parsed.line if isinstance(parsed, BadLine) else parsed[0]
            if line > self.lines and self._due():  # never between two events of one line
                self._flush(complete=False)
            self.lines = line
            if isinstance(parsed, BadLine):
                self.bad_total += 1
                if len(self.bad_lines) < MAX_BAD_LINES_KEPT:
                    self.bad_lines.append(BadLine(line, parsed.reason[:MAX_REASON_CHARS]))
                continue
            self.events += 1
            if line > done_line:
                self.pending.append(parsed[1])
        self._flush(complete=self.file.broken is None)
        return ImportReport(
            path=self.file.path,
            importer=self.importer.name,
            new_events=self.new_events,
            duplicate_events=self.added - self.new_events,
            lines=self.lines,
            bad_lines=tuple(self.bad_lines),
            bad_total=self.bad_total,
            resumed_after_line=done_line,
            broken=self.file.broken,
        )

    def _due(self) -> bool:
        """A batch is full, or long stretches of bad or known lines have shown no progress."""
        return len(self.pending) >= self.batch or self.lines - self.flushed_line >= 5 * self.batch

    def _flush(self, *, complete: bool) -> None:
        checkpoint = ImportCheckpoint(
            self.digest, self.file.path.name, self.lines, self.events, self.bad_total, complete
        )
        self.new_events += self.store.add_import_batch(self.pending, checkpoint)
        self.added += len(self.pending)
        self.pending = []
        self.flushed_line = self.lines
        self.progress(self.file.bytes_done, self.file.bytes_total, self.events, self.bad_total)

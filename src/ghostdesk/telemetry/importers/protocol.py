"""The seams of importing: what a reader of a format is, what it reads from, and where its events go.

An importer is found by entry point (group ``ghostdesk.importers``) and made without arguments; others can add theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Protocol

from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.events import UsageEvent

MAX_LINE_CHARS = 65_536
"""A longer line is a bad line; this bounds the memory that a hostile file can take."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was left out, and why. Formats without lines count their records from 1 instead."""

    line: int
    reason: str


Parsed = tuple[int, UsageEvent] | BadLine
"""What a reader yields: a line's number with its event, or why there is none."""


@dataclass(frozen=True)
class ReadOptions:
    """What the file itself does not say.

    Args:
        user: whose the events are, where the file names nobody.
        users: names as they stand in the file (host names, for ActivityWatch) to user ids; comes before `user`.
        timezone: of times without a zone.
    """

    user: UserId | None = None
    users: Mapping[str, UserId] = field(default_factory=dict)
    timezone: tzinfo = UTC


class TextSource(Protocol):
    """A file's text, decompressed, read once from its start to its end.

    Reading never raises for a damaged file: it ends early, and says so afterwards in `ReadReport.broken`.
    """

    def lines(self) -> Iterator[str]:
        """Line after line, without line ends; one that is too long comes cut at ``MAX_LINE_CHARS + 1`` characters."""
        ...

    def chunks(self) -> Iterator[str]:
        """The same text in pieces of some 64 Ki characters."""
        ...


class Importer(Protocol):
    """Reads one format."""

    name: str
    """The word for it, written into each event's `source`."""

    def sniff(self, head: str) -> bool:
        """Whether a file that starts with `head` (some Ki characters of decompressed text) is of this format."""
        ...

    def read(self, source: TextSource, options: ReadOptions) -> Iterator[Parsed]:
        """Events and bad lines in the order of the file, with numbers that never go back.

        Bad input is yielded, never raised. The same text and options always give the same events and numbers, as an
        interrupted import goes on from a number.
        """
        ...


@dataclass(frozen=True, slots=True)
class ImportCheckpoint:
    """How far a file has been read.

    Args:
        digest: of the file's bytes, its format and the options that change its events.
        name: the file's name, for people.
        lines: the number of the last line that is dealt with.
        events: how many events those lines held, new or known before.
        bad_lines: how many of them were left out.
        complete: whether the file was read to its end.
    """

    digest: str
    name: str
    lines: int
    events: int
    bad_lines: int
    complete: bool


class ImportSink(Protocol):
    """Where imported events go. The store is one."""

    def add_import_batch(self, events: Iterable[UsageEvent], checkpoint: ImportCheckpoint) -> int:
        """Add events and move the file's checkpoint in one transaction; returns how many events were new."""
        ...

    def import_checkpoint(self, digest: str) -> ImportCheckpoint | None:
        """How far this file was read before."""
        ...

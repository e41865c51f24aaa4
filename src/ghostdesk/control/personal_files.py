"""The names of files that people opened, as far as consents, export and deletion go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from ghostdesk.control.journal import Journal
from ghostdesk.control.personal_consents import ConsentBook
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.events import TelemetrySource

_FILES = TelemetrySource.FILES


class PrivateFiles(Protocol):
    """What files people opened, kept beside the database (see `UserFiles`). Raises `StoreError`."""

    def forget(self, user: UserId) -> None:
        """Remove all that is kept of a person."""
        ...

    def keep_only(self, allowed: Callable[[UserId], bool]) -> Collection[UserId]:
        """Remove what is kept of all others; returns whose went."""
        ...

    def records(self, user: UserId, now_s: float) -> Iterator[dict[str, Any]]:
        """A person's openings, oldest first, each with its `time_s`."""
        ...


class FileNames:
    """Names of opened files, under the consent for files. `kept` is None where none are kept."""

    def __init__(self, book: ConsentBook, journal: Journal, clock: Clock) -> None:
        self._book, self._journal, self._clock = book, journal, clock
        self.kept: PrivateFiles | None = None

    async def drop_refused(self, users: Collection[UserId] | None = None) -> None:
        """Whoever (of these people; of all without) refuses has none kept: a refusal deletes them."""
        kept = self.kept
        if kept is None:
            return
        if users is None:
            if self._book.known:  # while the choices cannot be read nobody's word is known: record nothing, keep all
                await self._journal.run(lambda: kept.keep_only(lambda user: _FILES in self._book.sources_of(user)))
            return
        for user in users:
            if _FILES not in self._book.sources_of(user):
                await self._journal.run(lambda gone=user: kept.forget(gone))  # type: ignore[misc]

    async def forget(self, user: UserId, source: TelemetrySource | None) -> None:
        """The person deletes what came from the source (None: everything)."""
        kept = self.kept
        if kept is not None and source in (None, _FILES):
            await self._journal.run(lambda: kept.forget(user))

    def records(self, user: UserId) -> Iterator[dict[str, Any]]:
        """What is kept of a person, for their export."""
        if self.kept is not None:
            yield from self.kept.records(user, self._clock.now_s())

    def times_s(self, user: UserId) -> list[float]:
        """When the files were opened."""
        return [float(one["time_s"]) for one in self.records(user)]

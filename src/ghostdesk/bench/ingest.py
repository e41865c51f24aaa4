"""`ghostdesk bench ingest`: how many events a second the store takes in, through the calls that the service uses."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.bench.host import Provenance
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.store.protocol import Store
from ghostdesk.store.sqlite import open_store
from ghostdesk.telemetry.events import EventKind, UsageEvent

SCHEMA = "ghostdesk.bench.ingest/1"
_USERS = 1000
_KINDS = (EventKind.APP_LAUNCH, EventKind.APP_FOCUS, EventKind.CPU, EventKind.MEMORY)


@dataclass(frozen=True, slots=True)
class IngestRun:
    """One run: `writers` processes added `events` events, made beforehand, in batches."""

    database: str
    writers: int
    events: int
    batch: int
    seconds: float

    @property
    def events_per_s(self) -> float:
        """What all writers together added in a second."""
        return self.events / self.seconds


@dataclass(frozen=True)
class IngestReport:
    """Everything that one call found. The events are synthetic; the databases are real."""

    provenance: Provenance
    runs: tuple[IngestRun, ...]
    schema: str = SCHEMA


def opener(database: str, folder: Path) -> Store:
    """The store of a benchmark: a SQLite file in `folder`, or an empty PostgreSQL database."""
    if database == "sqlite":
        return open_store(folder / "ingest.db", now_s=0.0)
    from ghostdesk.store.postgres import PostgresStore

    return PostgresStore(database)


def run_ingest(
    database: str,
    folder: Path,
    provenance: Provenance,
    *,
    events: int,
    batch: int,
    writers: tuple[int, ...],
    progress: Callable[[str], None] = lambda _: None,
) -> IngestReport:
    """Add `events` new events with each number of writers in turn; raises what the store raises."""
    runs, first = [], 0
    store = opener(database, folder)
    try:
        for count in writers:
            progress(f"{count} writers: {events:,} events")
            before = store.count_events()
            seconds = _run_writers(database, folder, first, events // count, batch, count)
            added = store.count_events() - before
            if added != events // count * count:
                raise GhostdeskError(f"{added:,} events were added of {events:,}.", "The store lost or refused some.")
            kind = "SQLite" if database == "sqlite" else "PostgreSQL"
            runs.append(IngestRun(kind, count, added, batch, seconds))
            first += events
    finally:
        store.close()
    return IngestReport(provenance, tuple(runs))


def _run_writers(database: str, folder: Path, first: int, each: int, batch: int, writers: int) -> float:
    """Seconds from the moment at which all writers are ready until the last has finished."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(writers + 1)
    processes = [
        context.Process(target=_write, args=(database, str(folder), first + number * each, each, batch, ready))
        for number in range(writers)
    ]
    for process in processes:
        process.start()
    ready.wait(120)
    started_s = time.perf_counter()
    for process in processes:
        process.join()
    seconds = time.perf_counter() - started_s
    if any(process.exitcode for process in processes):
        raise GhostdeskError("A writer failed; its error stands above.")
    return seconds


def _write(database: str, folder: str, first: int, each: int, batch: int, ready: object) -> None:
    store = opener(database, Path(folder))
    made = [_event(number) for number in range(first, first + each)]
    ready.wait(120)  # type: ignore[attr-defined]
    for start in range(0, each, batch):
        store.add_events(made[start : start + batch])
    store.close()


def _event(number: int) -> UsageEvent:
    """A synthetic event, different from every other."""
    user = UserId(f"user{number % _USERS}")
    kind = _KINDS[number % len(_KINDS)]
    return UsageEvent(1.7e9 + number * 0.05, kind, user, AppId("org.example.Editor"), f"g{number % 97}", float(number))

"""The first pass over a history that may be larger than memory: events, sorted apart by person, on disk.

Rows of fixed size go to one of 64 files by person (a partitioned sort: Graefe, "Query evaluation techniques for large
databases", 1993); each file is small enough to be sorted in memory. Of one person at most the latest `MOST_EVENTS` are
kept, which bounds memory and how far one person can move a model. Memory grows with the number of different names
alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.baselines.slots import sane
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.training.encoding import Names
from ghostdesk.training.files import private_folder, told

MOST_EVENTS: Final = 50_000
PARTITIONS: Final = 64
_FLUSH_ROWS = 20_000
_CHUNK_ROWS = 250_000
_AHEAD_S = 86_400.0
_KINDS = tuple(kind for kind in EventKind if kind is not EventKind.DESKTOP_STATE)
_NUMBER_OF: dict[EventKind, int] = {kind: number for number, kind in enumerate(_KINDS)}
ROW: Final = np.dtype(
    [("user", "<i4"), ("time_s", "<f8"), ("value", "<f8"), ("app", "<i4"), ("detail", "<i4"), ("kind", "u1")]
)
Rows = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Spooled:
    """What the first pass met: events kept and left out, and how many people there are."""

    events: int
    not_sane: int
    users: int


class EventSpool:
    """Takes events in any order, and gives them back person by person in the order of time.

    Args:
        folder: an empty folder of its own.
        now_s: events more than a day later are left out, as a wrong clock's.
        most_events: kept of one person, the latest.
    """

    def __init__(self, folder: Path, now_s: float, most_events: int = MOST_EVENTS) -> None:
        self._folder = private_folder(folder)
        self._now_s = now_s
        self._most = most_events
        self._users, self._apps, self._details = Names(), Names(), Names()
        self._pending: list[tuple[int, float, float, int, int, int]] = []
        self._counts = np.zeros(0, np.int64)
        self._events = self._not_sane = 0

    def add(self, event: UsageEvent) -> None:
        """Take one event; those of nobody, and shared desktops' states, are passed over."""
        kind = _NUMBER_OF.get(event.kind)
        if event.user is None or kind is None:
            return
        if not sane(event.time_s) or event.time_s > self._now_s + _AHEAD_S:
            self._not_sane += 1
            return
        user = self._users.number(event.user)
        if not user:
            return
        value = np.nan if event.value is None else event.value
        self._pending.append(
            (user, event.time_s, value, self._apps.number(event.app), self._details.number(event.detail), kind)
        )
        if len(self._pending) >= _FLUSH_ROWS:
            self._flush()

    def finish(self) -> Spooled:
        """Write what is pending; then `people` may be asked."""
        self._flush()
        return Spooled(self._events, self._not_sane, len(self._users))

    def people(self) -> Iterator[tuple[UserId, Iterator[UsageEvent]]]:
        """Everyone with their events, oldest first; events of one moment keep the order in which they came."""
        users, apps, details = ([None, *names.all()] for names in (self._users, self._apps, self._details))
        for partition in range(PARTITIONS):
            path = self._folder / f"{partition:02d}.rows"
            if path.exists():
                for number, rows in self._sorted(path):
                    yield UserId(users[number] or ""), _events(rows, UserId(users[number] or ""), apps, details)
                path.unlink()

    def _flush(self) -> None:
        if not self._pending:
            return
        rows = np.array(self._pending, dtype=ROW)
        self._pending = []
        self._events += len(rows)
        counts = np.bincount(rows["user"], minlength=len(self._users) + 1)
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        part = rows["user"] % PARTITIONS
        with told(self._folder):
            for partition in np.unique(part).tolist():
                with (self._folder / f"{partition:02d}.rows").open("ab") as stream:
                    stream.write(rows[part == partition].tobytes())

    def _sorted(self, path: Path) -> Iterator[tuple[int, Rows]]:
        """Number and sorted rows of each person in a file; those with too many are read by themselves."""
        heavy = np.flatnonzero(self._counts > self._most)
        usual = np.concatenate([chunk[~np.isin(chunk["user"], heavy)] for chunk in _chunks(path)])
        usual = usual[np.lexsort((usual["time_s"], usual["user"]))]  # a stable sort
        for rows in np.split(usual, np.flatnonzero(np.diff(usual["user"])) + 1):
            if len(rows):
                yield int(rows["user"][0]), rows
        for user in heavy[heavy % PARTITIONS == int(path.stem)].tolist():
            yield user, self._latest(path, user)

    def _latest(self, path: Path, user: int) -> Rows:
        kept = np.empty(0, ROW)
        for chunk in _chunks(path):
            kept = np.concatenate((kept, chunk[chunk["user"] == user]))
            if len(kept) > self._most:
                kept = kept[np.argsort(kept["time_s"], kind="stable")[-self._most :]]
        return kept[np.argsort(kept["time_s"], kind="stable")]


def _chunks(path: Path) -> Iterator[Rows]:
    with path.open("rb") as stream:
        while data := stream.read(_CHUNK_ROWS * ROW.itemsize):
            yield np.frombuffer(data, ROW)


def _events(rows: Rows, user: UserId, apps: list[str | None], details: list[str | None]) -> Iterator[UsageEvent]:
    for _, time_s, value, app, detail, kind in rows.tolist():
        name = apps[app]
        yield UsageEvent(
            time_s,
            _KINDS[kind],
            user,
            None if name is None else AppId(name),
            value=None if math.isnan(value) else value,
            detail=details[detail],
            source="spool",
        )

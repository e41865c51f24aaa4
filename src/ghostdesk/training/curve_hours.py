"""Weeks of hourly means of some people, out of events: what the models of the usage curves are trained on."""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.resource_curves.predictor import HOUR_S
from ghostdesk.profiles.resource_curves.quantiles import Floats
from ghostdesk.profiles.resources import NAMES, DesktopSample, DesktopSamples
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.training.sources import HistorySource, ReadNotes

HOURS_KEPT: Final = 5 * 7 * 24
MOST_PEOPLE: Final = 500
"""People whose hours are kept: 50 kB each, 25 MB in all."""
_TOO_FAR_AHEAD_S: Final = 86_400.0
_OUTLYING_H: Final = 14 * 24


@dataclass(slots=True)
class _Ring:
    """Sums and counts of one person, shape (resources, `HOURS_KEPT`), by hour modulo its length."""

    total: npt.NDArray[np.float64]
    count: npt.NDArray[np.float32]
    latest: int

    @staticmethod
    def at(hour: int) -> _Ring:
        shape = (len(NAMES), HOURS_KEPT)
        return _Ring(np.zeros(shape), np.zeros(shape, dtype=np.float32), hour)

    def add(self, sample: DesktopSample, hour: int) -> None:
        if hour <= self.latest - HOURS_KEPT:
            return
        if hour > self.latest:
            passed = (hour - np.arange(min(hour - self.latest, HOURS_KEPT))) % HOURS_KEPT
            self.total[:, passed], self.count[:, passed] = 0.0, 0.0
            self.latest = hour
        place = hour % HOURS_KEPT
        self.total[sample.kind, place] += sample.value
        self.count[sample.kind, place] += 1.0

    def means(self, end: int) -> Floats:
        """Hourly means before hour `end`, shape (resources, `HOURS_KEPT`); NaN where nothing was measured."""
        hours = np.arange(end - HOURS_KEPT, end)
        held = (hours <= self.latest) & (hours > self.latest - HOURS_KEPT)
        count = self.count[:, hours % HOURS_KEPT]
        mean = self.total[:, hours % HOURS_KEPT] / np.maximum(count, 1.0)
        return np.where(held & (count > 0), mean, np.nan).astype(np.float32)


@dataclass(slots=True)
class CurveHours:
    """Collects hourly means of signed-in people's whole desktops: five weeks of at most 500 people, in any order.

    Of more people those are kept whose names have the lowest digests: an even draw that is the same every time.

    Args:
        now_s: samples of more than a day after it are left out.
    """

    now_s: float
    events: int = 0
    samples: int = 0
    _present: DesktopSamples = field(default_factory=DesktopSamples)
    _rings: dict[UserId, _Ring] = field(default_factory=dict)
    _order: list[tuple[bytes, UserId]] = field(default_factory=list)

    def add(self, event: UsageEvent) -> None:
        """Take in one event; those that are no samples only tell who is signed in."""
        self.events += 1
        sample = self._present.take(event)
        if sample is None or sample.time_s > self.now_s + _TOO_FAR_AHEAD_S:
            return
        hour = int(sample.time_s // HOUR_S)
        ring = self._rings.get(sample.user)
        if ring is None:
            ring = self._newcomer(sample.user, hour)
        if ring is not None:
            ring.add(sample, hour)
            self.samples += 1

    def listening(self, source: HistorySource) -> HistorySource:
        """The same history, of which every event is also taken in here while somebody else reads it."""

        def events(notes: ReadNotes) -> Iterator[UsageEvent]:
            for event in source.events(notes):
                self.add(event)
                yield event

        return replace(source, events=events)

    def people(self) -> tuple[UserId, ...]:
        """Whose hours are kept, in an order that tells nothing."""
        return tuple(user for _, user in self._order)

    def hourly(self, resource: str) -> tuple[Floats, int]:
        """Hourly means, shape (people, hours), and the number of the first hour (since 1970); without empty rows.

        The hours end where people's samples do; one person's wrong clock moves that by two weeks at most.
        """
        if not self._rings:
            return np.zeros((0, 0), dtype=np.float32), 0
        latest = np.array([ring.latest for ring in self._rings.values()])
        end = 1 + int(min(latest.max(), np.median(latest) + _OUTLYING_H))
        index = NAMES.index(resource)
        rows = np.stack([self._rings[user].means(end)[index] for user in self.people()])
        rows = rows[~np.isnan(rows).all(axis=1)]
        if not len(rows):
            return np.zeros((0, 0), dtype=np.float32), 0
        first = int(np.flatnonzero(~np.isnan(rows).all(axis=0))[0])
        return rows[:, first:], end - HOURS_KEPT + first

    def digest(self) -> str:
        """Of everything that is kept, 16 hexadecimal digits."""
        found = hashlib.blake2b(digest_size=8)
        for user in self.people():
            ring = self._rings[user]
            for array in (np.array(ring.latest), ring.total, ring.count):
                found.update(array.tobytes())
        return found.hexdigest()

    def _newcomer(self, user: UserId, hour: int) -> _Ring | None:
        key = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if len(self._order) >= MOST_PEOPLE:
            if key > self._order[-1][0]:
                return None
            del self._rings[self._order.pop()[1]]
        insort(self._order, (key, user))
        ring = self._rings[user] = _Ring.at(hour)
        return ring

"""A week of hourly means of many users in 16 bits each, on a logarithmic scale: right within 0.04 %."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.resource_curves.predictor import WINDOW_H
from ghostdesk.profiles.resource_curves.quantiles import Floats

_MISSING, _ZERO, _FIRST, _LAST = 0, 1, 2, 65_535
_LOWEST = 1e-6
"""Means below this count as 0."""
_HIGHEST = 1e15
_STEP = math.log(_HIGHEST / _LOWEST) / (_LAST - _FIRST)
_NEVER = -1
_SMALLEST_TABLE = 16
_DECODED: Floats = np.concatenate(
    [[np.nan, 0.0], _LOWEST * np.exp(_STEP * np.arange(_LAST - _FIRST + 1, dtype=np.float64))]
).astype(np.float32)


@dataclass
class _Table:
    """One resource: a ring of codes a row, by hour modulo 168, and the running mean of each row's latest hour."""

    codes: npt.NDArray[np.uint16]
    hour: npt.NDArray[np.int32]
    total: npt.NDArray[np.float32]
    count: npt.NDArray[np.float32]

    @staticmethod
    def of(rows: int) -> _Table:
        return _Table(
            np.zeros((rows, WINDOW_H), dtype=np.uint16),
            np.full(rows, _NEVER, dtype=np.int32),
            np.zeros(rows, dtype=np.float32),
            np.zeros(rows, dtype=np.float32),
        )

    def grown(self, rows: int) -> _Table:
        """The same with room for `rows`."""
        larger = _Table.of(rows)
        larger.copy_rows(self, slice(0, len(self.hour)), slice(0, len(self.hour)))
        return larger

    def copy_rows(self, other: _Table, to: slice | int, start: slice | int) -> None:
        self.codes[to], self.hour[to] = other.codes[start], other.hour[start]
        self.total[to], self.count[to] = other.total[start], other.count[start]

    def erase(self, row: int) -> None:
        self.copy_rows(_Table.of(1), row, 0)


class HourlyStore:
    """Hourly means by user and resource. A user takes room only once measured, in resources measured by anybody."""

    def __init__(self) -> None:
        self._rows: dict[UserId, int] = {}
        self._users: list[UserId] = []
        self._tables: dict[str, _Table] = {}

    def __len__(self) -> int:
        return len(self._users)

    def resources(self) -> tuple[str, ...]:
        """Resources that anybody was measured in."""
        return tuple(name for name, table in self._tables.items() if (table.hour != _NEVER).any())

    def add(self, user: UserId, resource: str, hour: int, value: float) -> None:
        """One sample in an hour (hours since 1970) that is not before the latest known less a week."""
        row = self._rows.get(user)
        if row is None:
            row = self._rows[user] = len(self._users)
            self._users.append(user)
        table = self._tables.get(resource)
        if table is None or row >= len(table.hour):
            rows = max(_SMALLEST_TABLE, row + 1, 0 if table is None else 2 * len(table.hour))
            table = self._tables[resource] = _Table.of(rows) if table is None else table.grown(rows)
        latest = int(table.hour[row])
        if hour > latest:
            skipped = WINDOW_H if latest == _NEVER else min(hour - latest, WINDOW_H)
            table.codes[row, (hour - np.arange(skipped)) % WINDOW_H] = _MISSING
            table.hour[row], table.total[row], table.count[row] = hour, 0.0, 0.0
        elif hour < latest:
            place = hour % WINDOW_H
            if hour > latest - WINDOW_H and table.codes[row, place] == _MISSING:
                table.codes[row, place] = _code(value)
            return
        table.total[row] += min(value, _HIGHEST)
        table.count[row] += 1.0
        table.codes[row, hour % WINDOW_H] = _code(float(table.total[row]) / float(table.count[row]))

    def windows(self, users: Sequence[UserId], resource: str, origin: int) -> Floats:
        """The hourly means of the 168 hours before `origin`, shape (users, 168), oldest first; NaN is missing."""
        found = np.full((len(users), WINDOW_H), np.nan, dtype=np.float32)
        table = self._tables.get(resource)
        if table is None:
            return found
        rows = np.fromiter((self._rows.get(user, _NEVER) for user in users), dtype=np.intp, count=len(users))
        held = (rows >= 0) & (rows < len(table.hour))
        own = rows[held]
        hours = np.arange(origin - WINDOW_H, origin)
        means = _DECODED[table.codes[own][:, hours % WINDOW_H]]
        latest = table.hour[own][:, None]
        found[held] = np.where((hours <= latest) & (hours > latest - WINDOW_H), means, np.float32(np.nan))
        return found

    def some_users(self, most: int) -> list[UserId]:
        """At most so many users, spread evenly over all."""
        if len(self._users) <= most:
            return list(self._users)
        return [self._users[int(i)] for i in np.linspace(0, len(self._users) - 1, most)]

    def forget(self, user: UserId) -> None:
        """Erase every hour of the user; the last user takes their row."""
        row = self._rows.pop(user, None)
        if row is None:
            return
        last = len(self._users) - 1
        for table in self._tables.values():
            if row != last and row < len(table.hour):
                if last < len(table.hour):
                    table.copy_rows(table, row, last)
                else:
                    table.erase(row)
            if last < len(table.hour):
                table.erase(last)
        moved = self._users.pop()
        if row != last:
            self._users[row] = moved
            self._rows[moved] = row


def _code(value: float) -> int:
    if value < _LOWEST:
        return _ZERO
    return min(_FIRST + round(math.log(min(value, _HIGHEST) / _LOWEST) / _STEP), _LAST)

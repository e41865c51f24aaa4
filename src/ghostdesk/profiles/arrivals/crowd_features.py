"""What a row by itself does not show: how busy the whole house is, and how well the row is liked among the idle ones.

People who come take one of the idle rows, the preferred ones first. So the chance of a row is about the rate at which
people come, times its popularity over that of all idle rows together (choice among alternatives by their worth: Luce
1959). The rate comes from the time of the week, corrected by how the last hours and days went. These two, idle age, the
row's own habits and the state of the house are the inputs of the network in `crowd_hazard.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.arrivals.seam import WEEK_S, Flags, Floats, Floats32, Ints

HOURS = 168
_HALF_LIVES_S = np.array([3600.0, 4 * 3600.0, 86_400.0, 7 * 86_400.0, 28 * 86_400.0])
_POPULARITY_HALF_LIFE_S = 160 * 86_400.0
_SLOW, _FAST, _HOUSE = 0.95, 0.6, 0.9
"""What a week is worth a week later, in the slow and the fast tables of hours, and in that of the house."""
_AGES_MIN = np.array([5, 10, 20, 40, 60, 120, 240, 480, 720, 960, 1440, 2880], dtype=np.float32)
_AGE_KNOTS: Floats32 = np.log1p(_AGES_MIN)
_UNKNOWN_S = 1e6
HOUSE_INPUTS = 22
ROW_INPUTS = 23 + len(_AGES_MIN)
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class CrowdInputs:
    """Inputs of one moment.

    Args:
        rows: the idle rows, shape (n,).
        house: what is the same for all, shape (HOUSE_INPUTS,).
        own: of each idle row, shape (n, ROW_INPUTS).
        base: the logarithm of the rate of people coming in a slot, times the row's share of it, shape (n,).
    """

    rows: Ints
    house: Floats32
    own: Floats32
    base: Floats32


class CrowdState:
    """What is known of the house and its rows: 3.5 kB a row.

    Args:
        slot_s: length of a slot in seconds.
    """

    def __init__(self, slot_s: float) -> None:
        self.slot_s = slot_s
        self._fade: Floats = 0.5 ** (slot_s / _HALF_LIVES_S)
        self._popularity_fade = 0.5 ** (slot_s / _POPULARITY_HALF_LIFE_S)
        cells = max(1, round(WEEK_S / slot_s))
        self._house: Floats = np.zeros((cells, 5))  # starts, slots (slow); starts, slots (fast); rows in use (slow)
        self._recent: Floats = np.zeros((len(_HALF_LIVES_S), 2))  # starts, expected
        self._week: int | None = None
        self._day: int | None = None
        self._opened_s = self._last_s = -np.inf
        self._known: Floats = np.zeros((4, 0))  # last length, last gap; starts, expected of an average row
        self._levels: Floats = np.zeros((3 * len(_HALF_LIVES_S), 0))  # starts, expected, share in use
        self._hours: npt.NDArray[np.float32] = np.zeros((5, HOURS, 0), dtype=np.float32)
        self._begun_s: Floats = np.zeros(0)

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        more = rows - len(self._begun_s)
        if more <= 0:
            return
        more = max(more, len(self._begun_s))
        self._known = np.concatenate((self._known, np.tile([[60.0], [_UNKNOWN_S], [0.0], [0.0]], more)), axis=1)
        self._levels = np.concatenate((self._levels, np.zeros((len(self._levels), more))), axis=1)
        self._hours = np.concatenate((self._hours, np.zeros((5, HOURS, more), dtype=np.float32)), axis=2)
        self._begun_s = np.append(self._begun_s, np.full(more, -np.inf))

    def started(self, row: int, time_s: float, idle_s: float) -> None:
        """A use starts after so many idle seconds (infinite where none is known)."""
        self._begun_s[row] = self._last_s = time_s
        if np.isfinite(idle_s):
            self._known[1, row] = idle_s
        if not np.isfinite(self._opened_s):
            self._opened_s = time_s

    def ended(self, row: int, time_s: float) -> None:
        """A use ends."""
        if np.isfinite(self._begun_s[row]):
            self._known[0, row] = time_s - self._begun_s[row]

    def begin(self, local_s: float) -> None:
        """A moment comes, in local seconds since a Monday's midnight: weeks fade, days open anew."""
        week, day = int(local_s // WEEK_S), int(local_s // 86_400)
        if self._week is not None and week > self._week:
            weeks = min(week - self._week, 520)
            self._hours[:3] *= np.float32(_SLOW**weeks)
            self._hours[3:] *= np.float32(_FAST**weeks)
            self._house *= np.array([_HOUSE, _HOUSE, _FAST, _FAST, _HOUSE]) ** weeks
        if day != self._day:
            self._opened_s = -np.inf
        self._week, self._day = week, day

    def learn(self, local_s: float, hour: Ints, idle: Flags, busy: Flags, began: Flags, starts: int) -> None:
        """A slot is over.

        Args:
            local_s: its begin, in local seconds since a Monday's midnight.
            hour: of the week, of each row, shape (rows,).
            idle: rows that were idle at its begin, and not for weeks.
            busy: rows in use at its begin.
            began: rows in which a use started.
            starts: how many uses started.
        """
        n, fade = len(idle), self._fade
        rate, liked, _ = self._rates(local_s, n)
        total = float(liked[idle].sum())
        expected = np.where(idle, rate * liked / max(total, _LEAST), 0.0)
        self._known[2:, :n] *= self._popularity_fade
        self._known[2, :n] += began & idle
        self._known[3, :n] += idle * (starts / max(int(idle.sum()), 1))
        k = len(fade)
        now = self._levels[:, :n].reshape(3, k, n)
        now *= fade[None, :, None]
        now[0] += began
        now[1] += expected
        now[2] += (1.0 - fade)[:, None] * busy
        rows = np.arange(n)
        fresh = began & idle
        for place, seen in enumerate((fresh, idle, busy, fresh, idle)):
            self._hours[place, hour, rows] += seen
        self._house[self._cell(local_s)] += (starts, 1.0, starts, 1.0, float(busy.sum()))
        self._recent = self._recent * fade[:, None] + np.array([starts, rate])

    def inputs(self, now_s: float, local_s: float, hour: Ints, idle_s: Floats, idle: Flags) -> CrowdInputs:
        """What the moment looks like.

        Args:
            now_s: UTC seconds.
            local_s: local seconds since a Monday's midnight.
            hour: of the week, of each row, shape (rows,).
            idle_s: seconds since each row's last use, NaN in use.
            idle: rows that are idle, and not for weeks.
        """
        rows = np.flatnonzero(idle)
        rate, liked, fast = self._rates(local_s, len(idle))
        liked = liked[rows]
        total = max(float(liked.sum()), _LEAST)
        recent = np.log((self._recent[:, 0] + 2.0) / (self._recent[:, 1] + 2.0))
        surge = float(np.exp(recent[0]))
        base = np.log(rate * liked / total + _LEAST)
        base_now = np.log(fast * surge * liked / total + _LEAST)
        own = self._own_inputs(rows, hour[rows], idle_s[rows], liked, base, base_now)
        house = self._house_inputs(now_s, local_s, len(idle), int(np.isnan(idle_s).sum()), len(rows), rate, fast)
        return CrowdInputs(rows, house, own, base_now.astype(np.float32))

    def _own_inputs(
        self, rows: Ints, hour: Ints, idle_s: Floats, liked: Floats, base: Floats, base_now: Floats
    ) -> Floats32:
        k = len(_HALF_LIVES_S)
        found = np.empty((len(rows), ROW_INPUTS), dtype=np.float32)
        levels = self._levels[:, rows]
        starts, idle_h, busy_h, fast_starts, fast_idle = self._hours[:, hour, rows].astype(np.float64)
        mean = 0.02 * liked
        in_hour = (starts + 0.5 * mean) / (idle_h + 0.5)
        age = np.log1p(idle_s / 60.0)
        found[:, 0] = np.log(self._known[0, rows] + 60.0)
        found[:, 1] = np.log(self._known[1, rows] + 60.0)
        found[:, 2] = np.log(liked)
        found[:, 3] = np.searchsorted(np.sort(-liked), -liked) / max(len(rows), 1)
        found[:, 4] = base
        found[:, 5] = base_now
        found[:, 6] = np.log(in_hour + 1e-5)
        found[:, 7] = np.log((fast_starts + 0.5 * in_hour) / (fast_idle + 0.5) + 1e-5)
        found[:, 8 : 8 + k] = np.log((levels[:k] + 1.0) / (levels[k : 2 * k] + 1.0)).T
        found[:, 13:16] = np.log1p(levels[:3]).T
        found[:, 16:21] = levels[2 * k :].T
        found[:, 21] = busy_h / (idle_h + busy_h + 0.5)
        found[:, 22] = age
        np.maximum(age[:, None].astype(np.float32) - _AGE_KNOTS, 0.0, out=found[:, 23:])
        return found

    def _house_inputs(
        self, now_s: float, local_s: float, known: int, busy: int, idle: int, rate: float, fast: float
    ) -> Floats32:
        cell = self._cell(local_s)
        near = self._house[max(cell - 3, 0) : cell + 4, :2].sum(axis=0)
        usual = self._house[cell, 4] / max(self._house[cell, 1], _LEAST)
        turn = 2.0 * np.pi * (local_s % 86_400.0) / 86_400.0 * np.arange(1, 4)
        weekday = int(local_s % WEEK_S // 86_400)
        opened = now_s - self._opened_s
        return np.array(
            [
                np.log1p(idle), np.log1p(busy), busy / max(known, 1), busy / (usual + 3.0),
                np.log(rate + 1e-3), np.log(fast + 1e-3), np.log((near[0] + 0.5 * rate) / (near[1] + 0.5) + 1e-3),
                *np.log((self._recent[:4, 0] + 2.0) / (self._recent[:4, 1] + 2.0)),
                np.log1p(min(max(now_s - self._last_s, 0.0), _UNKNOWN_S)),
                np.log1p(opened) if np.isfinite(opened) and opened > 0.0 else 0.0,
                *np.sin(turn), *np.cos(turn), float(weekday >= 5), float(weekday == 4), float(np.isfinite(opened)),
            ],
            dtype=np.float32,
        )  # fmt: skip

    def _rates(self, local_s: float, rows: int) -> tuple[float, Floats, float]:
        """Expected starts in the slot by the slow table, each row's popularity, and those starts by the fast table."""
        slow = self._house[self._cell(local_s)]
        whole = self._house[:, :2].sum(axis=0)
        rate = float((slow[0] + 0.5 * whole[0] / max(whole[1], 1.0)) / (slow[1] + 0.5))
        fast = float((slow[2] + 0.5 * rate) / (slow[3] + 0.5))
        liked = (self._known[2, :rows] + 1.0) / (self._known[3, :rows] + 1.0)
        return rate, liked, fast

    def _cell(self, local_s: float) -> int:
        return int(local_s % WEEK_S // self.slot_s) % len(self._house)

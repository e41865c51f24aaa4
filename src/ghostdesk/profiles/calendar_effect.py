"""How calendars change when people come, learned from how they came.

The hazard of an arrival (its probability in a slot, given that none happened before) is raised or lowered by two
factors: how near the next entry is, and what kind of day it is. A factor is the posterior mean of a Gamma-Poisson
model (Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6): arrivals that happened over arrivals that the
hazards without a calendar expected. A person's own counts are pooled partially with everyone's: with few arrivals they
have the common factor, with many their own.

Before anyone has a history, days off have a factor below 1: an assumption, worth `_ASSUMED_WEIGHT` arrivals, and soon
outvoted by what happens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.calendar import CalendarFeatures, SlotFeatures

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]
MAX_HAZARD = 0.995

_EDGES = np.array([-30.0, -10.0, 0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0])
"""Minutes to the next entry (below 0: since it began) at which one cell ends and the next begins."""
_NOTHING_NEAR = len(_EDGES)
_NEAR_CELLS = _NOTHING_NEAR + 1
_ORDINARY, _ALL_DAY, _OUT_OF_TERM, _HOLIDAY, _AWAY = range(_NEAR_CELLS, _NEAR_CELLS + 5)
_CELLS = _AWAY + 1
_UNKNOWN = -1

_ASSUMED = np.ones(_CELLS)
_ASSUMED[[_ALL_DAY, _OUT_OF_TERM, _HOLIDAY, _AWAY]] = 0.9, 0.7, 0.4, 0.2
_ASSUMED_WEIGHT = 4.0
_POOLED_WEIGHT = 3.0
"""How many expected arrivals of a person's own outweigh what is common."""
_MAX_EXPECTED = 60.0
"""Counts beyond this are halved, so that habits can change; and nobody counts for more than this in what is common."""
_LOWEST, _HIGHEST = 0.02, 50.0
_FIRST_ROWS = 64


class CalendarEffect:
    """Learns online; holds 136 bytes for each person of whom a calendar said something, none for the others."""

    def __init__(self) -> None:
        self._rows: dict[UserId, int] = {}
        self._free: list[int] = []
        self._counts = np.zeros((_FIRST_ROWS, 2, _CELLS), np.float32)
        """For each person and cell: arrivals that happened, and arrivals that were expected."""
        self._common = _ASSUMED.copy()
        self._learned_since = 0

    def adjust(self, user: UserId, hazards: ArrayLike, slots: SlotFeatures | None) -> Floats:
        """Hazards with the calendar taken into account.

        Args:
            user: whose.
            hazards: probability of an arrival in each slot without a calendar, shape (slots,).
            slots: what the calendar says of each slot; None where no calendar is known.

        Returns:
            Hazards in [0, 0.995]; exactly those that were given where the calendar says nothing.
        """
        given = np.asarray(hazards, float)
        return given if slots is None else self.adjust_many([user], given[None], slots)[0]

    def adjust_many(self, users: Sequence[UserId], hazards: ArrayLike, slots: SlotFeatures) -> Floats:
        """The same for many people at once, under one calendar (everybody's holidays and terms).

        Args:
            users: whose.
            hazards: shape (users, slots).
            slots: what the calendar says of each slot, for all of them.

        Returns:
            Hazards of the same shape.
        """
        given = np.asarray(hazards, float)
        factors = self._factors_of(users)
        near, day = _cells(slots)
        factor = _taken(factors, near) * _taken(factors, day)
        changed = factor != 1.0
        adjusted = given.copy()
        rate = -np.log1p(-np.clip(given[changed], 0.0, MAX_HAZARD))
        adjusted[changed] = np.minimum(-np.expm1(-rate * factor[changed]), MAX_HAZARD)
        return adjusted

    def learn(self, user: UserId, hazards: ArrayLike, slots: SlotFeatures | None, arrived: ArrayLike) -> None:
        """Take in what happened in slots that have passed, and in which the person was not there before.

        Args:
            user: whose.
            hazards: the hazards without a calendar that held for these slots, shape (slots,).
            slots: what the calendar said of each.
            arrived: whether the person came in the slot.
        """
        if slots is None:
            return
        near, day = _cells(slots)
        rate = -np.log1p(-np.clip(np.asarray(hazards, float), 0.0, MAX_HAZARD))
        happened = np.asarray(arrived, float)
        row = self._row(user)  # may put a longer array in the place of the counts
        counts = self._counts[row]
        factors = _posterior(counts, _ASSUMED, _POOLED_WEIGHT)  # no one else's, or `forget` would leave a trace here
        for cells, others in ((near, day), (day, near)):
            known = cells != _UNKNOWN
            where = cells[known]
            expected = rate[known] * _taken(factors, others)[known]
            counts[0] += np.bincount(where, happened[known], _CELLS).astype(np.float32)
            counts[1] += np.bincount(where, expected, _CELLS).astype(np.float32)
        while (full := np.maximum(counts[0], counts[1]) > _MAX_EXPECTED).any():
            counts[:, full] *= 0.5
        self._learned_since += 1
        if self._learned_since * 8 >= len(self._rows):
            self._pool()

    def forget(self, user: UserId) -> None:
        """Remove a person's counts; what is common is counted anew without them."""
        row = self._rows.pop(user, None)
        if row is not None:
            self._counts[row] = 0.0
            self._free.append(row)
            self._pool()

    def explain(self, user: UserId, features: CalendarFeatures) -> str:
        """Why the calendar matters now, in words for the person; empty when it hardly does."""
        factors = self._factors(user)
        if features.away and factors[_AWAY] < 0.8:
            return "your calendar says that you are away"
        if features.holiday and factors[_HOLIDAY] < 0.8:
            return "it is a public holiday"
        if features.in_term is False and factors[_OUT_OF_TERM] < 0.8:
            return "it is outside the term"
        if features.minutes is not None and 0 <= features.minutes < _EDGES[-1]:
            cell = int(np.searchsorted(_EDGES, features.minutes, side="right"))
            if factors[cell] > 1.25:
                return f"an entry of your calendar begins in {features.minutes:.0f} minutes"
        return ""

    def _factors(self, user: UserId) -> Floats:
        row = self._rows.get(user)
        return self._common if row is None else _posterior(self._counts[row], self._common, _POOLED_WEIGHT)

    def _factors_of(self, users: Sequence[UserId]) -> Floats:
        rows = np.fromiter((self._rows.get(user, -1) for user in users), np.int64, len(users))
        factors = _posterior(self._counts[rows], self._common, _POOLED_WEIGHT)
        factors[rows < 0] = self._common
        return factors

    def _pool(self) -> None:
        self._common = _posterior(self._counts.sum(axis=0, dtype=float), _ASSUMED, _ASSUMED_WEIGHT)
        self._learned_since = 0

    def _row(self, user: UserId) -> int:
        if user not in self._rows:
            row = self._free.pop() if self._free else len(self._rows)
            if row >= len(self._counts):
                self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
            self._rows[user] = row
        return self._rows[user]


def _posterior(counts: NDArray[np.floating], prior: Floats, weight: float) -> Floats:
    """Posterior mean of each cell's factor under a Gamma prior with this mean, worth `weight` expected arrivals."""
    counted = counts.astype(float)
    ratio: Floats = (counted[..., 0, :] + weight * prior) / (counted[..., 1, :] + weight)
    return ratio.clip(_LOWEST, _HIGHEST)


def _cells(slots: SlotFeatures) -> tuple[Cells, Cells]:
    """Of each slot the cell of nearness, and that of the kind of day; `_UNKNOWN` where nothing is known."""
    if slots.personal:
        near = np.searchsorted(_EDGES, slots.minutes, side="right")
        near[np.isnan(slots.minutes)] = _NOTHING_NEAR
    else:
        near = np.full(slots.minutes.shape, _UNKNOWN)
    day = np.full(slots.minutes.shape, _ORDINARY if slots.personal or slots.public else _UNKNOWN)
    for cell, flags in (
        (_ALL_DAY, slots.all_day),
        (_OUT_OF_TERM, slots.out_of_term),
        (_HOLIDAY, slots.holiday),
        (_AWAY, slots.away),
    ):
        day[flags] = cell
    return near, day


def _taken(factors: Floats, cells: Cells) -> Floats:
    return np.where(cells == _UNKNOWN, 1.0, factors[..., cells])

"""What is kept of people's last applications, and what it says of each candidate for the next one.

A person's last applications are a ring of small numbers: places in a table of 32 applications. What followed the last
one, two and three applications is read from the ring by matching its end with what came before, which is prediction by
partial matching (Cleary and Witten 1984, escape method C of Moffat 1990) over a bounded past, without a dictionary of
contexts. Many people stand side by side in the rows of one array: a step costs about the same for one as for fifty.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

CANDIDATES: Final = 32
"""Length of the list of recent applications."""
LENGTH: Final = 1024
"""Length of the ring."""
STATISTICS: Final = 14
"""Statistics of a candidate: logarithms of shares (partial matching of all orders together, orders 1, 2 and 3, the last
ten, all, the longest matches, the time of day), then how long ago in steps, in matches of the last application, whether
it followed the longest match, and how long ago in time, each time with an indicator where it may be missing."""
LIST_STATISTICS: Final = 9
"""Statistics of the list: logarithm of what partial matching leaves to new applications, steps, list length, share of
repeats, share of new ones, longest match, and how many matches of orders 1, 2 and 3 there are."""

_NONE: Final = 255
_ORDERS: Final = 3
_LONGEST: Final = 8
_HOUR_BLOCKS: Final = 8
_FLOOR: Final = 1e-3
_FORGET = (0.98 ** np.arange(LENGTH)).astype(np.float64)
"""Weight of the n-th last match, as in `baselines.ppm`."""
_FORGOTTEN: Final = 640
"""Uses of an application that are further back weigh less than 3e-6 together with `_FORGET`."""
_FAST = (0.9 ** np.arange(96)).astype(np.float64)
_SLOW = (0.998 ** np.arange(LENGTH)).astype(np.float64)
_FLOORS = np.array([_FLOOR / 4, *[_FLOOR] * 7], np.float32)[:, None, None]
_LONGER = 4.0 ** np.arange(_LONGEST + 1)
_PLACES = np.arange(CANDIDATES)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]


class RecentApps:
    """The recent applications of several people, one a row.

    Applications are given as numbers from 0 that mean the same throughout one object; the numbers enter no statistic.

    Args:
        people: number of rows.

    Attributes:
        ring: (people, LENGTH) places in the table, latest first.
        order: (people, CANDIDATES) places in the table by recency, latest first.
        number: (people, CANDIDATES) the table: the application at each place, -1 where none.
        last_s: (people, CANDIDATES) when it was used last, UTC seconds, 0 where not known.
        last_step, steps: the step of its last use, and how many steps there were.
        hours: (people, CANDIDATES, 8) uses in each three hours of the day, halved when they reach 255.
        novelty: (people,) share of steps that brought a new application, forgotten by 2 % a step.
    """

    def __init__(self, people: int) -> None:
        self.ring = np.full((people, LENGTH), _NONE, np.uint8)
        self.order = np.full((people, CANDIDATES), _NONE, np.uint8)
        self.number = np.full((people, CANDIDATES), -1, np.int32)
        self.last_s = np.zeros((people, CANDIDATES), np.uint32)
        self.last_step = np.zeros((people, CANDIDATES), np.uint32)
        self.hours = np.zeros((people, CANDIDATES, _HOUR_BLOCKS), np.uint8)
        self.steps = np.zeros(people, np.uint32)
        self.novelty = np.full(people, 0.5, np.float32)

    def nbytes(self) -> int:
        """Bytes kept for all rows."""
        kept = (self.ring, self.order, self.number, self.last_s, self.last_step, self.hours, self.steps, self.novelty)
        return sum(array.nbytes for array in kept)

    def numbers(self) -> npt.NDArray[np.int32]:
        """(people, CANDIDATES) the recent applications, latest first; -1 where none."""
        found = np.take_along_axis(self.number, np.minimum(self.order, CANDIDATES - 1).astype(np.intp), axis=1)
        return np.where(self.order == _NONE, np.int32(-1), found)

    def learn(self, rows: Ints, number: Ints, time_s: Floats, hour: Floats) -> Ints:
        """People `rows` (no row twice) turned to applications; NaN times are unknown.

        Returns:
            (rows,) the place of each in the list of recent ones before, `CANDIDATES` for a new one.
        """
        same = self.number[rows] == number[:, None]
        known = same.any(axis=1)
        order = self.order[rows]
        used = (order != _NONE).sum(axis=1)
        slot = np.where(known, same.argmax(axis=1), np.where(used < CANDIDATES, used, order[:, -1])).astype(np.uint8)
        if not known.all():
            self._take_place(rows[~known], slot[~known], number[~known])
        place = np.where(known, (order == slot[:, None]).argmax(axis=1), np.minimum(used, CANDIDATES - 1))
        moved = np.concatenate((slot[:, None], order[:, :-1]), axis=1)
        self.order[rows] = np.where(place[:, None] >= _PLACES, moved, order)
        ring = self.ring[rows]
        self.ring[rows, 1:] = ring[:, :-1]
        self.ring[rows, 0] = slot
        self.steps[rows] += 1
        self.last_step[rows, slot] = self.steps[rows]
        self.last_s[rows, slot] = np.where(time_s >= 0, np.minimum(np.nan_to_num(time_s), 2.0**32 - 1), 0)
        self.novelty[rows] = 0.98 * self.novelty[rows] + 0.02 * ~known
        self._count_hours(rows, slot, hour)
        return np.where(known, place, CANDIDATES)

    def statistics(self, rows: Ints, time_s: Floats, hour: Floats) -> tuple[Singles, Singles]:
        """What is known of each candidate and of the list at a moment.

        Returns:
            (rows, CANDIDATES, STATISTICS) by recency, 0 where there is no candidate; (rows, LIST_STATISTICS).
        """
        planes, of_list = self._matches(rows)
        planes[6] = self._hour_shares(rows, hour)
        planes[:8] += _FLOORS
        np.log(planes[:8], out=planes[:8])
        since = self.steps[rows][:, None] - self.last_step[rows].astype(np.float64)
        planes[8] = np.log1p(np.maximum(since, 0.0)) / 4
        ago = time_s[:, None] - self.last_s[rows]
        told = (self.last_s[rows] > 0) & ~np.isnan(ago)
        planes[11] = np.where(told, np.log1p(np.clip(np.where(told, ago, 0.0), 0.0, 2.0**32)) / 10, 0.0)
        planes[12] = told
        planes[13] = ~np.isnan(hour)[:, None]
        order = self.order[rows]
        empty = order == _NONE
        places = np.where(empty, 0, order).astype(np.intp)
        ranked: Singles = planes.transpose(1, 2, 0)[np.arange(len(rows))[:, None], places]
        ranked[empty] = 0.0
        return ranked, of_list.astype(np.float32)

    def _take_place(self, rows: Ints, slot: npt.NDArray[np.uint8], number: Ints) -> None:
        """A new application takes a place; what the ring and the counts say of the one before it is dropped."""
        ring = self.ring[rows]
        ring[ring == slot[:, None]] = _NONE
        self.ring[rows] = ring
        self.number[rows, slot] = number
        self.hours[rows, slot] = 0

    def _count_hours(self, rows: Ints, slot: npt.NDArray[np.uint8], hour: Floats) -> None:
        told = ~np.isnan(hour)
        if not told.any():
            return
        rows, slot, block = rows[told], slot[told], _hour_block(hour[told])
        full = self.hours[rows, slot, block] >= 254
        if full.any():
            self.hours[rows[full]] //= 2
        self.hours[rows, slot, block] += 1

    def _hour_shares(self, rows: Ints, hour: Floats) -> Floats:
        block = np.where(np.isnan(hour), 0, _hour_block(np.nan_to_num(hour)))
        counts = self.hours[rows, :, block].astype(np.float64)
        shares: Floats = counts / (counts.sum(axis=1, keepdims=True) + 1.0)
        shares[np.isnan(hour)] = 0.0
        return shares

    def _matches(self, rows: Ints) -> tuple[Singles, Floats]:
        """Statistics read from the ring, (STATISTICS, rows, CANDIDATES) by place in the table: shares not yet as
        logarithms, those of time still 0; and those of the list."""
        ring = self.ring[rows]
        people = len(rows)
        planes = np.zeros((STATISTICS, people, CANDIDATES), np.float32)
        of_list = np.zeros((people, LIST_STATISTICS))
        planes[4], planes[5] = _shares(_counts_of_all(ring, _FAST)), _shares(_counts_of_all(ring, _SLOW))
        who, where, length = _find_matches(ring)
        follower = ring[who, where - 1]
        index = who * CANDIDATES + follower
        cells = people * CANDIDATES
        blend, left = _with_escape(_counts_of_all(ring, _FORGET[:_FORGOTTEN]), None, np.ones(people))
        for order in range(1, _ORDERS + 1):
            chosen = np.flatnonzero(length >= order)
            if not len(chosen):
                break
            own = who[chosen]
            counts: Floats = np.bincount(index[chosen], _FORGET[_counted(own, people)], cells).astype(np.float64)
            counts = counts.reshape(people, CANDIDATES)
            whole = counts.sum(axis=1) + (counts > 0).sum(axis=1)
            planes[order] = counts / np.maximum(whole, 1.0)[:, None]
            of_list[:, 5 + order] = np.log1p(np.bincount(own, minlength=people)) / 5
            blend, left = _with_escape(counts, blend, left)
        planes[0] = blend
        planes[9] = 1.0
        if len(who):
            _longest(who, follower, length, index, planes)
            np.maximum.at(of_list[:, 5], who, length / _LONGEST)
        of_list[:, 0] = np.log(_FLOOR / 4 + left) / 4
        of_list[:, 1] = np.log1p(self.steps[rows]) / 8
        of_list[:, 2] = (self.order[rows] != _NONE).mean(axis=1)
        of_list[:, 3] = ((ring[:, :63] == ring[:, 1:64]) & (ring[:, 1:64] != _NONE)).mean(axis=1)
        of_list[:, 4] = self.novelty[rows]
        return planes, of_list


def _longest(who: Ints, follower: npt.NDArray[np.uint8], length: Ints, index: Ints, planes: Singles) -> None:
    """What followed the longest matches, and what followed the last application most recently."""
    people = planes.shape[1]
    nth = _counted(who, people)
    weight = _LONGER[length] * _FORGET[nth]
    votes = np.bincount(index, weight, people * CANDIDATES).reshape(people, CANDIDATES)
    planes[7] = votes / np.maximum(np.bincount(who, weight, people), 1.0)[:, None]
    # assigned backwards, so that the latest match is the one that stays
    planes[9][who[::-1], follower[::-1]] = np.log1p(nth[::-1]) / np.log1p(LENGTH)
    best = np.zeros(people, np.int64)
    np.maximum.at(best, who, length)
    top = np.flatnonzero(length == best[who])[::-1]
    latest = np.full(people, -1)
    latest[who[top]] = follower[top]
    has = np.flatnonzero(latest >= 0)
    planes[10][has, latest[has]] = best[has] / _LONGEST


def _hour_block(hour: Floats) -> Ints:
    return np.clip(hour * (_HOUR_BLOCKS / 24), 0, _HOUR_BLOCKS - 1).astype(np.int64)


def _counts_of_all(ring: npt.NDArray[np.uint8], weights: Floats) -> Floats:
    """(people, CANDIDATES): the uses of each, weighted by how long ago they were."""
    part = ring[:, : len(weights)]
    index = part + (np.arange(len(ring)) * (_NONE + 1))[:, None]
    counts: Floats = np.bincount(index.ravel(), np.tile(weights, len(ring)), len(ring) * (_NONE + 1)).astype(np.float64)
    return counts.reshape(len(ring), _NONE + 1)[:, :CANDIDATES]


def _shares(counts: Floats) -> Floats:
    found: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return found


def _find_matches(ring: npt.NDArray[np.uint8]) -> tuple[Ints, Ints, Ints]:
    """Rows, columns and lengths (1 to `_LONGEST`) of what equals the ring's end; only those with a known follower."""
    body = ring[:, 1:]
    who, where = np.nonzero(body == ring[:, :1])
    known = (ring[who, where] != _NONE) & (ring[who, 0] != _NONE)
    who, where = who[known], where[known] + 1
    length = np.ones(len(who), np.int64)
    alive = np.arange(len(who))
    for back in range(1, _LONGEST):
        alive = alive[where[alive] + back < ring.shape[1]]
        expected = ring[who[alive], back]
        alive = alive[(ring[who[alive], where[alive] + back] == expected) & (expected != _NONE)]
        if not len(alive):
            break
        length[alive] += 1
    return who, where, length


def _counted(who: Ints, people: int) -> Ints:
    """0, 1, 2... along each row's run; `who` is sorted."""
    starts = np.searchsorted(who, np.arange(people))
    return np.arange(len(who)) - starts[who]


def _with_escape(counts: Floats, lower: Floats | None, left: Floats) -> tuple[Floats, Floats]:
    """Blend counts over what the shorter contexts say (escape method C), and what is left to new applications."""
    distinct = (counts > 0).sum(axis=1)
    whole = np.maximum(counts.sum(axis=1) + distinct, 1.0)
    escape = np.where(distinct > 0, distinct / whole, 1.0)
    blend: Floats = counts / whole[:, None]
    if lower is not None:
        blend += lower * escape[:, None]
    return blend, left * escape

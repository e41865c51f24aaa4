"""The turns of person-days: when which application came to the front, and for how long. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.replay.synthetic.draws import Draws, Floats, Ints
from ghostdesk.replay.synthetic.habits import Habits, paths
from ghostdesk.replay.synthetic.presence import Presence
from ghostdesk.replay.synthetic.scenarios import DAY_S

TURN_SHARE = 0.62
"""Of the events of a day so many are applications turned to; the rest are samples, sign-ins, files and microphones."""
_SETTLE_S = 20.0
_CHOSEN, _PAST = -1, -2


@dataclass(frozen=True)
class Turns:
    """In the order of person and time; all of shape (turns,).

    Args:
        part: number of the person-day.
        row: of the person in their block.
        at_s: seconds from the history's first midnight.
        for_s: how long it stayed in front.
        slot: which of the person's applications.
        launched: whether it was not open yet in this session.
        number: of the person's turns, from 0 on.
        mic: whether it is a meeting with the microphone on.
    """

    part: Ints
    row: Ints
    at_s: Floats
    for_s: Floats
    slot: Ints
    launched: np.ndarray
    number: Ints
    mic: np.ndarray


def turns_of(there: Presence, habits: Habits, seed: int, index: Ints, events_a_day: float) -> Turns:
    """Lay out everybody's turns.

    Args:
        there: the person-days.
        habits: of the people of the block.
        seed: of the history.
        index: numbers of the people, shape (people,).
        events_a_day: mean number of events of a day on which a person of mean busyness works.
    """
    at_s, forced, mic = _moments(there, habits, seed, index, events_a_day)
    order = np.argsort(at_s, axis=1, kind="stable")
    at_s, forced, mic = (np.take_along_axis(one, order, axis=1) for one in (at_s, forced, mic))
    until_s = np.concatenate([at_s[:, 1:], np.full((len(at_s), 1), np.inf)], axis=1)
    until_s = np.minimum(until_s, there.end_s[:, None])
    session = np.zeros(at_s.shape, dtype=np.int64)
    for way in range(there.away_s.shape[1]):
        out_s = there.away_s[:, way, :1]
        until_s = np.where((out_s > at_s) & (out_s < until_s), out_s, until_s)
        session += at_s >= out_s
    for held in range(there.busy_s.shape[1]):  # a meeting is over when the calendar says so
        start_s, over_s = there.busy_s[:, held, :1], there.busy_s[:, held, 1:]
        until_s = np.where((at_s >= start_s) & (at_s < over_s), np.minimum(until_s, over_s), until_s)
    kept = np.isfinite(at_s)
    part, _ = np.nonzero(kept)
    row = there.row[part]
    counts = np.bincount(row, minlength=len(index))
    number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    demanded = np.full((len(index), int(counts.max(initial=0))), _PAST, dtype=np.int64)
    demanded[row, number] = forced[kept]
    slot = paths(habits, seed, index, demanded)[row, number]
    opened = (part * (there.away_s.shape[1] + 1) + session[kept]) * habits.app.shape[1] + slot
    launched = np.zeros(len(row), dtype=bool)
    launched[np.unique(opened, return_index=True)[1]] = True
    starts_s = there.day[part] * DAY_S
    return Turns(
        part, row, starts_s + at_s[kept], (until_s - at_s)[kept], slot, launched, number, mic[kept]
    )  # fmt: skip


def _moments(
    there: Presence, habits: Habits, seed: int, index: Ints, events_a_day: float
) -> tuple[Floats, Ints, np.ndarray]:
    """Moments of turning (inf: none), the slot that a calendar puts in front, and whether it is a meeting's."""
    draws, who = Draws(seed, "moments"), index[there.row]
    usual = events_a_day * TURN_SHARE * habits.busyness[there.row]
    away_s = np.nansum(there.away_s[:, :, 1] - there.away_s[:, :, 0], axis=1)
    busy_s = np.nansum(there.busy_s[:, :, 1] - there.busy_s[:, :, 0], axis=1)
    stay_s = there.end_s - there.begin_s
    # those that fall in between are left out below, so that what is left comes to the usual number
    counts = np.maximum(
        draws.poisson(usual * stay_s / np.maximum(stay_s - away_s - busy_s, 0.2 * stay_s), who, there.day), 1
    )
    step = np.arange(int(counts.max(initial=1)))[None, :]
    dwell = draws.lognormal(1.0, 1.0, who[:, None], there.day[:, None], step, 1)
    dwell = np.where(step < counts[:, None], dwell, 0.0)
    share = (np.cumsum(dwell, axis=1) - dwell) / dwell.sum(axis=1, keepdims=True)
    settle_s = 3.0 + (_SETTLE_S - 3.0) * draws.uniform(who, there.day, 2)
    at_s = (there.begin_s + settle_s)[:, None] + share * np.maximum(stay_s - settle_s, 1.0)[:, None]
    at_s = np.where(step < counts[:, None], at_s, np.inf)
    for spans in (there.away_s, there.busy_s):
        for number in range(spans.shape[1]):
            within = (at_s >= spans[:, number, :1] - 1.0) & (at_s <= spans[:, number, 1:] + _SETTLE_S)
            at_s = np.where(within, np.inf, at_s)
    back_s = np.concatenate([there.away_s[:, :, 1], there.busy_s[:, :, 1]], axis=1)
    back_s = (
        back_s + 2.0 + 15.0 * draws.uniform(who[:, None], there.day[:, None], np.arange(back_s.shape[1])[None, :], 3)
    )
    starts_s = there.busy_s[:, :, 0]
    soon = np.zeros(back_s.shape, dtype=bool)  # whoever comes back into a class, or goes at once, turns to nothing else
    for number in range(starts_s.shape[1]):
        soon |= (starts_s[:, number, None] >= back_s - 60.0) & (starts_s[:, number, None] <= back_s + 30.0)
    for number in range(there.away_s.shape[1]):
        soon |= (there.away_s[:, number, :1] >= back_s - 60.0) & (there.away_s[:, number, :1] <= back_s + 1.0)
    back_s = np.where(np.isnan(back_s) | soon | (back_s >= there.end_s[:, None] - 1.0), np.inf, back_s)
    every = np.concatenate([at_s, back_s, np.where(np.isnan(starts_s), np.inf, starts_s)], axis=1)
    slots = np.full(every.shape, _CHOSEN, dtype=np.int64)
    slots[:, -starts_s.shape[1] :] = there.busy_slot[None, :]
    mic = np.zeros(every.shape, dtype=bool)
    mic[:, -starts_s.shape[1] :] = there.busy_mic[None, :]
    return every, slots, mic

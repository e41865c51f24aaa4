"""What makes one person's turns alike: which applications, how often each is used, what follows what. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.replay.synthetic.draws import Draws, Floats, Ints
from ghostdesk.replay.synthetic.parameters import Parameters
from ghostdesk.replay.synthetic.people import (
    APPS,
    CLASS_APP,
    CLASS_SLOT,
    DEPARTMENTS,
    EVERYONE,
    MEETING_APP,
    MEETING_SLOT,
    NUMBER_OF,
    PRIVATE_APPS,
    PRIVATE_NAMES,
    SOURCE,
    People,
)

_DEPARTMENT_APPS = np.array(
    [[NUMBER_OF[app] for app in (*apps, *EVERYONE, MEETING_APP, CLASS_APP)] for apps in DEPARTMENTS.values()]
)
_FIRST_PRIVATE = NUMBER_OF[f"{SOURCE}.own000"]
_STRETCH = 16
"""Turns over which somebody either goes to and fro between two applications, or does not."""
_LESS = np.array([0.4, 1.0, 1.0, 1.0, 0.3])
"""Of each measured share, what is left to draw: going to and fro makes rank 2, popularity makes the last ones."""
_RANKS = 5
"""Recency ranks that are drawn apart, from 2 on."""


@dataclass(frozen=True)
class Habits:
    """Of some people. `slot` numbers a person's applications from 0.

    Args:
        app: number of each person's applications (see `people.NAMES`), shape (people, APPS).
        chain: cumulative chance of each application after each, float32 of shape (people, APPS, APPS).
        first: cumulative chance of each at the start of a history, shape (people, APPS).
        focus: share of stretches of turns in which a person goes to and fro between two applications, shape (people,).
        steady: chance that a turn of such a stretch does.
        recency: chance that a turn of another stretch goes back to one of the last few, shape (people,).
        ranks: cumulative chance of recency rank 2, 3, ... of such a turn, shape (people, ranks).
        busyness: how many events a person has beside others, around 1, shape (people,).
    """

    app: Ints
    chain: np.ndarray
    first: Floats
    focus: Floats
    steady: float
    recency: Floats
    ranks: Floats
    busyness: Floats

    @classmethod
    def of(cls, parameters: Parameters, seed: int, people: People) -> Habits:
        """Habits of these people."""
        draws, fitted, who = Draws(seed, "habits"), parameters.fitted, people.index[:, None]
        slots = np.arange(APPS)[None, :]
        # the department's applications come first in the ranking, shaken by the person's taste
        rank = np.argsort(np.argsort(slots + fitted["taste"] * draws.normal(who, slots, 0), axis=1), axis=1)
        weight = 1.0 / (1.0 + rank) ** fitted["zipf"]
        weight[:, [MEETING_SLOT, CLASS_SLOT]] = 0.0  # calendars open these
        popularity = weight / weight.sum(axis=1, keepdims=True)
        even = (weight > 0.0) / (weight > 0.0).sum(
            axis=1, keepdims=True
        )  # what is used seldom, by Zipf's law too seldom
        popularity = (1.0 - fitted["tail"]) * popularity + fitted["tail"] * even
        a, b = np.arange(APPS)[:, None], np.arange(APPS)[None, :]
        liking = draws.lognormal(1.0, fitted["chain_spread"], who[:, :, None], a[None], b[None], 1)
        chain = popularity[:, None, :] * liking * (1.0 - np.eye(APPS))  # turning to what is in front is no event
        chain = np.cumsum(chain / chain.sum(axis=2, keepdims=True), axis=2, dtype=np.float32)
        ranks = np.arange(_RANKS)[None, :]
        shares = _rank_shares(parameters)[None, :] * draws.lognormal(1.0, fitted["rank_spread"], who, ranks, 2)
        spread = fitted["recency_spread"] * draws.normal(people.index, 3)
        focus = fitted["focus"] + fitted["focus_spread"] * draws.normal(people.index, 6)
        return cls(
            _apps(draws, people),
            chain,
            np.cumsum(popularity, axis=1),
            np.clip(focus, 0.0, 0.95),
            fitted["steady"],
            np.clip(fitted["recency"] + spread, 0.02, 0.95),
            np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1),
            np.clip(draws.lognormal(np.exp(-0.045), 0.3, people.index, 4), 0.3, 3.0),
        )


def _apps(draws: Draws, people: People) -> Ints:
    stretch = PRIVATE_NAMES // PRIVATE_APPS  # of names, one stretch for each, so that none is there twice
    which = np.arange(PRIVATE_APPS)[None, :]
    own = _FIRST_PRIVATE + which * stretch + (draws.uniform(people.index[:, None], which, 5) * stretch).astype(np.int64)
    return np.concatenate([_DEPARTMENT_APPS[people.department], own], axis=1)


def _rank_shares(parameters: Parameters) -> Floats:
    """Of turns back, how many go to recency rank 2, 3, 4, 5 and 6: as measured, less what comes about anyway."""
    measured = np.array([parameters.number("apps", f"recency_rank_{rank}") for rank in range(2, 6)])
    return np.asarray(np.append(measured, parameters.number("apps", "recency_rank_6_up")) * _LESS)


def paths(habits: Habits, seed: int, index: Ints, forced: Ints) -> Ints:
    """Every person's turns, one after the other: the personal chain, mixed with going back to one of the last few.

    Args:
        habits: of the people.
        seed: of the history.
        index: numbers of the people, shape (people,).
        forced: slot that a calendar put in front, -1 where the person chooses, -2 beyond their last turn; shape
            (people, turns).

    Returns:
        Slots, shape (people, turns).
    """
    people, turns = forced.shape
    draws, step = Draws(seed, "turns"), np.arange(turns)
    rows = np.arange(people)
    to_and_fro = draws.uniform(index[:, None], step[None, :] // _STRETCH, 2) < habits.focus[:, None]
    back = draws.uniform(index[:, None], step[None, :], 0) < np.where(
        to_and_fro, habits.steady, habits.recency[:, None]
    )
    chance = draws.uniform(index[:, None], step[None, :], 1)
    recent = np.argsort(-np.diff(habits.first, axis=1, prepend=0.0), axis=1, kind="stable")
    path = np.zeros((people, turns), dtype=np.int64)
    columns = np.arange(APPS)[None, :]
    path_before = (chance[:, :1] >= habits.first).sum(axis=1).clip(0, MEETING_SLOT - 1)
    for turn in range(turns):
        drawn = chance[:, turn]
        rank = 1 + (drawn[:, None] >= habits.ranks).sum(axis=1).clip(0, _RANKS - 1)
        chosen = (drawn[:, None] >= habits.chain[rows, path_before]).sum(axis=1).clip(0, APPS - 1)
        rank = np.where(to_and_fro[:, turn], 1, rank)
        slot = np.where(back[:, turn], recent[rows, rank], chosen)
        slot = np.where(slot == path_before, recent[rows, 1], slot)
        slot = np.where(forced[:, turn] >= 0, forced[:, turn], slot)
        path[:, turn] = slot
        at = (recent == slot[:, None]).argmax(axis=1)
        earlier = np.concatenate([slot[:, None], recent[:, :-1]], axis=1)
        recent = np.where(columns <= at[:, None], earlier, recent)
        path_before = slot
    return path

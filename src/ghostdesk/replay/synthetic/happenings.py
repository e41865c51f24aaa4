"""Everything that happens to a block of people, as arrays in the order of person and time. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.replay.synthetic.agenda import AWAY_SHARE, Agenda
from ghostdesk.replay.synthetic.documents import Opened, documents
from ghostdesk.replay.synthetic.draws import Draws, Floats, Ints
from ghostdesk.replay.synthetic.habits import Habits
from ghostdesk.replay.synthetic.parameters import Parameters
from ghostdesk.replay.synthetic.people import People
from ghostdesk.replay.synthetic.presence import HOUR_S, Presence, attendance, presence
from ghostdesk.replay.synthetic.scenarios import DAY_S, FIRST_DAY_S
from ghostdesk.replay.synthetic.turns import TURN_SHARE, Turns, turns_of
from ghostdesk.replay.synthetic.usage import RESOURCES, amounts, levels
from ghostdesk.telemetry.events import EventKind

KINDS: tuple[EventKind, ...] = tuple(EventKind)
OPEN_CHANCE = 0.08
"""Share of turns in which a file is opened. Assumed."""


@dataclass(frozen=True)
class Happenings:
    """Events of a block of people; arrays of shape (events,), in the order of person and time.

    Args:
        people: of the block.
        row: the person in the block.
        time_ms: milliseconds since 1970 UTC.
        kind: position in `KINDS`.
        app: number in `people.NAMES`; -1 where none is meant.
        value: NaN where the kind has none.
        mime: position in `documents.MIME_TYPES`; -1 where none is meant.
        opened: the files that were opened, in the order of person and time, by row.
    """

    people: People
    row: Ints
    time_ms: Ints
    kind: npt.NDArray[np.int8]
    app: Ints
    value: Floats
    mime: npt.NDArray[np.int8]
    opened: Opened


@dataclass(frozen=True)
class _Part:
    """Some events, in any order; `rank` orders those of one moment."""

    row: Ints
    at_s: Floats
    kind: EventKind | Ints
    rank: int
    app: Ints | None = None
    value: npt.ArrayLike = np.nan
    mime: Ints | None = None


def happenings(parameters: Parameters, agenda: Agenda, index: Ints, events_a_day: float, *, office: bool) -> Happenings:
    """Of the people with these numbers, all that happens in the whole history.

    Args:
        parameters: what to draw from.
        agenda: the organisation's calendars and scenarios.
        index: numbers of people, rising.
        events_a_day: mean number of events a person and calendar day.
        office: whether people keep office hours, instead of hours as they were recorded.
    """
    seed = agenda.seed
    people = People.of(seed, index)
    habits = Habits.of(parameters, seed, people)
    there = presence(parameters, agenda, people, office=office)
    a_day = events_a_day * 7.0 / attendance(parameters) / (1.0 - 5.0 / 7.0 * AWAY_SHARE)
    turns = turns_of(there, habits, seed, index, a_day)
    app = habits.app[turns.row, turns.slot]
    opened, files = _opened(seed, people, turns, app)
    parts = [*_sessions(there), _turns(turns, app), *_microphones(turns), files]
    parts += _samples(parameters, agenda, index, turns, app, a_day)
    return _sorted(people, parts, opened)


def _sessions(there: Presence) -> list[_Part]:
    day_s = there.day * DAY_S
    ways = ~np.isnan(there.away_s[:, :, 0])
    part, _ = np.nonzero(ways)
    out_s, in_s = (there.away_s[:, :, side][ways] + day_s[part] for side in (0, 1))
    return [
        _Part(there.row, day_s + there.begin_s, EventKind.SIGN_IN, 0),
        _Part(there.row, day_s + there.end_s, EventKind.SIGN_OUT, 9),
        _Part(there.row[part], out_s, EventKind.SIGN_OUT, 9),
        _Part(there.row[part], in_s, EventKind.SIGN_IN, 0),
    ]


def _turns(turns: Turns, app: Ints) -> _Part:
    kind = np.where(turns.launched, KINDS.index(EventKind.APP_LAUNCH), KINDS.index(EventKind.APP_FOCUS))
    value = np.where(turns.launched, np.nan, np.round(turns.for_s, 1))
    return _Part(turns.row, turns.at_s, kind, 1, app, value)


def _microphones(turns: Turns) -> list[_Part]:
    row, at_s, for_s = (one[turns.mic] for one in (turns.row, turns.at_s, turns.for_s))
    return [
        _Part(row, at_s + np.minimum(1.0, 0.2 * for_s), EventKind.MICROPHONE, 2, value=1.0),
        _Part(row, at_s + for_s - np.minimum(1.0, 0.2 * for_s), EventKind.MICROPHONE, 8, value=0.0),
    ]


def _opened(seed: int, people: People, turns: Turns, app: Ints) -> tuple[Opened, _Part]:
    who = people.index[turns.row]
    here = Draws(seed, "opening").uniform(who, turns.number) < OPEN_CHANCE
    at_s = (turns.at_s + np.minimum(0.04 * turns.for_s, 30.0))[here]
    time_ms = _ms(at_s)
    opened = documents(seed, people, turns.row[here], time_ms, app[here], turns.number[here])
    return opened, _Part(turns.row[here], at_s, EventKind.FILE_OPENED, 3, mime=opened.mime)


def _samples(parameters: Parameters, agenda: Agenda, index: Ints, turns: Turns, app: Ints, a_day: float) -> list[_Part]:
    seed, who = agenda.seed, index[turns.row]
    mean = max(max(a_day * (1.0 - TURN_SHARE) - 3.0, 0.0) / max(a_day * TURN_SHARE, 1.0) - OPEN_CHANCE, 0.0)
    draws = Draws(seed, "samples")
    counts = draws.poisson(mean, who, turns.number, 0)
    turn = np.repeat(np.arange(len(who)), counts)
    sample = np.arange(len(turn)) - np.repeat(np.cumsum(counts) - counts, counts)
    at_s = turns.at_s[turn] + turns.for_s[turn] * (0.05 + 0.9 * (sample + 1) / (counts[turn] + 1))
    number = turns.number[turn]
    resource = (draws.uniform(who[turn], number, sample, 1) * len(RESOURCES)).astype(np.int64)
    hour = np.minimum((at_s // HOUR_S).astype(np.int64), agenda.days * 24 - 1)
    level = levels(parameters, seed, index, agenda.days)[turns.row[turn], hour, resource]
    value = amounts(parameters, seed, who[turn], app[turn], level, resource, number, sample)
    kind = np.array([KINDS.index(one) for one in RESOURCES])[resource]
    return [_Part(turns.row[turn], at_s, kind, 4, value=value)]


def _sorted(people: People, parts: list[_Part], opened: Opened) -> Happenings:
    sizes = [len(part.row) for part in parts]
    row, at_s = (np.concatenate([getattr(part, name) for part in parts]) for name in ("row", "at_s"))
    none = [np.full(size, -1, dtype=np.int64) for size in sizes]
    kind = np.concatenate([_kinds(part) for part in parts])
    app, mime = (
        np.concatenate(
            [n if getattr(part, name) is None else getattr(part, name) for part, n in zip(parts, none, strict=True)]
        )
        for name in ("app", "mime")
    )
    value = np.concatenate([np.broadcast_to(np.asarray(part.value, dtype=float), len(part.row)) for part in parts])
    rank = np.repeat([part.rank for part in parts], sizes)
    time_ms = _ms(at_s)
    order = np.lexsort((rank, time_ms, row))
    return Happenings(
        people, row[order], time_ms[order], kind[order], app[order], value[order], mime[order].astype(np.int8), opened
    )


def _kinds(part: _Part) -> npt.NDArray[np.int8]:
    if isinstance(part.kind, EventKind):
        return np.full(len(part.row), KINDS.index(part.kind), dtype=np.int8)
    return part.kind.astype(np.int8)


def _ms(at_s: Floats) -> Ints:
    """Milliseconds since 1970 of seconds from the history's first midnight."""
    return np.round(at_s * 1000.0).astype(np.int64) + int(FIRST_DAY_S) * 1000

"""Who is there on which day, from when to when, and what cuts into it. Arrays of person-days. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.replay.synthetic.agenda import MOST_MEETINGS, Agenda, Flags, Meetings
from ghostdesk.replay.synthetic.draws import Draws, Floats, Ints
from ghostdesk.replay.synthetic.parameters import Parameters
from ghostdesk.replay.synthetic.people import CLASS_SLOT, MEETING_SLOT, TEACHING, People
from ghostdesk.replay.synthetic.scenarios import CLASS_S, DAY_S, ClassScenario

HOUR_S = 3_600.0
DAY_WEIGHTS = np.array([1.1, 1.15, 1.1, 1.05, 0.9, 0.08, 0.05]) * 0.9
"""Chance that somebody works on each day of the week. Assumed: the recorded sets do not tell it of an office."""
MOST_ATTEND = 0.97
HOLIDAY_SHARE = 0.05
_LUNCH_CHANCE = 0.5
_EARLIEST_S, _LATEST_S, _LAST_END_S = 4 * HOUR_S, 20 * HOUR_S, 23.9 * HOUR_S
_STORM_S, _STORM_SPREAD_S = 8.75 * HOUR_S, 240.0
_APART_S = 120.0


@dataclass(frozen=True)
class Presence:
    """Person-days on which somebody worked, in the order of person and day; times are seconds of the day.

    Args:
        row: of the person in their block, shape (person-days,).
        day: from 0.
        begin_s, end_s: first sign-in and last sign-out.
        away_s: when they were signed out in between, from and to, shape (person-days, ways, 2); NaN where not.
        busy_s: when a meeting or class held them, likewise, shape (person-days, series, 2).
        busy_slot: the application in front then, shape (series,).
        busy_mic: whether the microphone was on, shape (series,).
    """

    row: Ints
    day: Ints
    begin_s: Floats
    end_s: Floats
    away_s: Floats
    busy_s: Floats
    busy_slot: Ints
    busy_mic: Flags


def day_levels(parameters: Parameters, seed: int, days: int) -> Floats:
    """How busy each day is for everybody alike, around 1, shape (days,): log-normal and autoregressive."""
    noise = Draws(seed, "day levels").normal(np.arange(days))
    hold, level = parameters.fitted["day_level_hold"], np.zeros(days)
    for day in range(days):
        before = level[day - 1] if day else noise[0]
        level[day] = hold * before + np.sqrt(1.0 - hold**2) * noise[day]
    return np.asarray(np.exp(parameters.fitted["day_level_sd"] * level))


def term_levels(parameters: Parameters, agenda: Agenda) -> Floats:
    """How much is taught on each day, as a share of a day in a long term, shape (days,)."""
    short, outside = (parameters.number("desktop-starts", f"level_{name}_terms") for name in ("short", "outside"))
    return np.where(agenda.in_term, np.where(agenda.in_short_term, short, 1.0), outside)


def attendance(parameters: Parameters) -> float:
    """Expected days a week that somebody works who is not out of office."""
    spread = parameters.fitted["day_level_sd"]
    levels = np.exp(spread * np.linspace(-2.5, 2.5, 51))
    weights = np.exp(-0.5 * np.linspace(-2.5, 2.5, 51) ** 2)
    chances = np.minimum(DAY_WEIGHTS[:, None] * levels, MOST_ATTEND)
    return float((chances * weights).sum() / weights.sum())


def presence(parameters: Parameters, agenda: Agenda, people: People, *, office: bool) -> Presence:
    """Of some people, all days of the history."""
    index = people.index
    away = agenda.away(index)
    there = _present(parameters, agenda, people) & ~away
    holds = [_class_days(agenda, people, *one) & ~away for one in agenda.classes]
    for held in holds:
        there |= held
    row, day = np.nonzero(there)
    draws, who = Draws(agenda.seed, "days"), index[row]
    begin_s, end_s = _first_and_last(parameters, agenda, draws, who, day, office)
    ways = list[Floats]()
    lessons = list[Floats]()
    for number, ((one, _), held) in enumerate(zip(agenda.classes, holds, strict=True)):
        begin_s, end_s, way, lesson = _lesson(one, held[row, day], begin_s, end_s, draws.uniform(who, day, 20 + number))
        ways.append(_where_free(way, begin_s, end_s, ways))
        lessons.append(_where_free(lesson, begin_s - 1.0, end_s + 1.0, lessons))
    begin_s, end_s, drill = _drills(agenda, draws, who, day, begin_s, end_s, ways)
    ways.extend(drill)
    meetings = _meetings(agenda.meetings(people), row, day, agenda.is_holiday[day], draws.uniform(who, day, 9))
    held_s = list(lessons)
    for meeting in meetings:
        held_s.append(_where_free(meeting, begin_s + 60.0, end_s - 60.0, [*held_s, *ways]))
    for way in _breaks(parameters, draws, who, day, begin_s, end_s):
        ways.append(_where_free(way, begin_s, end_s, [*held_s, *ways]))
    busy = np.stack([_cut(one, ways) for one in held_s], axis=1)
    slots = np.array([CLASS_SLOT] * len(lessons) + [MEETING_SLOT] * MOST_MEETINGS)
    return Presence(row, day, begin_s, end_s, np.stack(ways, axis=1), busy, slots, slots == MEETING_SLOT)


def _present(parameters: Parameters, agenda: Agenda, people: People) -> Flags:
    day = np.arange(agenda.days)
    chance = DAY_WEIGHTS[day % 7] * day_levels(parameters, agenda.seed, agenda.days)
    if agenda.storms:
        chance[day % 7 == 0] = MOST_ATTEND
    chance = np.minimum(chance, MOST_ATTEND) * np.where(agenda.is_holiday, HOLIDAY_SHARE, 1.0)
    term = term_levels(parameters, agenda)
    chances = chance[None, :] * np.where((people.department == TEACHING)[:, None], term[None, :], 1.0)
    come = Draws(agenda.seed, "attendance").uniform(people.index[:, None], day[None, :]) < chances
    return np.asarray(come & (day[None, :] >= agenda.first_days(people.index)[:, None]))


def _class_days(agenda: Agenda, people: People, one: ClassScenario, members: Ints) -> Flags:
    day = np.arange(agenda.days)
    held = np.isin(day % 7, one.weekdays) & ~agenda.is_holiday
    joined = day[None, :] >= agenda.first_days(people.index)[:, None]
    return np.asarray(np.isin(people.index, members)[:, None] & held[None, :] & joined)


def _first_and_last(
    parameters: Parameters, agenda: Agenda, draws: Draws, who: Ints, day: Ints, office: bool
) -> tuple[Floats, Floats]:
    person = Draws(agenda.seed, "hours")
    if office:
        usual = 8.5 + 0.9 * person.normal(who, 0)
        begin = usual + 0.25 * draws.normal(who, day, 0)
    else:
        fitted = parameters.fitted
        usual = fitted["start_hour_mean"] + fitted["start_hour_sd"] * person.normal(who, 0)
        # exponential both ways (Laplace): most days near the usual hour, some far from it
        chance = draws.uniform(who, day, 0) - 0.5
        begin = usual - fitted["start_spread_hours"] * np.sign(chance) * np.log1p(-2.0 * np.abs(chance))
    stay_s = HOUR_S * np.clip(7.5 + person.normal(who, 1), 3.0, 10.0) * (0.8 + 0.3 * draws.uniform(who, day, 1))
    begin_s = np.clip(HOUR_S * begin, _EARLIEST_S, _LATEST_S) + 600.0 * draws.uniform(who, day, 2)
    if agenda.storms:
        storm_s = _STORM_S + _STORM_SPREAD_S * draws.normal(who, day, 3)
        begin_s = np.where((day % 7 == 0) & ~agenda.is_holiday[day], storm_s, begin_s)
    return begin_s, np.minimum(begin_s + stay_s, _LAST_END_S - 600.0 * draws.uniform(who, day, 4))


def _lesson(
    one: ClassScenario, held: Flags, begin_s: Floats, end_s: Floats, chance: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Day's begin and end, the way to class, and the class, of those who have one; most sign in within two minutes."""
    in_s = one.start_s + 240.0 * (chance**2) - 20.0
    out_s = in_s - 300.0 - 600.0 * chance
    over_s = one.start_s + CLASS_S
    begin_s = np.where(held & (begin_s > out_s - _APART_S), in_s, begin_s)
    leaves = held & (begin_s < in_s)
    out_s = np.where(leaves, np.minimum(out_s, end_s), out_s)  # who had gone home comes back for it
    end_s = np.where(held, np.maximum(end_s, over_s + 60.0 + 600.0 * chance), end_s)
    way = _spans(np.where(leaves, out_s, np.nan), in_s)
    return begin_s, end_s, way, _spans(np.where(held, in_s + 15.0, np.nan), np.full(len(held), over_s))


def _drills(
    agenda: Agenda, draws: Draws, who: Ints, day: Ints, begin_s: Floats, end_s: Floats, ways: list[Floats]
) -> tuple[Floats, Floats, list[Floats]]:
    """Nobody signs in during a drill; those who would have left in it leave when it begins."""
    found = list[Floats]()
    for number, drill in enumerate(agenda.drills):
        that_day = day == int(drill.at_s // DAY_S)
        at_s = drill.at_s % DAY_S
        back_s = at_s + 60.0 * drill.minutes + 120.0 * draws.uniform(who, day, 40 + 2 * number)
        out_s = at_s + 60.0 * draws.uniform(who, day, 41 + 2 * number)
        begin_s = np.where(that_day & (begin_s >= at_s - 30.0) & (begin_s < back_s), back_s, begin_s)
        goes = that_day & (begin_s < at_s) & (end_s > out_s)
        end_s = np.where(goes & (end_s < back_s + _APART_S), out_s, end_s)
        end_s = np.maximum(end_s, begin_s + 300.0)
        goes &= end_s > back_s
        for way in ways:  # a way to class that the drill cuts into becomes part of the drill
            over = goes & (way[:, 0] < back_s + _APART_S) & (way[:, 1] > out_s - _APART_S)
            out_s = np.where(over, np.minimum(out_s, way[:, 0]), out_s)
            back_s = np.where(over, np.maximum(back_s, way[:, 1]), back_s)
            way[over] = np.nan
        found.append(_where_free(_spans(np.where(goes, out_s, np.nan), back_s), begin_s, end_s, found))
    return begin_s, end_s, found


def _meetings(meetings: Meetings, row: Ints, day: Ints, holiday: Flags, late: Floats) -> list[Floats]:
    found = []
    for series in range(MOST_MEETINGS):
        held = meetings.invited[row, series] & (meetings.weekday[row, series] == day % 7) & ~holiday
        start_s = meetings.start_s[row, series] + 240.0 * late  # nobody comes early
        over_s = meetings.start_s[row, series] + meetings.length_s[row, series]
        found.append(_spans(np.where(held, start_s, np.nan), over_s))
    return found


def _breaks(parameters: Parameters, draws: Draws, who: Ints, day: Ints, begin_s: Floats, end_s: Floats) -> list[Floats]:
    """A pause of hours on some days, and lunch on half of those that are long enough."""
    stay_s = end_s - begin_s
    long = draws.uniform(who, day, 5) < parameters.fitted["long_break_chance"]
    length_s = HOUR_S * (2.2 + 4.5 * draws.uniform(who, day, 6) ** 2)
    out_s = begin_s + 0.15 * stay_s + draws.uniform(who, day, 7) * np.maximum(0.75 * stay_s - length_s, 0.0)
    lunch = (draws.uniform(who, day, 8) < _LUNCH_CHANCE) & (stay_s > 5 * HOUR_S)
    lunch_s = begin_s + stay_s * (0.4 + 0.2 * draws.uniform(who, day, 10))
    lunch_over_s = lunch_s + 1_200.0 + 2_400.0 * draws.uniform(who, day, 11)
    return [
        _spans(np.where(long, out_s, np.nan), out_s + length_s), _spans(np.where(lunch, lunch_s, np.nan), lunch_over_s),
    ]  # fmt: skip


def _spans(from_s: Floats, to_s: Floats) -> Floats:
    return np.stack([from_s, np.where(np.isnan(from_s), np.nan, to_s)], axis=1)


def _where_free(span: Floats, begin_s: Floats, end_s: Floats, others: list[Floats]) -> Floats:
    """The spans that lie within the day and apart from all others; NaN elsewhere."""
    free = (span[:, 0] > begin_s) & (span[:, 1] < end_s) & (span[:, 1] > span[:, 0])
    for other in others:
        free &= ~((span[:, 0] < other[:, 1] + _APART_S) & (span[:, 1] > other[:, 0] - _APART_S))
    return np.where(free[:, None], span, np.nan)


def _cut(span: Floats, ways: list[Floats]) -> Floats:
    """A class that somebody is called out of is over for them; below two minutes it was none."""
    start_s, end_s = span[:, 0], span[:, 1]
    for way in ways:
        start_s = np.where((way[:, 0] < start_s) & (way[:, 1] > start_s), way[:, 1] + 15.0, start_s)
        end_s = np.where((way[:, 0] >= start_s) & (way[:, 0] < end_s), way[:, 0] - 1.0, end_s)
    return _spans(np.where(end_s - start_s > 120.0, start_s, np.nan), end_s)

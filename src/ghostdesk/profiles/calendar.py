"""What a person's calendar says of a moment: how far the next entry is, whether they are away, or have a day off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostdesk.telemetry.calendars.entries import BusyTime

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_LOOK_AHEAD_S = 7 * 86_400.0
_PERSONAL = frozenset({"busy", "free", "away"})


@dataclass(frozen=True, slots=True)
class CalendarFeatures:
    """A calendar at one moment. `None` is "not known".

    Args:
        minutes: to the next entry within a week; negative while one goes on (minutes since it began).
        series: digest of that entry's series.
        holiday: whether it is a public holiday.
        in_term: whether it is within a term.
        away: whether the person is out of office.
        all_day: whether an entry of theirs takes the whole day.
    """

    minutes: float | None = None
    series: str | None = None
    holiday: bool | None = None
    in_term: bool | None = None
    away: bool | None = None
    all_day: bool | None = None

    @property
    def day_off(self) -> bool | None:
        """Whether it is a holiday or outside the term, as `Situation.holiday` has it."""
        if self.holiday is None and self.in_term is None:
            return None
        return bool(self.holiday) or self.in_term is False


@dataclass(frozen=True, slots=True)
class SlotFeatures:
    """The same for many moments, one an element; NaN in `minutes` is "no entry in sight, or none known".

    Args:
        personal: whether the person's own calendar is known; if not, `minutes`, `away` and `all_day` say nothing.
        public: whether holidays or terms are known.
    """

    personal: bool
    public: bool
    minutes: Floats
    holiday: Flags
    out_of_term: Flags
    away: Flags
    all_day: Flags


class Agenda:
    """One person's entries, with everybody's holidays and terms, ready to be asked about any moment.

    Args:
        times: in any order; entries that are "free" say nothing but that a calendar is known.
    """

    __slots__ = ("_all_day", "_away", "_begins", "_ends", "_holidays", "_longest", "_series", "_terms", "personal")

    def __init__(self, times: Iterable[BusyTime]) -> None:
        known = sorted(times)
        timed = [one for one in known if one.kind == "busy" and not one.all_day]
        self.personal = any(one.kind in _PERSONAL for one in known)
        self._begins = np.array([one.start_s for one in timed], float)
        self._ends = np.array([one.end_s for one in timed], float)
        self._series = [one.series for one in timed]
        self._longest = _index_of_latest_end(self._ends)
        self._away = _Spans(one for one in known if one.kind == "away")
        self._all_day = _Spans(one for one in known if one.kind == "busy" and one.all_day)
        self._holidays = _Spans(one for one in known if one.kind == "holiday")
        self._terms = _Spans(one for one in known if one.kind == "term")

    @property
    def public(self) -> bool:
        """Whether holidays or terms are known."""
        return bool(self._holidays or self._terms)

    def at(self, now_s: float) -> CalendarFeatures:
        """The features of one moment (UTC seconds)."""
        moment = np.array([now_s])
        which, minutes = self._entry(moment)
        seen = bool(which[0] >= 0)
        return CalendarFeatures(
            minutes=float(minutes[0]) if seen else None,
            series=self._series[int(which[0])] or None if seen else None,
            holiday=bool(self._holidays.holds(moment)[0]) if self._holidays else None,
            in_term=None if not self._terms.reaches(moment)[0] else bool(self._terms.holds(moment)[0]),
            away=bool(self._away.holds(moment)[0]) if self.personal else None,
            all_day=bool(self._all_day.holds(moment)[0]) if self.personal else None,
        )

    def slots(self, moments_s: ArrayLike) -> SlotFeatures:
        """The features of many moments (UTC seconds), such as the starts of a curve's slots."""
        moments = np.asarray(moments_s, float)
        return SlotFeatures(
            personal=self.personal,
            public=self.public,
            minutes=self._entry(moments)[1],
            holiday=self._holidays.holds(moments),
            out_of_term=self._terms.reaches(moments) & ~self._terms.holds(moments),
            away=self._away.holds(moments),
            all_day=self._all_day.holds(moments),
        )

    def _entry(self, moments: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Of each moment the entry that goes on (the latest begun that has not ended), or the next; -1 for none."""
        count = len(self._begins)
        if not count:
            return np.full(moments.shape, -1), np.full(moments.shape, np.nan)
        after = np.searchsorted(self._begins, moments, side="right")
        last = np.maximum(after - 1, 0)
        longest = self._longest[last]
        going_on = np.where(self._ends[last] > moments, last, longest)
        is_on = (after > 0) & (self._ends[going_on] > moments)
        coming = np.minimum(after, count - 1)
        is_coming = (after < count) & (self._begins[coming] - moments <= _LOOK_AHEAD_S)
        which = np.where(is_on, going_on, np.where(is_coming, coming, -1))
        minutes = np.where(which >= 0, (self._begins[which] - moments) / 60.0, np.nan)
        return which, minutes


class _Spans:
    """Stretches of time, joined where they touch."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, times: Iterable[BusyTime]) -> None:
        begins, ends = list[float](), list[float]()
        for one in times:
            if ends and one.start_s <= ends[-1]:
                ends[-1] = max(ends[-1], one.end_s)
            else:
                begins.append(one.start_s)
                ends.append(one.end_s)
        self._begins, self._ends = np.array(begins), np.array(ends)

    def __bool__(self) -> bool:
        return len(self._begins) > 0

    def holds(self, moments: Floats) -> Flags:
        """Whether each moment is within a stretch."""
        if not self:
            return np.zeros(moments.shape, bool)
        place = np.searchsorted(self._begins, moments, side="right") - 1
        inside: Flags = (place >= 0) & (moments < self._ends[np.maximum(place, 0)])
        return inside

    def reaches(self, moments: Floats) -> Flags:
        """Whether each moment is between the first stretch's begin and the last one's end."""
        if not self:
            return np.zeros(moments.shape, bool)
        within: Flags = (moments >= self._begins[0]) & (moments < self._ends[-1])
        return within


def _index_of_latest_end(ends: Floats) -> NDArray[np.int64]:
    """For each entry which of it and those before ends last."""
    found, latest = np.zeros(len(ends), np.int64), 0
    for i, end in enumerate(ends):
        if end > ends[latest]:
            latest = i
        found[i] = latest
    return found

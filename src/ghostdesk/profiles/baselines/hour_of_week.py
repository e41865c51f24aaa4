"""Hour-of-week arrivals: when each user signs in, and when everyone together does.

A user's rate in a slot is shrunk in three steps (partial pooling, Gamma-Poisson): how often they come at all towards
everyone's; their habit at this time of day, weekdays and weekends apart, towards everyone's at their own frequency; and
this slot of the week towards that habit. The strength of the last step is estimated from the users by moments
(empirical Bayes: Robbins 1956; Clayton and Kaldor 1987 for rates).

Only slots that are over count: what happens in the running slot changes arrival rates from the next slot on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.baselines.pooled import PooledArrivals
from ghostdesk.profiles.baselines.sessions import USUAL_STAY_S, Sessions
from ghostdesk.profiles.baselines.slots import WeekSlots, sane
from ghostdesk.profiles.baselines.weekbits import Floats32, Habit, Ints, WeekBits
from ghostdesk.profiles.forecast import ArrivalCurve
from ghostdesk.telemetry.events import EventKind, UsageEvent

Floats = npt.NDArray[np.float64]
Floats16 = npt.NDArray[np.float16]

_DECAY = 0.9
_CHUNK = 2048
"""Users taken at a time, which bounds the working memory to some 40 MiB."""
_SAMPLE = 512
_FLAT_PRIOR = 5.0
"""Sign-ins a week of the average user before anything is known, spread evenly."""
_ACTIVITY_STRENGTH = 3.0
_DAYTIME_STRENGTH = 3.0
_MOST = 0.995
"""No habit is certain: the highest probability for one slot."""
IN_USE = "in-use"


@dataclass(frozen=True, slots=True)
class Outlook:
    """All users at once, shape (users, steps): chance of a sign-in in each step, and of being there in it."""

    arrival: Floats
    presence: Floats


def outlook_of(hazards: Floats, there: Floats, stay_s: Floats, slot_s: float) -> Outlook:
    """Chances of a sign-in, and of being there, from those of one given that none was before.

    A user who is there now can sign in only after leaving, which is taken to be memoryless, at their usual stay.

    Args:
        hazards: shape (users, steps).
        there: chance that each is there now, shape (users,).
        stay_s: how long they stay, on average, shape (users,).
        slot_s: length of a step.
    """
    stays_on = np.exp(-slot_s / stay_s)
    # One step after the other, everyone side by side in memory.
    arrival = np.array(hazards.T, order="C")
    presence = np.empty_like(arrival)
    still = there
    for step in range(len(arrival)):
        still = still * stays_on
        there = there * stays_on + (1.0 - there) * arrival[step]
        presence[step] = there
        arrival[step] *= 1.0 - still
    return Outlook(np.clip(arrival, 0.0, 1.0, out=arrival).T, np.clip(presence, 0.0, 1.0, out=presence).T)


class HourOfWeekArrivals:
    """An `ArrivalPredictor`. It keeps 1.4 kB a user, and refreshes all users at once when a slot of the week is over.

    Args:
        timezone: IANA name of the zone in which people live by the clock; raises `ConfigError` when unknown.
        week_slot_s: length of a slot of the week in seconds; a day has to be a whole number of them.
    """

    def __init__(self, timezone: str = "UTC", week_slot_s: int = 1800) -> None:
        self.slots = WeekSlots(timezone, week_slot_s)
        self.pooled = PooledArrivals(self.slots.a_week, self.slots.a_day)
        self.sessions = Sessions()
        self._bits = WeekBits(self.slots.a_week, _DECAY)
        self._rows: dict[UserId, int] = {}
        self._in_use: set[str] = set()
        self._chance: Floats16 = np.zeros((0, self.slots.a_week), dtype=np.float16)
        self._newcomer: Floats32 = np.full(self.slots.a_week, _FLAT_PRIOR / self.slots.a_week, dtype=np.float32)
        self._fresh_at: int | None = None

    # Learning.

    def observe(self, event: UsageEvent) -> bool:
        """Learn from one more event; True where somebody came. Events from before 1970 or after 2100 are ignored."""
        if not sane(event.time_s):
            return False
        if event.kind is EventKind.DESKTOP_STATE:
            return self._observe_state(event)
        if event.user is not None:
            number = self.slots.number(event.time_s)
            row = self._row(event.user, number)
            self.pooled.note(number)
            if self.sessions.observe(row, event):
                self._bits.mark(row, number)
                self.pooled.add(number)
                if self._fresh_at is not None and number < self._fresh_at:
                    self._fresh_at = None
                return True
        return False

    def release(self) -> None:
        """Drop the chances that were worked out, as something better is asked instead; they can be had again."""
        self._chance = np.zeros((0, self.slots.a_week), dtype=np.float16)
        self._fresh_at = None

    def users(self) -> tuple[UserId, ...]:
        """Everyone who was named in an event, in the order of their rows."""
        return tuple(self._rows)

    def hot_bytes(self) -> int:
        """Bytes that all users' rows take."""
        return self._bits.nbytes() + self.sessions.nbytes() + self._chance.nbytes

    def __len__(self) -> int:
        """How many users were named in an event."""
        return len(self._rows)

    def marked(self, row: int) -> list[int]:
        """Numbers of the slots in which the row's user came, as far as they are kept."""
        return self._bits.marked(row)

    def row(self, user: UserId) -> int | None:
        """The user's row in an `Outlook`."""
        return self._rows.get(user)

    def forget(self, user: UserId) -> None:
        """Drop what is known of a user, also their sign-ins among everyone's. The last row takes their place."""
        row = self._rows.get(user)
        if row is None:
            return
        for number in self._bits.marked(row):
            self.pooled.remove(number)
        last = len(self._rows) - 1
        self._bits.move(last, row)
        self.sessions.move(last, row)
        moved = {name: row if at == last else at for name, at in self._rows.items() if name != user}
        self._rows = dict(sorted(moved.items(), key=lambda item: item[1]))
        self._fresh_at = None

    # Forecasting.

    def predict(self, user: UserId | None, now_s: float, horizon_s: float, slot_s: float) -> ArrivalCurve:
        """Expected sign-ins of one user (each at most one a step), or of everyone when `user` is None."""
        if user is None:
            return self._predict_all(now_s, horizon_s, slot_s)
        self._refresh(now_s)
        row = self._rows.get(user)
        chance = self._newcomer[None, :] if row is None else self._chance[row : row + 1]
        hazards = self._hazards([chance], now_s, horizon_s, slot_s)
        return ArrivalCurve(now_s, slot_s, tuple(hazards[0].tolist()))

    def outlook(
        self,
        now_s: float,
        horizon_s: float,
        slot_s: float,
        adjust: Callable[[Sequence[UserId], Floats, Floats], Floats] | None = None,
    ) -> Outlook:
        """Every known user's chances, and a newcomer's in the last row.

        `adjust` may change the hazards of the users (users x steps) by what else is known of the steps' middles.
        """
        self._refresh(now_s)
        rows = len(self._rows)
        hazards = self._hazards([self._chance[:rows], self._newcomer[None, :]], now_s, horizon_s, slot_s)
        if adjust is not None:
            middles: Floats = now_s + (np.arange(hazards.shape[1], dtype=np.float64) + 0.5) * slot_s
            hazards[:rows] = adjust(tuple(self._rows), hazards[:rows], middles)
        there, stay_s = self.sessions.there(rows, now_s), self.sessions.stay_s(rows)
        return outlook_of(
            hazards, np.append(there, 0.0), np.append(stay_s, stay_s.mean() if rows else USUAL_STAY_S), slot_s
        )

    def there_now(self, user: UserId, now_s: float) -> bool:
        """Whether the user's session goes on."""
        row = self._rows.get(user)
        return row is not None and self.sessions.open_now(row, now_s)

    def came(self, user: UserId, number: int) -> bool:
        """Whether the user came in this slot, as far as it is kept."""
        row = self._rows.get(user)
        return row is not None and self._bits.came(row, number)

    def habit(self, user: UserId, number: int, most_weeks: int = 16) -> Habit:
        """How often the user came within a slot of the coming slot `number`, in the weeks before it."""
        row = self._rows.get(user)
        return Habit(0, 0) if row is None else self._bits.habit(row, number, most_weeks)

    # Inside.

    def _observe_state(self, event: UsageEvent) -> bool:
        """A shared desktop that comes into use is an arrival of somebody; told twice in a row, it is one."""
        number = self.slots.number(event.time_s)
        self.pooled.note(number)
        desktop = event.desktop or ""
        if event.detail != IN_USE:
            self._in_use.discard(desktop)
        elif desktop not in self._in_use:
            self._in_use.add(desktop)
            self.pooled.add(number)
            return True
        return False

    def _row(self, user: UserId, number: int) -> int:
        row = self._rows.setdefault(user, len(self._rows))
        if row >= len(self._bits):
            self._bits.grow()
            self.sessions.grow(len(self._bits))
        if self._bits.known_since(row, number):
            self._fresh_at = None
        return row

    def _predict_all(self, now_s: float, horizon_s: float, slot_s: float) -> ArrivalCurve:
        ahead, share = self.slots.pieces(now_s, horizon_s, slot_s)
        rates = self.pooled.predict(self.slots.number(now_s), self.slots.fraction(now_s), ahead)
        expected = (rates.expected * share).sum(axis=1)
        # Counts of longer slots are more over-dispersed: this is the dispersion of one slot of the curve.
        return ArrivalCurve(now_s, slot_s, tuple(expected.tolist()), rates.dispersion(float(expected.mean())))

    def _hazards(self, chances: Sequence[Floats16 | Floats32], now_s: float, horizon_s: float, slot_s: float) -> Floats:
        """Chances of a sign-in in each step, of the rows of all tables, shape (rows, steps)."""
        ahead, share = self.slots.pieces(now_s, horizon_s, slot_s)
        columns, where = np.unique(ahead % self.slots.a_week, return_inverse=True)
        logs = np.concatenate([np.log1p(-table[:, columns].astype(np.float64)) for table in chances]) * share
        counts = np.zeros((len(columns), len(ahead)))
        np.add.at(counts, (where.reshape(ahead.shape), np.arange(len(ahead))[:, None]), 1.0)
        return np.asarray(-np.expm1(logs @ counts))

    def _refresh(self, now_s: float) -> None:
        """Recompute every user's chances: once a slot of the week, and when something earlier was learnt since."""
        now = self.slots.number(now_s)
        if self._fresh_at == now:
            return
        users = len(self._rows)
        pool = self._pool_rates(now, users)
        self._newcomer = np.minimum(pool, _MOST).astype(np.float32)
        some = np.unique(np.linspace(0, users - 1, min(users, _SAMPLE)).astype(np.int64)) if users else np.arange(0)
        strength = self._estimate_strength(some, now, pool)
        if len(self._chance) < users:
            self._chance = np.zeros((len(self._bits), self.slots.a_week), dtype=np.float16)
        for start in range(0, users, _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, users))
            came, weeks = self._bits.read(rows, now)
            prior = self._prior(came, weeks, pool)
            self._chance[rows] = np.clip((came + strength * prior) / (weeks + strength), 0.0, _MOST)
        self._fresh_at = now

    def _pool_rates(self, now: int, users: int) -> Floats32:
        came = np.full(self.slots.a_week, _FLAT_PRIOR / self.slots.a_week)
        weeks = np.ones(self.slots.a_week)
        # A rate needs no more than some sixteen thousand people, spread over all.
        for start in range(0, users, _CHUNK * max(1, users // (8 * _CHUNK))):
            some = self._bits.read(np.arange(start, min(start + _CHUNK, users)), now)
            came += some[0].sum(axis=0, dtype=np.float64)
            weeks += some[1].sum(axis=0, dtype=np.float64)
        both = _smooth(np.stack((came, weeks)).astype(np.float32), self.slots)
        return np.asarray(both[0] / both[1])

    def _prior(self, came: Floats32, weeks: Floats32, pool: Floats32) -> Floats32:
        """What each user's slots are shrunk to: their time-of-day habit, times everyone's day of the week."""
        expected = weeks @ pool
        activity = (came.sum(axis=1) + _ACTIVITY_STRENGTH) / (expected + _ACTIVITY_STRENGTH)
        usual = _by_day_type(pool[None, :], self.slots, mean=True)
        habit = _by_day_type(_smooth(came, self.slots), self.slots, mean=False)
        known = _by_day_type(_smooth(weeks, self.slots), self.slots, mean=False)
        daytime = (habit + _DAYTIME_STRENGTH * activity[:, None] * usual) / (known + _DAYTIME_STRENGTH)
        prior: Floats32 = daytime * np.clip(pool[None, :] / usual, 0.1, 10.0)
        return np.minimum(prior, _MOST)

    def _estimate_strength(self, rows: Ints, now: int, pool: Floats32) -> float:
        """How many weeks the prior counts, by moments: the spread of users around it beyond chance; 0.5 to 20."""
        if len(rows) == 0:
            return 2.0
        came, weeks = self._bits.read(rows, now)
        mean = weeks * self._prior(came, weeks, pool)
        beyond = float(((came - mean) ** 2 - mean).sum(dtype=np.float64))
        scale = float((weeks * mean).sum(dtype=np.float64))
        return float(np.clip(scale / beyond, 0.5, 20.0)) if beyond > 0 else 20.0


def _smooth(table: Floats32, slots: WeekSlots) -> Floats32:
    """Spread each slot of the day a little to its neighbours: people are not punctual to the slot."""
    rows = len(table)
    days = table.reshape(rows, -1, slots.a_day)
    spread: Floats32 = 0.5 * days + 0.25 * np.roll(days, 1, axis=2) + 0.25 * np.roll(days, -1, axis=2)
    return spread.reshape(rows, -1)


def _by_day_type(table: Floats32, slots: WeekSlots, *, mean: bool) -> Floats32:
    """Sum (or mean) over the weekdays and over the weekend for each time of day, set back into the week's shape."""
    days = table.reshape(len(table), 7, slots.a_day)
    work, rest = days[:, :5].sum(axis=1, keepdims=True), days[:, 5:].sum(axis=1, keepdims=True)
    if mean:
        work, rest = work / 5.0, rest / 2.0
    both = np.concatenate((np.repeat(work, 5, axis=1), np.repeat(rest, 2, axis=1)), axis=1)
    return both.reshape(len(table), -1)

"""Arrivals as the running service forecasts them: the mixture of hazard experts, fed by events, slot by slot.

A slot is an hour, the same as in `ghostdesk evaluate arrivals` for people: what is scored there is what runs here.
Slot after slot the mixture and its experts learn who came, once the slot is over: a minute after its end, as events
may be on their way, with the first question or event after that. What happens in the slot that goes on changes who is
there. Until `ENOUGH_STARTS` sessions were seen the hour-of-week table is asked instead; then the mixture learns them
all, in order, and takes over.

Events that come late, when their slot is over, count in the table only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.arrivals.counts import EveryoneCounts
from ghostdesk.profiles.arrivals.model import ArrivalModel
from ghostdesk.profiles.arrivals.rows_in_use import DORMANT_S, RowsInUse
from ghostdesk.profiles.arrivals.seam import WEEK_S, Floats, Floats32, Ints, SlotBlock, SlotOutcome
from ghostdesk.profiles.arrivals.trained_blend import TrainedArrivals, TrainedBlend
from ghostdesk.profiles.baselines.hour_of_week import HourOfWeekArrivals, Outlook, outlook_of
from ghostdesk.profiles.baselines.sessions import ACTIVITY, USUAL_STAY_S
from ghostdesk.profiles.baselines.slots import sane
from ghostdesk.profiles.baselines.weekbits import Habit
from ghostdesk.profiles.forecast import ArrivalCurve
from ghostdesk.telemetry.events import EventKind, UsageEvent

SLOT_S = 3_600
ENOUGH_STARTS = 50
"""Sessions that must have been seen before the mixture is asked; on recorded histories it is the better one by then."""
_SILENCE_SLOTS = int(DORMANT_S // SLOT_S) + 48
"""After so many slots without an event of anybody, nobody is at risk, and time that passes teaches nothing."""
_GRACE_S = 60.0
_MOST_AT_ONCE = 24
"""Slots that are learnt when a forecast is asked for: after a standstill the next ticks go on."""
_CHUNK = 8_192
_SUMMED_SLOTS = 4
"""Slots ahead for which every row's hazard is worked out at once; the tick's horizon needs no more."""
_NOBODY = -1

Adjust = Callable[[Sequence[UserId], Floats, Floats], Floats]


@dataclass(slots=True)
class _Use:
    """A row is in use: a session began, goes on (until `end_s`, as far as is known), or has ended."""

    row: int
    time_s: float
    end_s: float
    began: bool = False
    ended: bool = False


@dataclass(slots=True)
class _Session:
    """A session that the mixture has yet to learn: of a row, or of nobody that is known (a shared desktop)."""

    row: int
    start_s: float
    end_s: float


class ArrivalForecasts:
    """An `ArrivalPredictor` of everybody: the table's answers at first, the mixture's from `ENOUGH_STARTS` on.

    Asking lets time pass: a slot is over when `_GRACE_S` have gone by after it, as events may be a little on their way.
    It keeps 1.9 kB a user, the table's bits for reasons and late events among them.

    Args:
        timezone: IANA name of the zone in which people live by the clock; raises `ConfigError` when unknown.
        enough_starts: see `ENOUGH_STARTS`.
        trained: asked once a slot, by the first question in it; what it says is blended in as it proves right.
    """

    def __init__(
        self,
        timezone: str = "UTC",
        enough_starts: int = ENOUGH_STARTS,
        trained: TrainedArrivals = lambda _begin_s, _slot_s: None,
    ) -> None:
        self.table = HourOfWeekArrivals(timezone)
        self.slots = self.table.slots
        self._enough = enough_starts
        self._trained = trained
        self._start_over()

    def _start_over(self) -> None:
        self._early: list[_Session] = []
        self._open: dict[int, _Session] = {}
        self._waiting: list[_Use] = []
        self._use = RowsInUse(SLOT_S)
        self._model: ArrivalModel | None = None
        self._everyone = EveryoneCounts(SLOT_S)
        self._slot = self._heard = 0
        self._count = 0
        self._ahead: Floats32 = np.zeros((0, 0), dtype=np.float32)
        self._ahead_at: tuple[int, int] | None = None
        self._changed: set[int] = set()
        self._blend = TrainedBlend()
        self._said: tuple[Ints, Floats, Floats] | None = None

    # Learning.

    def observe(self, event: UsageEvent) -> None:
        """Learn from one more event. Events from before 1970 or after 2100 are ignored."""
        if not sane(event.time_s):
            return
        row = self.table.row(event.user) if event.user is not None else None
        late = row is not None and event.time_s < self.table.sessions.last_s(row)
        came = self.table.observe(event)
        if event.user is None:
            if came:
                self._note(_Use(_NOBODY, event.time_s, event.time_s, began=True))
            return
        row = self.table.row(event.user)
        if row is None or late:
            return
        if event.kind in ACTIVITY:
            self._note(_Use(row, event.time_s, self.table.sessions.known_end_s(row), began=came))
        elif event.kind is EventKind.SIGN_OUT:
            self._note(_Use(row, event.time_s, event.time_s, ended=True))

    def users(self) -> tuple[UserId, ...]:
        """Everyone who was named in an event, in the order of their rows."""
        return self.table.users()

    def row(self, user: UserId) -> int | None:
        """The user's row in an `Outlook`."""
        return self.table.row(user)

    def forget(self, user: UserId) -> None:
        """Drop what is known of a user, also their part among everyone's. The last row takes their place."""
        row = self.table.row(user)
        if row is None:
            return
        last = len(self.table) - 1
        for number in self.table.marked(row):
            week, in_week = divmod(number, self.slots.a_week)
            self._everyone.table.remove(week, in_week * self.slots.slot_s // 3600)
        self.table.forget(user)
        self._early = [one for one in self._early if one.row != row]
        self._waiting = [one for one in self._waiting if one.row != row]
        for early in self._early:
            early.row = row if early.row == last else early.row
        for use in self._waiting:
            use.row = row if use.row == last else use.row
        self._open.pop(row, None)
        moved = self._open.pop(last, None)
        if moved is not None:
            self._open[row] = moved
        if self._model is not None:
            self._room(last + 1)
            self._model.forget(row, last)
            self._use.move(last, row)
            self._blend.grow(last + 1)
            self._blend.move(last, row)
            self._said = None
            if last == 0:
                self._model = ArrivalModel()
                self._model.grow(1)
        self._ahead_at = None

    def hot_bytes(self) -> int:
        """Bytes that all users' rows take, spare ones too."""
        model = self._model.nbytes() if self._model is not None else 0
        return self.table.hot_bytes() + self._use.nbytes() + self._blend.nbytes() + self._ahead.nbytes + model

    # Forecasting.

    @property
    def uses_mixture(self) -> bool:
        """Whether the mixture answers, and not the table."""
        return self._model is not None

    def weights(self, user: UserId | None = None) -> dict[str, float]:
        """How much each expert counts for a user, or for everyone; empty while the table answers."""
        if self._model is None:
            return {}
        row = self.table.row(user) if user is not None else None
        if row is None or row >= self._use.rows:
            return self._model.mixture.weights_of_everyone()
        return self._model.mixture.weights(row)

    def predict(self, user: UserId | None, now_s: float, horizon_s: float, slot_s: float) -> ArrivalCurve:
        """Expected sign-ins of one user (each at most one a step), or of everyone when `user` is None."""
        if self._model is None:
            return self.table.predict(user, now_s, horizon_s, slot_s)
        if user is None:
            return self._predict_all(now_s, horizon_s, slot_s)
        hazards = self._steps(self._of(user, now_s, horizon_s), now_s, horizon_s, slot_s)
        return ArrivalCurve(now_s, slot_s, tuple(hazards[0].tolist()))

    def outlook(self, now_s: float, horizon_s: float, slot_s: float, adjust: Adjust | None = None) -> Outlook:
        """Every known user's chances, and a newcomer's in the last row; see `HourOfWeekArrivals.outlook`."""
        if self._model is None:
            return self.table.outlook(now_s, horizon_s, slot_s, adjust)
        hazards = self._steps(self._everyones(now_s, horizon_s), now_s, horizon_s, slot_s)
        rows = len(hazards) - 1
        if adjust is not None:
            hazards[:rows] = adjust(self.table.users(), hazards[:rows], _middles(now_s, hazards, slot_s))
        there, stay_s = self.table.sessions.there(rows, now_s), self.table.sessions.stay_s(rows)
        usual_s = stay_s.mean() if rows else USUAL_STAY_S
        return outlook_of(hazards, np.append(there, 0.0), np.append(stay_s, usual_s), slot_s)

    def outlook_of(
        self, user: UserId, now_s: float, horizon_s: float, slot_s: float, adjust: Adjust | None = None
    ) -> Outlook:
        """One user's chances, or a newcomer's, in a single row: over a long horizon, without working out everyone's."""
        row = self.table.row(user)
        if self._model is None:
            whole = self.table.outlook(now_s, horizon_s, slot_s, adjust)
            at = len(whole.arrival) - 1 if row is None else row
            return Outlook(whole.arrival[at : at + 1], whole.presence[at : at + 1])
        hazards = self._steps(self._of(user, now_s, horizon_s), now_s, horizon_s, slot_s)
        if row is None:
            return outlook_of(hazards, np.zeros(1), np.array([self.table.sessions.usual_stay_s()]), slot_s)
        if adjust is not None:
            hazards = adjust((user,), hazards, _middles(now_s, hazards, slot_s))
        there = self.table.sessions.there(row + 1, now_s)[row:]
        return outlook_of(hazards, there, self.table.sessions.stay_s(row + 1)[row:], slot_s)

    def there_now(self, user: UserId, now_s: float) -> bool:
        """Whether the user's session goes on."""
        return self.table.there_now(user, now_s)

    def came(self, user: UserId, number: int) -> bool:
        """Whether the user came in this slot of the table, as far as it is kept."""
        return self.table.came(user, number)

    def habit(self, user: UserId, number: int) -> Habit:
        """How often the user came within a slot of the table's coming slot `number`, in the weeks before it."""
        return self.table.habit(user, number)

    # Inside: what happens to rows.

    def _note(self, use: _Use) -> None:
        if self._model is None:
            self._note_early(use)
            return
        self._pass_with(use.time_s)
        slot = int(use.time_s // SLOT_S)
        self._heard = max(self._heard, slot)
        if slot > self._slot:
            self._waiting.append(use)
        elif slot == self._slot:
            self._apply(use)

    def _apply(self, use: _Use) -> None:
        self._count += use.began
        if use.row == _NOBODY:
            return
        self._room(use.row + 1)
        if not use.ended:
            self._use.used(use.row, use.end_s, started=use.began)
        elif not self._use.ended(use.row, use.time_s):
            return
        self._changed.add(use.row)

    def _note_early(self, use: _Use) -> None:
        """Before the mixture takes over, sessions are kept as they are."""
        session = self._open.get(use.row)
        if use.began:
            session = _Session(use.row, use.time_s, use.end_s)
            self._early.append(session)
            if use.row != _NOBODY:
                self._open[use.row] = session
            if len(self._early) >= self._enough:
                self._take_over()
        elif session is not None:
            session.end_s = min(session.end_s, use.time_s) if use.ended else use.end_s
            if use.ended:
                del self._open[use.row]

    def _take_over(self) -> None:
        """The mixture learns all sessions so far, in order, and answers from now on."""
        self._model = ArrivalModel()
        self._model.grow(len(self.table) + 1)
        self._use.grow(len(self.table))
        early = sorted(self._early, key=lambda one: one.start_s)
        self._early, self._open = [], {}
        self._heard = int(early[0].start_s // SLOT_S)
        self._begin_slot(self._heard)
        for one in early:
            self._note(_Use(one.row, one.start_s, one.end_s, began=True))
        self.table.release()

    def _room(self, rows: int) -> None:
        """Rows that are known, and one that stays empty: a newcomer's."""
        if rows > self._use.rows:
            self._use.grow(rows)
            if self._model is not None:
                self._model.grow(rows + 1)

    # Inside: slots.

    def _pass_with(self, time_s: float) -> None:
        """Let time pass to an event; after long silence there is nothing to learn from it."""
        slot = int((time_s - _GRACE_S) // SLOT_S)
        self._pass_to(min(slot, self._heard + _SILENCE_SLOTS))
        if slot > self._slot:
            self._begin_slot(slot)

    def _pass_to(self, slot: int) -> None:
        """All slots before this one are over."""
        while self._slot < slot:
            self._learn_slot()
            self._begin_slot(self._slot + 1)

    def _begin_slot(self, slot: int) -> None:
        self._slot, self._count = slot, 0
        self._use.begin_slot(float(slot) * SLOT_S)
        due = [use for use in self._waiting if use.time_s < (slot + 1) * float(SLOT_S)]
        self._waiting = self._waiting[len(due) :]
        for use in due:
            self._apply(use)

    def _learn_slot(self) -> None:
        model = self._model
        if model is None:
            return
        local_s = self.slots.local_s(float(self._slot) * SLOT_S)
        block, outcome = self._use.over(local_s)
        summed = 0.0
        if len(block.rows):
            said = model.said(block)
            summed = float(model.mix(block, said)[block.at_risk].sum())
            model.learn(block, outcome, said)
            if self._said is not None:
                self._learn_trust(block, outcome, *self._said)
        self._said = None
        week, hour = _hour(local_s)
        self._everyone.learn(week, hour, self._count, summed)

    def _learn_trust(
        self, block: SlotBlock, outcome: SlotOutcome, rows: Ints, mixture: Floats, trained: Floats
    ) -> None:
        """Of the trained model, from the rows of which it spoke while they were idle."""
        _, ours, theirs = np.intersect1d(block.rows[block.at_risk[:, 0]], rows, return_indices=True)
        started = outcome.started[block.at_risk[:, 0], 0][ours]
        self._blend.learn(rows[theirs], mixture[theirs], trained[theirs], started)

    def _blend_trained(self, first: int) -> None:
        """The first question in a slot: blend in what the trained model says of people who are not there."""
        slots = self._ahead.shape[1]
        begin_s: Floats = (first + np.arange(slots, dtype=np.float64)) * SLOT_S
        told = self._trained(begin_s, SLOT_S)
        if told is None or first != self._slot:
            return
        at = [(row, place) for place, user in enumerate(told.users) if (row := self.table.row(user)) is not None]
        rows, places = (np.array(one, dtype=np.int64) for one in (zip(*at, strict=True) if at else ((), ())))
        idle = self._use.idle(rows)
        rows, trained = rows[idle], told.hazards[places[idle]]
        self._blend.grow(len(self.table))
        mixture = self._ahead[rows].astype(np.float64)
        self._said = (rows, mixture[:, 0], trained[:, 0])
        self._ahead[rows] = self._blend.mix(rows, mixture, trained)

    def _ahead_of(self, rows: Ints, first: int, slots: int) -> Floats32:
        """Hazards of slots from `first` on, shape (rows, slots)."""
        model = self._model
        found = np.zeros((len(rows), slots), dtype=np.float32)
        if model is None or not slots:
            return found
        begin_s: Floats = (first + np.arange(slots, dtype=np.float64)) * SLOT_S
        local_s = np.array([self.slots.local_s(one) for one in begin_s.tolist()])
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            found[part] = model.hazards(self._use.ahead(rows[part], begin_s, local_s))
        return found

    def _slots_of(self, now_s: float, horizon_s: float) -> tuple[int, int]:
        """The slot that goes on, and how many the horizon reaches into."""
        over = int((now_s - _GRACE_S) // SLOT_S)
        self._pass_to(min(over, self._heard + _SILENCE_SLOTS, self._slot + _MOST_AT_ONCE))
        first = int(now_s // SLOT_S)
        return first, int((now_s + horizon_s - 1e-6) // SLOT_S) - first + 1

    def _of(self, user: UserId, now_s: float, horizon_s: float) -> Floats32:
        first, slots = self._slots_of(now_s, horizon_s)
        rows = len(self.table)
        self._room(rows)
        row = self.table.row(user)
        at = rows if row is None else row
        fresh = self._ahead_at == (first, self._slot) and row not in self._changed
        if fresh and slots <= self._ahead.shape[1] and at < len(self._ahead) - 1:
            return self._ahead[at : at + 1, :slots]
        found = self._ahead_of(np.array([at]), first, slots)
        if fresh and at < len(self._ahead) - 1:
            found[0, : self._ahead.shape[1]] = self._ahead[at]
        return found

    def _everyones(self, now_s: float, horizon_s: float) -> Floats32:
        """Hazards of everybody, and a newcomer's last; worked out once a slot, and anew for whoever came or left."""
        first, slots = self._slots_of(now_s, horizon_s)
        rows = len(self.table)
        self._room(rows)
        if self._ahead_at != (first, self._slot) or self._ahead.shape[1] < slots:
            self._ahead = self._ahead_of(np.arange(rows + 1), first, max(slots, _SUMMED_SLOTS))
            self._ahead_at = (first, self._slot)
            self._blend_trained(first)
        elif self._changed or len(self._ahead) != rows + 1:
            known = len(self._ahead) - 1
            changed = np.array(sorted(row for row in self._changed if row < known), dtype=np.int64)
            fresh = self._ahead_of(np.append(changed, np.arange(known, rows + 1)), first, self._ahead.shape[1])
            if rows > known:
                self._ahead = np.concatenate((self._ahead[:known], fresh[len(changed) :]))
            self._ahead[changed] = fresh[: len(changed)]
        self._changed = set()
        return self._ahead[:, :slots]

    def _steps(self, hazards: Floats32, now_s: float, horizon_s: float, slot_s: float) -> Floats:
        """Hazards of the steps of a curve from those of whole slots, shape (rows, steps); even within a slot."""
        parts = _parts(now_s, horizon_s, slot_s, hazards.shape[1])
        return np.asarray(-np.expm1(np.log1p(-hazards) @ parts.astype(np.float32))).astype(np.float64)

    def _predict_all(self, now_s: float, horizon_s: float, slot_s: float) -> ArrivalCurve:
        first, slots = self._slots_of(now_s, horizon_s)
        hazards = self._everyones(now_s, min(horizon_s, (_SUMMED_SLOTS - 1) * SLOT_S))
        absent = 1.0 - self.table.sessions.there(len(hazards) - 1, now_s)
        summed = np.full(slots, np.nan)
        summed[: min(slots, hazards.shape[1])] = (absent @ hazards[:-1])[:slots]
        hours = [_hour(self.slots.local_s(float(first + at) * SLOT_S))[1] for at in range(slots)]
        count = self._count if first == self._slot else 0
        found = self._everyone.ahead(hours, summed.tolist(), count, now_s / SLOT_S - first)
        expected = found.mean @ _parts(now_s, horizon_s, slot_s, slots)
        # Counts of longer slots are more over-dispersed: this is the dispersion of one slot of the curve.
        dispersion = 1.0 + found.spread * float(expected.mean())
        return ArrivalCurve(now_s, slot_s, tuple(expected.tolist()), dispersion)


def _hour(local_s: float) -> tuple[int, int]:
    """Number of the week, and hour of the week."""
    week = int(local_s // WEEK_S)
    return week, int((local_s - week * WEEK_S) // 3600)


def _middles(now_s: float, hazards: Floats, slot_s: float) -> Floats:
    return np.asarray(now_s + (np.arange(hazards.shape[1], dtype=np.float64) + 0.5) * slot_s)


def _parts(now_s: float, horizon_s: float, slot_s: float, slots: int) -> Floats:
    """How much of each slot lies in each step, shape (slots, steps)."""
    steps = max(1, min(int(np.ceil(horizon_s / slot_s - 1e-9)), 10_000))
    at_s = now_s % SLOT_S + np.arange(steps, dtype=np.float64) * slot_s
    begin_s = np.arange(slots, dtype=np.float64)[:, None] * SLOT_S
    last_s = np.where(np.arange(slots)[:, None] == slots - 1, np.inf, begin_s + SLOT_S)
    return np.asarray(np.clip(np.minimum(last_s, at_s + slot_s) - np.maximum(begin_s, at_s), 0.0, slot_s) / SLOT_S)

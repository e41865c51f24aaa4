"""Sessions: when each user came, whether they are there, and how long they stay."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.telemetry.events import EventKind, UsageEvent

SESSION_GAP_S = 7_200.0
"""Without sign-ins, a session is a run of activity with gaps under two hours."""
FORGOTTEN_S = 12 * 3_600.0
"""A sign-in with no sign-out and no activity for so long has ended unseen."""
_AWAY_CHANCE = 0.5
_FADE_S = 3_600.0
"""How fast the belief fades that a user without sign-ins is still there after the last activity."""
USUAL_STAY_S = 7_200.0
_PRIOR_STAYS = 3.0
_STAY_DECAY = 0.95
_POOL_STAY_DECAY = 0.999

ACTIVITY = frozenset(
    {
        EventKind.SIGN_IN,
        EventKind.APP_LAUNCH,
        EventKind.APP_FOCUS,
        EventKind.ACTIVE,
        EventKind.MICROPHONE,
        EventKind.CAMERA,
        EventKind.FILE_OPENED,
    }
)
"""Kinds of event that only a present user causes. Resource samples are not among them: a bound ghost sends them too."""

Floats = npt.NDArray[np.float64]


class Sessions:
    """Follows every user's session by row number; rows are added with `grow`.

    Events older than the user's latest change nothing here, except that a late sign-in still counts as an arrival.
    """

    def __init__(self) -> None:
        self._last_s = np.full(0, -np.inf)
        self._start_s = np.full(0, -np.inf)
        self._signed_in = np.zeros(0, dtype=bool)
        self._open = np.zeros(0, dtype=bool)
        self._away = np.zeros(0, dtype=bool)
        self._stays = np.zeros((0, 2))
        self._pool_stays = np.array([_PRIOR_STAYS, _PRIOR_STAYS * USUAL_STAY_S])

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        more = max(rows - len(self._last_s), 0)
        self._last_s = np.concatenate((self._last_s, np.full(more, -np.inf)))
        self._start_s = np.concatenate((self._start_s, np.full(more, -np.inf)))
        self._signed_in = np.concatenate((self._signed_in, np.zeros(more, dtype=bool)))
        self._open = np.concatenate((self._open, np.zeros(more, dtype=bool)))
        self._away = np.concatenate((self._away, np.zeros(more, dtype=bool)))
        self._stays = np.concatenate((self._stays, np.zeros((more, 2))))

    def nbytes(self) -> int:
        """Bytes that the rows take."""
        kept = (self._last_s, self._start_s, self._signed_in, self._open, self._away, self._stays)
        return sum(array.nbytes for array in kept)

    def move(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`, and is empty then."""
        for kept, empty in (
            (self._last_s, -np.inf), (self._start_s, -np.inf), (self._signed_in, False), (self._open, False),
            (self._away, False), (self._stays, 0.0),
        ):  # fmt: skip
            kept[target] = kept[source]
            kept[source] = empty

    def observe(self, row: int, event: UsageEvent) -> bool:
        """Take in one event; True when it began a session."""
        late = event.time_s < self._last_s[row]
        if late:
            return event.kind is EventKind.SIGN_IN
        if event.kind is EventKind.SIGN_OUT:
            self._close(row, event.time_s)
            self._last_s[row] = event.time_s
        elif event.kind is EventKind.IDLE:
            self._away[row] = True
        elif event.kind in ACTIVITY:
            return self._activity(row, event)
        return False

    def open_now(self, row: int, now_s: float) -> bool:
        """Whether the user's session goes on, as far as is known."""
        silence_s = now_s - self._last_s[row]
        return bool(self._open[row] and silence_s < (FORGOTTEN_S if self._signed_in[row] else SESSION_GAP_S))

    def last_s(self, row: int) -> float:
        """The latest event of the row that counts; minus infinity before the first."""
        return float(self._last_s[row])

    def known_end_s(self, row: int) -> float:
        """When the row's session ends, or did, if nothing more is heard; minus infinity before the first."""
        if not self._open[row]:
            return float(self._last_s[row])
        return float(self._last_s[row]) + (FORGOTTEN_S if self._signed_in[row] else SESSION_GAP_S)

    def there(self, rows: int, now_s: float) -> Floats:
        """Probability that each user is there now, shape (rows,)."""
        silence_s = np.maximum(now_s - self._last_s[:rows], 0.0)
        signed = np.where(silence_s < FORGOTTEN_S, np.where(self._away[:rows], _AWAY_CHANCE, 1.0), 0.0)
        seen = np.where(silence_s < SESSION_GAP_S, np.exp(-silence_s / _FADE_S), 0.0)
        return np.where(self._open[:rows], np.where(self._signed_in[:rows], signed, seen), 0.0)

    def usual_stay_s(self) -> float:
        """Expected length of anybody's sessions."""
        return float(np.clip(self._pool_stays[1] / self._pool_stays[0], 600.0, FORGOTTEN_S))

    def stay_s(self, rows: int) -> Floats:
        """Expected length of each user's sessions, shrunk towards everyone's, shape (rows,)."""
        pool_s = self._pool_stays[1] / self._pool_stays[0]
        stays = self._stays[:rows]
        means = (stays[:, 1] + _PRIOR_STAYS * pool_s) / (stays[:, 0] + _PRIOR_STAYS)
        return np.asarray(np.clip(means, 600.0, FORGOTTEN_S))

    def _activity(self, row: int, event: UsageEvent) -> bool:
        went_on = self.open_now(row, event.time_s)
        # Logs without sign-outs tell sessions apart by their sign-ins; a reload of the page is no new session.
        again = event.kind is EventKind.SIGN_IN and event.time_s - self._last_s[row] >= SESSION_GAP_S
        begins = bool(not went_on or again)
        if begins:
            self._close(row, self._last_s[row])
            self._start_s[row] = event.time_s
            self._open[row] = True
            self._signed_in[row] = False
        if event.kind is EventKind.SIGN_IN:
            self._signed_in[row] = True
        self._away[row] = False
        self._last_s[row] = event.time_s
        return begins

    def _close(self, row: int, end_s: float) -> None:
        if self._open[row]:
            length_s = min(max(end_s - self._start_s[row], 0.0), 2 * FORGOTTEN_S)
            self._stays[row] = self._stays[row] * _STAY_DECAY + (1.0, length_s)
            self._pool_stays = self._pool_stays * _POOL_STAY_DECAY + (1.0, length_s)
        self._open[row] = self._signed_in[row] = self._away[row] = False

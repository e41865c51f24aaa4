"""What is replayed: everyone's sessions on one line of time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

import numpy as np

from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.arrivals.seam import Floats, Ints

DAY_S = 86_400.0
_LEARN_DAYS = 28.0
_LEARN_SHARE = 0.2


@dataclass(frozen=True)
class Sessions:
    """Everyone's sessions in the order of their starts. All arrays have the shape (sessions,).

    Args:
        names: of the rows: people, or shared desktops.
        row: whose each session is.
        start_s, end_s: UTC seconds.
        named: rows are people, who may have ghosts of their own; else any ready ghost serves any start.
        notes: what the reader of the history's file found odd.
    """

    names: tuple[str, ...]
    row: Ints
    start_s: Floats
    end_s: Floats
    named: bool
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.start_s)


@dataclass(frozen=True, slots=True)
class Window:
    """Which part is judged, UTC seconds: what lies before `judge_s` is learnt from, what starts in
    ``[judge_s, until_s)`` is replayed."""

    judge_s: float
    until_s: float

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.until_s - self.judge_s) / 3600.0


def sessions_of(rows: Sequence[RowUse], *, named: bool, notes: Sequence[str] = ()) -> Sessions:
    """Rows' uses, put on one line."""
    row = np.repeat(np.arange(len(rows)), [len(one.start_s) for one in rows])
    start_s = np.concatenate([np.zeros(0), *(one.start_s for one in rows)])
    end_s = np.concatenate([np.zeros(0), *(one.end_s for one in rows)])
    order = np.argsort(start_s, kind="stable")
    return Sessions(
        tuple(one.name for one in rows), row[order].astype(np.int64), start_s[order], end_s[order], named, tuple(notes)
    )


def between(sessions: Sessions, from_s: float | None, until_s: float | None) -> Sessions:
    """The sessions that start in ``[from_s, until_s)``; raises `ConfigError` when none does."""
    if from_s is not None and until_s is not None and from_s >= until_s:
        raise ConfigError("--from lies at or after --until.", "Give an earlier --from, or a later --until.")
    low = -np.inf if from_s is None else from_s
    high = np.inf if until_s is None else until_s
    kept = (sessions.start_s >= low) & (sessions.start_s < high)
    if not kept.any():
        raise ConfigError(
            f"No session starts in that time; the history tells of {_span(sessions)}.", "Choose other dates."
        )
    return Sessions(
        sessions.names, sessions.row[kept], sessions.start_s[kept], sessions.end_s[kept], sessions.named, sessions.notes
    )


def window_of(sessions: Sessions, train_until_s: float | None, until_s: float | None, zone: tzinfo) -> Window:
    """What is judged: from `train_until_s` on; where None, from local midnight after the first four weeks, or a fifth
    of a short history.

    Raises:
        ConfigError: nothing is left to be judged.
    """
    first_s, last_s = float(sessions.start_s[0]), float(sessions.start_s[-1])
    if train_until_s is None:
        learn_s = min(_LEARN_DAYS * DAY_S, _LEARN_SHARE * (last_s - first_s))
        train_until_s = _midnight_after(first_s + learn_s, zone) if learn_s >= DAY_S else first_s
    end_s = until_s if until_s is not None else last_s + 1.0
    if not (sessions.start_s >= train_until_s).any():
        raise ConfigError(
            f"No session starts after --train-until; the history tells of {_span(sessions)}.", "Give an earlier date."
        )
    return Window(train_until_s, min(end_s, last_s + DAY_S))


def _midnight_after(time_s: float, zone: tzinfo) -> float:
    local = datetime.fromtimestamp(time_s, zone)
    return (local.replace(hour=0, minute=0, second=0, microsecond=0)).timestamp() + DAY_S


def parts_of(window: Window, start_s: Floats, parts: int, zone: tzinfo) -> list[Window]:
    """The window in up to so many parts with about as many starts each, cut at local Mondays' midnights."""
    inside = start_s[(start_s >= window.judge_s) & (start_s < window.until_s)]
    edges = [window.judge_s]
    for part in range(1, parts):
        wanted = inside[len(inside) * part // parts] if len(inside) else window.judge_s
        local = datetime.fromtimestamp(float(wanted), zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        monday_s = (midnight - timedelta(days=local.weekday())).timestamp()
        if edges[-1] < monday_s < window.until_s:
            edges.append(monday_s)
    return [Window(judge_s, until_s) for judge_s, until_s in pairwise([*edges, window.until_s])]


def _span(sessions: Sessions) -> str:
    if not len(sessions):
        return "nothing"
    first, last = (datetime.fromtimestamp(t).astimezone().date() for t in sessions.start_s[[0, -1]].tolist())
    return f"{first} to {last}"

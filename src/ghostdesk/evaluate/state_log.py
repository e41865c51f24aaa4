"""From a state log of desktops to their use, with every oddity named, counted, and mended by a stated rule. Pure.

A start of use is a change to in-use. Nothing is dropped in silence: what a log tells twice, not at all, or against
itself becomes a `Finding` that says how often, and what was made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.profiles.arrivals.seam import Flags, Floats, Ints

IN_USE = "in-use"
KNOWN_STATES = frozenset({IN_USE, "available", "restarted", "offline"})
GAP_S = 36 * 3600.0
"""No desktop at all said anything for so long: the log has a gap."""
AWAY_S = 28 * 86_400.0
LONGEST_S = 86_400.0
_SHORTEST_S = 1.0
_BACK_S = (1_500.0, 7_500.0)
"""A clock that is set back goes back by half an hour to two hours."""
_TIDY = 1e-3
"""Files with fewer steps back than this share of their rows are in the order of time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd in a history.

    Args:
        code: a stable word for scripts.
        count: how often.
        what: what was found, for people.
        rule: what was made of it.
    """

    code: str
    count: int
    what: str
    rule: str

    def sentence(self) -> str:
        """For the notes under a table."""
        return f"{self.what}: {self.rule}."


def desktop_uses(
    names: Sequence[str], desktop: Ints, state: Ints, time_s: Floats, states: Sequence[str]
) -> tuple[list[RowUse], list[Finding]]:
    """Each desktop's use, in the order of `names`, and what was odd.

    Args:
        names: of the desktops, by code.
        desktop, state: codes, shape (rows,), rows sorted by time; rows of one second in the order of the file.
        time_s: UTC seconds, shape (rows,).
        states: names of the states in lower case, by code.
    """
    order = np.argsort(desktop, kind="stable")
    of, told, when = desktop[order], state[order], time_s[order]
    used = np.array([name == IN_USE for name in states])[told]
    gaps = _gaps(time_s)
    log_s = (float(time_s[0]), float(time_s[-1])) if len(time_s) else (0.0, 0.0)
    edges = np.searchsorted(of, np.arange(len(names) + 1))
    tally = _Tally()
    rows = [
        _one(name, when[a:b], used[a:b], gaps, log_s, tally)
        for name, a, b in zip(names, edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    again = (of[1:] == of[:-1]) & (told[1:] == told[:-1])
    tally.told_again = int((again & ~used[1:]).sum())
    tally.in_use_again = int((again & used[1:]).sum())
    return rows, [*_unknown(states, told), *_of_gaps(gaps, tally), *_of_uses(tally), *_of_presence(tally)]


@dataclass
class _Tally:
    told_again: int = 0
    in_use_again: int = 0
    over_gap: int = 0
    no_length: int = 0
    merged: int = 0
    open_ended: int = 0
    long: int = 0
    late: int = 0
    gone: int = 0
    away: int = 0


def _one(name: str, time_s: Floats, used: Flags, gaps: Floats, log_s: tuple[float, float], tally: _Tally) -> RowUse:
    if not len(time_s):
        return RowUse(name, np.zeros(0), np.zeros(0), np.zeros(0), -np.inf)
    tally.late += int(time_s[0] > log_s[0] + AWAY_S)
    tally.gone += int(time_s[-1] < log_s[1] - AWAY_S)
    tally.away += int((np.diff(time_s) > AWAY_S).sum())
    change = np.diff(used.astype(np.int8), prepend=np.int8(0))
    start_s, end_s = time_s[change > 0], time_s[change < 0]
    if len(end_s) < len(start_s):
        tally.open_ended += 1
        end_s = np.append(end_s, min(log_s[1], time_s[-1] + LONGEST_S))
    tally.long += int((end_s - start_s > LONGEST_S).sum())
    end_s = _ended_by_gaps(start_s, end_s, gaps, tally)
    short = end_s - start_s < _SHORTEST_S
    tally.no_length += int(short.sum())
    end_s = np.where(short, start_s + _SHORTEST_S, end_s)
    apart = np.ones(len(start_s), dtype=bool)
    if len(start_s) > 1:
        apart[1:] = start_s[1:] >= end_s[:-1]
    tally.merged += int((~apart).sum())
    return RowUse(name, start_s[apart], _joined(end_s, apart), np.zeros(int(apart.sum())), float(time_s[-1]))


def _joined(end_s: Floats, apart: Flags) -> Floats:
    """Of uses that begin in the same second, the latest end; shape (uses that are apart,)."""
    if not len(end_s):
        return end_s
    return np.asarray(np.maximum.reduceat(end_s, np.flatnonzero(apart)))


def _ended_by_gaps(start_s: Floats, end_s: Floats, gaps: Floats, tally: _Tally) -> Floats:
    for begin_s, until_s in gaps.tolist():
        over = (start_s <= begin_s) & (end_s >= until_s)
        tally.over_gap += int(over.sum())
        end_s = np.where(over, np.maximum(begin_s, start_s), end_s)
    return end_s


def _gaps(time_s: Floats) -> Floats:
    """Begin and end of each gap, shape (gaps, 2)."""
    at = np.flatnonzero(np.diff(time_s) > GAP_S)
    return np.stack((time_s[at], time_s[at + 1]), axis=1) if len(at) else np.zeros((0, 2))


def _unknown(states: Sequence[str], told: Ints) -> list[Finding]:
    odd = {code: name for code, name in enumerate(states) if name not in KNOWN_STATES}
    count = int(np.isin(told, list(odd)).sum())
    if not count:
        return []
    shown = ", ".join(sorted(odd.values())[:5])
    what = f"{count:,} rows name other states than {', '.join(sorted(KNOWN_STATES))} ({shown})"
    return [Finding("unknown-state", count, what, "they end a use, as any state but in-use does")]


def _of_gaps(gaps: Floats, tally: _Tally) -> list[Finding]:
    if not len(gaps):
        return []
    longest = gaps[np.argmax(gaps[:, 1] - gaps[:, 0])]
    days = (longest[1] - longest[0]) / 86_400.0
    what = (
        f"{len(gaps):,} times the whole log is silent for {GAP_S / 3600:.0f} h or more (the longest from "
        f"{_day(longest[0])}, {days:.1f} days)"
    )
    rule = f"nobody starts in a gap, and a use that lasts beyond one ends where it begins ({tally.over_gap:,} uses)"
    return [Finding("gap", len(gaps), what, rule)]


def _of_uses(tally: _Tally) -> list[Finding]:
    found = [
        Finding(
            "overlap", tally.in_use_again, f"{tally.in_use_again:,} times a desktop in use was told to be in use again",
            "it is one use, from the first time on",
        ),
        Finding(
            "told-again", tally.told_again, f"{tally.told_again:,} rows tell a state that the desktop had already",
            "they change nothing",
        ),
        Finding(
            "no-length", tally.no_length, f"{tally.no_length:,} uses end in the second in which they begin",
            "each counts as a start and lasts one second"
            + (f"; {tally.merged:,} of one desktop and second count once" if tally.merged else ""),
        ),
        Finding(
            "never-ends", tally.open_ended, f"{tally.open_ended:,} desktops are in use when the log ends",
            f"that use ends with the log, at the latest {LONGEST_S / 3600:.0f} h after the desktop's last row",
        ),
        Finding(
            "long-use", tally.long, f"{tally.long:,} uses last for more than {LONGEST_S / 3600:.0f} h",
            "they are taken as told: a desktop in use is not idle",
        ),
    ]  # fmt: skip
    return [finding for finding in found if finding.count]


def _of_presence(tally: _Tally) -> list[Finding]:
    days = AWAY_S / 86_400.0
    found = [
        Finding(
            "appears", tally.late, f"{tally.late:,} desktops appear {days:.0f} days or more after the log begins",
            "each counts from its first row on",
        ),
        Finding(
            "vanishes", tally.gone, f"{tally.gone:,} desktops say nothing in the last {days:.0f} days or longer",
            f"each counts until {days:.0f} days after its last row",
        ),
        Finding(
            "away", tally.away, f"{tally.away:,} times a desktop says nothing for {days:.0f} days and comes back",
            "in that time it counts as idle, but is not scored after four weeks",
        ),
    ]  # fmt: skip
    return [finding for finding in found if finding.count]


def mend_clock(time_s: Floats, repeated_s: npt.NDArray[np.float64]) -> tuple[Floats, list[Finding]]:
    """Times of rows in the order of the file, and what the clock did.

    Where a zone's clock is set back, an hour of local time comes twice. In a file that is in the order of time, the
    rows after the step back belong to the second of them.

    Args:
        time_s: UTC seconds, shape (rows,), the first of the two where local time comes twice.
        repeated_s: how much later the second of the two is, shape (rows,); 0 where local time comes once.
    """
    found: list[Finding] = []
    if len(time_s) < 2:
        return time_s, found
    steps = np.diff(time_s)
    tidy = float((steps < 0).sum()) <= max(_TIDY * len(time_s), 2.0)
    doubtful = repeated_s > 0
    if doubtful.any():
        mended = _second_hours(time_s, repeated_s) if tidy else time_s
        moved = int((mended != time_s).sum())
        count = int(doubtful.sum())
        what = f"{count:,} rows lie in an hour that the clock of the time zone repeats"
        rule = f"{moved:,} of them come after a step back in the file and count as its second, the others as its first"
        found.append(Finding("repeated-hour", count, what, rule))
        time_s, steps = mended, np.diff(mended)
    back = np.flatnonzero((steps <= -_BACK_S[0]) & (steps >= -_BACK_S[1]))
    if tidy and len(back):
        first = f"first by {-steps[back[0]] / 60:.0f} min, at {_day(time_s[back[0]])}"
        what = f"{len(back):,} times the clock goes back ({first})"
        found.append(Finding("clock-back", len(back), what, "times are taken as told, and rows sorted by them"))
    return time_s, found


def _second_hours(time_s: Floats, repeated_s: Floats) -> Floats:
    mended = time_s.copy()
    doubtful = np.flatnonzero(repeated_s > 0)
    # rows of one change of the clock stand together in the file; several are weeks apart
    for part in np.split(doubtful, np.flatnonzero(np.diff(time_s[doubtful]) > 86_400.0) + 1):
        highest = np.maximum.accumulate(time_s[part])
        after = np.flatnonzero(highest - time_s[part] >= _BACK_S[0] / 2)
        if len(after):
            late = part[after[0] :]
            mended[late] += repeated_s[late]
    return mended


def _day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M")

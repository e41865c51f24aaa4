"""When the desktops of a state log were on, and in use: what energy is worked out from. Pure.

A desktop is on from a row that tells any state but offline until its next row, for `AWAY_S` (four weeks) at most, after
which a silent desktop counts as off; and for as long as it is in use (`state_log.desktop_uses`), whatever is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.evaluate.readers import States
from ghostdesk.evaluate.state_log import AWAY_S, desktop_uses
from ghostdesk.profiles.arrivals.seam import Flags, Floats, Ints

OFFLINE = "offline"


@dataclass(frozen=True)
class DesktopTimes:
    """One desktop's times, each in order and apart, UTC seconds.

    Args:
        name: its name.
        on_s: begin and end of when it was on, shape (times, 2).
        start_s, end_s: of uses, shape (uses,).
    """

    name: str
    on_s: Floats
    start_s: Floats
    end_s: Floats


def desktop_times(read: States) -> tuple[list[DesktopTimes], list[str]]:
    """Every desktop's times, and what was odd."""
    rows, findings = desktop_uses(read.desktops, read.desktop, read.state, read.time_s, read.states)
    order = np.argsort(read.desktop, kind="stable")
    of, told, when = read.desktop[order], read.state[order], read.time_s[order]
    awake = np.array([name != OFFLINE for name in read.states])[told]
    edges = np.searchsorted(of, np.arange(len(read.desktops) + 1))
    last_s = float(read.time_s[-1]) if len(read.time_s) else 0.0
    times = [
        DesktopTimes(row.name, _on(when[a:b], awake[a:b], row, last_s), row.start_s, row.end_s)
        for row, a, b in zip(rows, edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    return times, [*read.notes.sentences(), *(finding.sentence() for finding in (*read.clock, *findings))]


def forgotten(times: Sequence[DesktopTimes], after_s: float) -> tuple[list[DesktopTimes], Floats]:
    """Uses cut where they have lasted `after_s`, and when the cut parts began and ended, shape (parts, 2).

    The desktops stay on for as long as they were.
    """
    cut, parts = [], []
    for one in times:
        long = one.end_s - one.start_s > after_s
        end_s = np.where(long, one.start_s + after_s, one.end_s)
        cut.append(DesktopTimes(one.name, one.on_s, one.start_s, end_s))
        parts.append(np.stack((end_s[long], one.end_s[long]), axis=1))
    return cut, np.concatenate([np.zeros((0, 2)), *parts])


def clipped_s(times_s: Floats, from_s: float, until_s: float) -> float:
    """Seconds of some times, shape (times, 2), that lie within a window."""
    return float((np.clip(times_s[:, 1], from_s, until_s) - np.clip(times_s[:, 0], from_s, until_s)).sum())


def merged(times_s: Floats) -> Floats:
    """The union of times, shape (times, 2), in order and apart."""
    kept = times_s[times_s[:, 1] > times_s[:, 0]]
    if not len(kept):
        return np.zeros((0, 2))
    kept = kept[np.argsort(kept[:, 0], kind="stable")]
    reach_s = np.maximum.accumulate(kept[:, 1])
    first = np.concatenate(([True], kept[1:, 0] > reach_s[:-1]))
    ends_s = reach_s[np.append(np.flatnonzero(first)[1:] - 1, len(kept) - 1)]
    return np.stack((kept[first, 0], ends_s), axis=1)


def overlap(one_s: Floats, other_s: Floats) -> Floats:
    """Where both are, shape (times, 2); both in order and apart."""
    found = []
    a = b = 0
    first, second = one_s.tolist(), other_s.tolist()
    while a < len(first) and b < len(second):
        begin, end = max(first[a][0], second[b][0]), min(first[a][1], second[b][1])
        if end > begin:
            found.append((begin, end))
        if first[a][1] <= second[b][1]:
            a += 1
        else:
            b += 1
    return np.array(found) if found else np.zeros((0, 2))


def count_at(times_s: Floats, at_s: Floats) -> Ints:
    """How many times, shape (times, 2), last at each moment; a time ends just before its end."""
    begun = np.searchsorted(np.sort(times_s[:, 0]), at_s, side="right")
    ended = np.searchsorted(np.sort(times_s[:, 1]), at_s, side="right")
    return np.asarray(begun - ended, dtype=np.int64)


def _on(time_s: Floats, awake: Flags, row: RowUse, last_s: float) -> Floats:
    if not len(time_s):
        return np.zeros((0, 2))
    until_s = np.minimum(np.append(time_s[1:], last_s), time_s + AWAY_S)
    told = np.stack((time_s[awake], until_s[awake]), axis=1)
    return merged(np.concatenate((told, np.stack((row.start_s, row.end_s), axis=1))))

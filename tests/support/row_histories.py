"""Small histories of rows for tests of row policies and of the world that judges them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from ghostdesk.evaluate.arrivals_timeline import RowUse

START_S = 1_400_457_600.0  # Monday, 2014-05-19, midnight UTC
DAY_S = 86_400.0


def row(name: str, sessions: Sequence[tuple[float, float]], until_s: float | None = None) -> RowUse:
    """A row with sessions given as (start, end) in seconds after `START_S`."""
    start_s, end_s = (np.array([one[place] for one in sessions]) + START_S for place in (0, 1))
    last_s = float(end_s[-1]) if until_s is None else START_S + until_s
    return RowUse(name, start_s, end_s, np.zeros(len(sessions)), last_s)


def busy_house(rows: int, days: int, seed: int = 1) -> list[RowUse]:
    """Working days from nine to five; the first rows are liked best. Seeded."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(rows):
        sessions, at_s = list[tuple[float, float]](), 0.0
        while at_s < days * DAY_S:
            hour = at_s % DAY_S / 3600.0
            open_now = 9 <= hour < 17 and at_s // DAY_S % 7 < 5
            if open_now and rng.random() < 0.25 / (1 + number):
                length_s = float(rng.uniform(300, 5_000))
                start_s = at_s + float(rng.uniform(0, 550))
                sessions.append((start_s, start_s + length_s))
                at_s = start_s + length_s + 60.0
            else:
                at_s = (at_s // 600.0 + 1.0) * 600.0
        if sessions:
            found.append(row(f"d{number}", sessions, days * DAY_S))
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[RowUse]:
    """One to four rows with up to twelve sessions each, gaps of a second to two days."""
    rows = []
    for number in range(draw(st.integers(1, 4))):
        at_s = float(draw(st.integers(0, 90_000)))
        sessions = []
        for gap_s, length_s in draw(
            st.lists(st.tuples(st.integers(1, 170_000), st.integers(1, 30_000)), min_size=1, max_size=12)
        ):
            sessions.append((at_s, at_s + length_s))
            at_s += length_s + gap_s
        rows.append(row(f"r{number}", sessions))
    return rows

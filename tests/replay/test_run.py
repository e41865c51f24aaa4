"""A long time replayed in parts side by side comes to what it comes to in one piece."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.allocator.policies.catalogue import families
from ghostdesk.replay.history import DAY_S, Sessions, Window, parts_of
from ghostdesk.replay.metrics import CostModel
from ghostdesk.replay.run import ReplayJob, parts_for, replay_all
from ghostdesk.replay.world import ReplayFigures

MONDAY_S = 1_736_121_600.0  # 2025-01-06, 00:00 UTC
WINDOW = Window(MONDAY_S + 2 * DAY_S, MONDAY_S + 26 * DAY_S)


def job() -> ReplayJob:
    rng = np.random.default_rng(5)
    day = np.repeat(np.arange(28), 40)
    start_s = np.sort(MONDAY_S + DAY_S * day + 3600.0 * rng.uniform(8, 18, len(day)))
    sessions = Sessions(
        tuple(f"d{n}" for n in range(60)), np.arange(len(day)) % 60, start_s, start_s + 1800.0, named=False
    )
    return ReplayJob(sessions, WINDOW, ReplayFigures(lead_s=90.0), CostModel(price_per_ghost_hour=1.0), "UTC")


def test_parts_are_cut_at_mondays_and_follow_each_other() -> None:
    parts = parts_of(WINDOW, job().sessions.start_s, 3, UTC)
    assert [parts[0].judge_s, parts[-1].until_s] == [WINDOW.judge_s, WINDOW.until_s]
    assert all(one.until_s == other.judge_s for one, other in pairwise(parts))
    assert [(part.judge_s - MONDAY_S) % (7 * DAY_S) for part in parts[1:]] == [0.0] * (len(parts) - 1)
    assert len(parts) == 3


@given(
    st.lists(st.floats(WINDOW.judge_s, WINDOW.until_s, exclude_max=True), max_size=30),
    st.integers(1, 5),
    st.sampled_from(["UTC", "America/New_York", "Pacific/Auckland"]),
)
def test_whenever_people_come_the_parts_are_the_window(starts: list[float], most: int, zone: str) -> None:
    parts = parts_of(WINDOW, np.sort(np.array(starts)), most, ZoneInfo(zone))
    assert 1 <= len(parts) <= most
    assert sum(part.hours for part in parts) == pytest.approx(WINDOW.hours)
    assert all(part.hours > 0 for part in parts)


def test_only_policies_that_know_nothing_but_starts_are_cut() -> None:
    whole = parts_for(job(), ["marginal-value:99.0% hits"], 4)
    cut = parts_for(job(), ["static:3"], 2)
    busy = parts_for(job(), ["static:3", "static:4"], 2)
    assert [len(one) for one in (*whole, *cut, *busy)] == [1, 2, 1, 1]


@pytest.mark.parametrize("name", ["static", "spare-buffer", "hour-quantile"])
def test_in_parts_as_in_one_piece(name: str) -> None:
    assert families()[name].from_starts
    label = families()[name].settings[1].label if name != "static" else "2"
    (one,) = replay_all(job(), [f"{name}:{label}"], 1)
    shares: list[float] = []
    (two,) = replay_all(job(), [f"{name}:{label}"], 2, shares.append)
    whole, parts = one.figures, two.figures
    assert (parts.starts, parts.found, parts.missed) == (whole.starts, whole.found, whole.missed)
    assert parts.idle_ghost_hours == pytest.approx(whole.idle_ghost_hours, rel=2e-3)
    assert abs(parts.boots - whole.boots) <= 3
    assert parts.months == whole.months
    assert (parts.heat_starts, parts.heat_missed) == (whole.heat_starts, whole.heat_missed)
    assert two.week is not None and one.week is not None
    assert replace(two.week, booting=[], ready=[], active=[]) == replace(one.week, booting=[], ready=[], active=[])
    assert np.abs(np.array(two.week.ready) - one.week.ready).mean() < 0.01
    assert shares[-1] == pytest.approx(1.0)

"""The control loop on small histories of which the outcome is known."""

from dataclasses import dataclass, field
from datetime import UTC

import numpy as np
import pytest

from ghostdesk.allocator.policies.seam import Decision, Moment, Observed
from ghostdesk.allocator.policies.static_pool import StaticPool
from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.replay.history import Sessions, Window, sessions_of
from ghostdesk.replay.metrics import CostModel, Figures, measure
from ghostdesk.replay.world import ReplayFigures, replay

MONDAY_S = 1_735_516_800.0
HOUR_S = 3_600.0
FIGURES = ReplayFigures(lead_s=120.0, hand_over_s=1.0, destroy_s=5.0)


def _history(*sessions: tuple[str, float, float], named: bool = False) -> Sessions:
    """Rows' sessions: start and length in seconds from Monday on."""
    rows = []
    for name in sorted({one[0] for one in sessions}):
        mine = sorted((start, length) for other, start, length in sessions if other == name)
        start_s = MONDAY_S + np.array([start for start, _ in mine])
        end_s = start_s + np.array([length for _, length in mine])
        rows.append(RowUse(name, start_s, end_s, np.zeros(len(mine)), float(end_s[-1])))
    return sessions_of(rows, named=named)


def _judged(sessions: Sessions, policy: object, figures: ReplayFigures = FIGURES, hours: float = 24.0) -> Figures:
    window = Window(MONDAY_S, MONDAY_S + hours * HOUR_S)
    recording = replay(sessions, window, policy, figures, UTC)  # type: ignore[arg-type]
    return measure(recording, window, CostModel(), UTC)


def test_a_pool_of_one_serves_one_an_hour_and_costs_one_ghost() -> None:
    sessions = _history(*((f"d{n % 3}", n * HOUR_S, 1800.0) for n in range(24)))
    found = _judged(sessions, StaticPool(1))
    assert (found.starts, found.found, found.evictions) == (24, 24, 0)
    assert found.wait.p99_s == pytest.approx(1.0)
    assert found.idle_ghost_hours == pytest.approx(24.0, rel=1e-6)
    assert found.booting_ghost_hours == pytest.approx(24 * 120.0 / HOUR_S, rel=1e-6)
    assert found.boots == 24


def test_three_at_once_find_one_ghost_and_wait_for_the_others() -> None:
    sessions = _history(*((f"d{n}", 6 * HOUR_S, HOUR_S) for n in range(3)))
    found = _judged(sessions, StaticPool(1))
    assert (found.found, found.missed) == (1, 2)
    assert (found.missed_wait.p50_s, found.missed_wait.p99_s) == (pytest.approx(121.0), pytest.approx(121.0))
    assert found.idle_ghost_hours == pytest.approx(24.0, rel=1e-6), "what people wait for is not idle"


def test_without_a_pool_everybody_waits_for_a_build_and_nothing_is_idle() -> None:
    sessions = _history(*((f"d{n}", n * HOUR_S, 600.0) for n in range(5)))
    found = _judged(sessions, StaticPool(0))
    assert (found.found, found.missed, found.boots) == (0, 5, 5)
    assert found.idle_ghost_hours == pytest.approx(0.0, abs=1e-6)


def test_at_the_ceiling_people_are_refused_and_counted() -> None:
    sessions = _history(*((f"d{n}", HOUR_S + n, HOUR_S) for n in range(3)))
    found = _judged(sessions, StaticPool(1), ReplayFigures(ceiling=2))
    assert (found.starts, found.refused, found.found) == (3, 1, 1)


def test_builds_at_once_make_waits_longer() -> None:
    sessions = _history(*((f"d{n}", HOUR_S, HOUR_S) for n in range(4)))
    found = _judged(sessions, StaticPool(0), ReplayFigures(builds_at_once=1))
    assert (found.missed, found.missed_wait.p99_s) == (4, pytest.approx(4 * 120.0, rel=0.02))


def test_drawn_build_times_have_the_mean_that_was_asked_for_and_are_the_same_again() -> None:
    sessions = _history(*((f"d{n % 50}", n * 300.0, 100.0) for n in range(280)))
    figures = ReplayFigures(lead_spread=0.5, seed=3)
    found, again = (_judged(sessions, StaticPool(0), figures) for _ in range(2))
    assert found == again
    assert 108.0 < found.missed_wait.mean_s < 132.0
    assert found.missed_wait.p99_s > 200.0
    assert _judged(sessions, StaticPool(0), ReplayFigures(lead_spread=0.5, seed=4)) != found


def test_a_session_that_is_over_before_its_desktop_came_does_not_hold_it() -> None:
    found = _judged(_history(("d1", HOUR_S, 10.0), ("d1", 2 * HOUR_S, 10.0)), StaticPool(0))
    assert (found.missed, found.boots) == (2, 2)


@dataclass
class Watcher:
    """Keeps row 0 warm, and everything that it is told."""

    told: list[Observed] = field(default_factory=list)
    asked: list[Moment] = field(default_factory=list)
    rows: int = 0

    def grow(self, rows: int) -> None:
        self.rows = rows

    def observe(self, observed: Observed) -> None:
        self.told.append(observed)

    def decide(self, moment: Moment) -> Decision:
        self.asked.append(moment)
        warm = np.zeros(self.rows, dtype=bool)
        warm[:1] = True
        return Decision(0, warm, "watch", "row 0")


def test_people_have_ghosts_of_their_own() -> None:
    days = [(name, day * 24 * HOUR_S, HOUR_S) for day in (-3, -2, -1) for name in ("ann", "bob")]
    sessions = _history(*days, ("ann", 9 * HOUR_S, HOUR_S), ("bob", 12 * HOUR_S, HOUR_S), named=True)
    policy = Watcher()
    found = _judged(sessions, policy)
    assert (found.starts, found.found) == (2, 1), "ann's waits for her, bob has none"
    assert 22.0 < found.idle_ghost_hours < 24.0
    told = np.concatenate([one.started_s for one in policy.told])
    assert len(told) == 8, "each start is told once, those before the window, too"
    assert np.all(np.diff([one.to_s for one in policy.told]) > 0), "time goes on"
    assert all(a.to_s == b.from_s for a, b in zip(policy.told, policy.told[1:], strict=False)), "without a gap"


def test_at_shared_desktops_a_warm_row_is_a_ghost_for_anybody() -> None:
    sessions = _history(("d1", -24 * HOUR_S, HOUR_S), ("d2", 9 * HOUR_S, HOUR_S))
    assert _judged(sessions, Watcher()).found == 1


def test_use_that_goes_on_when_the_loop_begins_is_known_and_ends() -> None:
    sessions = _history(("d1", -3 * HOUR_S, 4 * HOUR_S), ("d2", 9 * HOUR_S, HOUR_S))
    policy = Watcher()
    _judged(sessions, policy)
    assert np.isnan(next(m for m in policy.asked if m.now_s >= MONDAY_S).idle_s[0])
    ended = [(row, s) for one in policy.told for row, s in zip(one.ended.tolist(), one.ended_s.tolist(), strict=True)]
    assert (0, MONDAY_S + HOUR_S) in ended


def test_progress_rises_to_the_end() -> None:
    seen: list[float] = []
    sessions = _history(("d1", HOUR_S, HOUR_S))
    replay(sessions, Window(MONDAY_S, MONDAY_S + 72 * HOUR_S), StaticPool(1), FIGURES, UTC, seen.append)
    assert seen == sorted(seen)
    assert 0.5 < seen[-1] <= 1.0

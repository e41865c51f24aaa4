"""The loop and the array world tell the same of the same history.

They differ in one thing by their models: in the array world whoever misses is served outside of the pool, while in the
loop the one who has waited longest takes the first ghost that is ready, and the one made for them fills the gap a
little later. So the loop may miss somewhat more; where hardly anybody misses, the two agree to the minute.
"""

from collections.abc import Callable
from datetime import UTC

import numpy as np
import pytest

from ghostdesk.allocator.policies.catalogue import families
from ghostdesk.allocator.policies.seam import Policy
from ghostdesk.allocator.policies.static_pool import StaticPool
from ghostdesk.evaluate import pool_world
from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.replay.history import Window, sessions_of
from ghostdesk.replay.metrics import CostModel, measure
from ghostdesk.replay.world import ReplayFigures, replay

MONDAY_S = 1_735_516_800.0
DAY_S = 86_400.0
DAYS, LEARN_DAYS = 21, 14


def _rows(seed: int = 5) -> list[RowUse]:
    """Forty made-up desktops over three weeks, busiest about 10 and 15 h on working days."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(40):
        starts: list[float] = []
        for day in range(DAYS):
            often = 4 if day % 7 < 5 else 1
            hours = np.where(rng.random(often) < 0.5, rng.normal(10.0, 1.0, often), rng.normal(15.0, 1.5, often))
            starts += (day * DAY_S + 3600.0 * np.clip(hours, 0.1, 23.0)).tolist()
        start_s = np.sort(np.array(starts))
        start_s = start_s[np.append(True, np.diff(start_s) > 2400.0)]
        end_s = start_s + rng.uniform(600.0, 2000.0, len(start_s))
        rows.append(
            RowUse(f"d{number}", MONDAY_S + start_s, MONDAY_S + end_s, np.zeros(len(start_s)), MONDAY_S + end_s[-1])
        )
    return rows


def _both(make: Callable[[], Policy], idle_tolerance: float = 0.03, miss_tolerance: float = 0.003) -> None:
    """Misses agree to a fifth of them or `miss_tolerance` of all starts, idle time to `idle_tolerance` of it."""
    rows = _rows()
    judge_s, until_s = MONDAY_S + LEARN_DAYS * DAY_S, MONDAY_S + DAYS * DAY_S
    rules = pool_world.PoolRules(MONDAY_S, judge_s, until_s, 120.0, 0.0, 0, UTC)
    (array,) = pool_world.judge([make()], pool_world.uses_of(rows), rules)
    window = Window(judge_s, until_s)
    figures = ReplayFigures(lead_s=120.0, hand_over_s=0.0, destroy_s=0.0)
    recording = replay(sessions_of(rows, named=False), window, make(), figures, UTC)
    loop = measure(recording, window, CostModel(), UTC)
    assert loop.starts == array.starts > 500
    assert loop.missed / loop.starts == pytest.approx(array.miss_share, rel=0.2, abs=miss_tolerance)
    assert loop.idle_ghost_hours == pytest.approx(array.idle_hours, rel=idle_tolerance)


@pytest.mark.parametrize("ghosts", [1, 2, 3, 4, 8])
def test_static_pools_agree(ghosts: int) -> None:
    _both(lambda: StaticPool(ghosts))


@pytest.mark.parametrize("name", ["on-demand", "spare-buffer", "hour-quantile", "adaptive-count", "sample-average"])
def test_policies_agree_at_their_middle_setting(name: str) -> None:
    settings = families()[name].settings
    _both(settings[len(settings) // 2].make)


def test_ours_agrees_as_far_as_it_knows_the_time_that_a_build_takes() -> None:
    """In the loop it goes by what was measured, of which twenty builds leave some doubt, and holds a little more."""
    settings = families()["marginal-value"].settings
    _both(settings[len(settings) // 2].make, idle_tolerance=0.15, miss_tolerance=0.006)

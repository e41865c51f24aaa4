"""The real control loop over simulated hosts: whatever goes wrong, what must hold holds, and it comes to rest."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from ghostdesk.control import observe
from ghostdesk.engines.simulated_faults import FAULTS, FaultRates
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.fleet.people import Habits
from ghostdesk.replay.fleet.run import FleetRun, FleetSetup
from ghostdesk.replay.fleet.world import simulate_fleet

pytestmark = pytest.mark.usefixtures("quiet")
HASTY = Habits(rush_s=90.0, punctual_s=30.0, come=0.9, stay_s=60.0, break_s=30.0)
SMALL = FleetSetup(3, 12, desktops_a_host=6, minutes=2.0, calm_s=1500.0, habits=HASTY)
SHARE, RARE = st.floats(0.0, 0.2), st.sampled_from([0.0, 10.0, 40.0])
RATES = st.builds(
    FaultRates, fail=SHARE, half=SHARE, lost=SHARE, late=SHARE, slow=st.floats(0.0, 0.3), observe=st.floats(0.0, 0.3),
    bursts_an_hour=st.sampled_from([0.0, 60.0]), burst=st.floats(0.0, 1.0), host_losses_an_hour=RARE,
    host_cuts_an_hour=RARE, host_back_s=st.sampled_from([5.0, 30.0, 90.0]), deaths_an_hour=st.sampled_from([0.0, 20.0]),
    timeout_s=st.sampled_from([0.5, 5.0, 20.0]), slow_s=st.sampled_from([0.5, 5.0]),
    late_s=st.sampled_from([0.1, 10.0, 40.0]),
)  # fmt: skip


@pytest.fixture(scope="module")
def quiet() -> Iterator[None]:
    """Thousands of warnings of faults that were meant would take longer than what they tell of."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def _well(run: FleetRun) -> None:
    assert not run.violations, [violation.text for violation in run.violations]
    assert run.converged_s is not None, run.odd
    assert run.summary()["people_waiting_at_end"] == 0


@settings(max_examples=25, deadline=None)
@given(RATES, st.integers(0, 10_000))
def test_whatever_goes_wrong_nothing_leaks_nobody_has_two_and_it_comes_to_rest(rates: FaultRates, seed: int) -> None:
    _well(simulate_fleet(replace(SMALL, faults=rates, seed=seed)))


def test_more_people_than_room_are_told_and_nothing_breaks() -> None:
    run = simulate_fleet(FleetSetup(2, 40, desktops_a_host=4, minutes=2.0, calm_s=10.0, habits=HASTY))
    assert not run.violations and run.converged_s is None and "people wait" in run.odd
    assert run.people["refused, and tried again"] > 10 and not run.well
    assert max(t.active for t in run.ticks) <= 8


def test_four_hundred_people_on_twenty_hosts_with_many_faults() -> None:
    rates = replace(
        FAULTS["many"], host_losses_an_hour=3.0, host_cuts_an_hour=3.0, deaths_an_hour=0.5, bursts_an_hour=60.0
    )  # fmt: skip
    setup = FleetSetup(20, 400, desktops_a_host=25, faults=rates, minutes=4.0, seed=3)
    run = simulate_fleet(setup)
    _well(run)
    kinds = ("fail", "half", "lost", "late", "slow", "batch", "host lost", "host cut off", "desktop died")
    assert all(run.faults.get(kind) for kind in kinds), dict(run.faults)
    assert run.people["lost their desktop"] > 10 and run.people["served"] > 20
    again = simulate_fleet(setup)
    assert (again.converged_s, again.people, again.faults) == (run.converged_s, run.people, run.faults), "by seed"


def test_the_checks_would_find_a_loop_that_leaves_strays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "STRAY_AFTER_S", float("inf"))
    run = simulate_fleet(replace(SMALL, faults=FaultRates(late=0.3, timeout_s=1.0, late_s=2.0), calm_s=600.0, seed=1))
    assert run.converged_s is None and "nobody knows" in run.odd and run.violated["leaked"]


@pytest.mark.parametrize(
    "wrong", [{"hosts": 0}, {"users": 0}, {"desktops_a_host": 0}, {"minutes": 0.0}, {"tick_s": 0.0}, {"calm_s": -1.0}]
)
def test_fleets_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        replace(SMALL, **wrong)  # type: ignore[arg-type]

"""The warming gate: it pauses with a reason, resumes step by step, does not flap, and never stays shut."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.allocator.conditions import GAUGES
from ghostdesk.allocator.conditions_gate import Band, GateRules, GateState, WarmingGate
from ghostdesk.kernel.conditions import HostConditions, HostFault

OPEN, SLOW, PAUSED = GateState.OPEN, GateState.SLOW, GateState.PAUSED
TICK_S = 5.0
START_S = 1e9
RULES = GateRules()


def told(level: float, code: str = "memory", *faults: HostFault) -> HostConditions:
    """A reading in which one gauge is at this level and all others are calm."""
    fields: dict[str, dict[str, float]] = {
        "cpu": {"cpu_pressure": level},
        "memory": {"memory_pressure": level},
        "io": {"io_pressure": level},
        "memory-use": {"memory_bytes": 1e9, "memory_available_bytes": 1e9 * (1.0 - level)},
        "swap": {"swap_bytes": 1e9, "swap_free_bytes": 1e9 * (1.0 - level)},
        "disk": {"disk_bytes": 1e9, "disk_free_bytes": 1e9 * (1.0 - level)},
    }
    return HostConditions(0.0, **fields[code], faults=faults)


class Run:
    """A gate, and everything that it said."""

    def __init__(self, rules: GateRules = RULES) -> None:
        self.gate, self.now_s, self.states, self.changes = WarmingGate(rules), START_S, [OPEN], list[str]()

    def see(self, reading: HostConditions | None, times: int = 1, every_s: float = TICK_S) -> WarmingGate:
        for _ in range(times):
            self.now_s += every_s
            self.gate = self.gate.observe(reading, self.now_s)
            if self.gate.state is not self.states[-1]:
                self.states.append(self.gate.state)
            if self.gate.change:
                self.changes.append(self.gate.change)
        return self.gate


@pytest.mark.parametrize("gauge", GAUGES, ids=lambda gauge: gauge.code)
def test_each_gauge_pauses_with_its_reason_and_resumes_in_two_steps(gauge: object) -> None:
    code = gauge.code  # type: ignore[attr-defined]
    run = Run()
    paused = run.see(told(0.99, code), 3)
    assert (paused.state, paused.code, paused.most_at_once) == (PAUSED, code, 0)
    assert gauge.name in paused.text and "99 %" in paused.text  # type: ignore[attr-defined]
    run.see(told(0.0, code), 40)
    assert run.states == [OPEN, PAUSED, SLOW, OPEN]
    assert len(run.changes) == 3 and "as usual" in run.changes[-1] and "held back for" in run.changes[-1]


def test_a_slow_rise_slows_before_it_pauses() -> None:
    run = Run()
    for step in range(120):
        run.see(told(min(0.3, 0.002 * step)))
    assert run.states == [OPEN, SLOW, PAUSED]


def test_a_trend_slows_warming_before_the_level_does() -> None:
    run = Run()
    for step in range(200):
        gate = run.see(told(0.2 + 0.001 * TICK_S * step, "memory-use"))
        if gate.state is SLOW:
            break
    assert gate.trends[3].level < RULES.memory_use.slow and "rises 6.0 % a minute" in gate.text
    run.see(told(0.8, "memory-use"), 60)  # it rises no more
    assert run.gate.state is OPEN


def test_resuming_takes_the_dwell_twice_and_says_so_once() -> None:
    run = Run()
    run.see(told(0.5), 3)
    run.see(told(0.0), 2)  # the level is the median of three
    assert run.gate.state is PAUSED
    waited_s = 0.0
    while run.gate.state is PAUSED:
        run.see(told(0.0))
        waited_s += TICK_S
    assert waited_s >= RULES.dwell_s - TICK_S
    assert "step by step" in run.gate.text
    since_s = run.now_s
    while run.gate.state is SLOW:
        run.see(told(0.0))
    assert run.now_s - since_s >= RULES.dwell_s
    run.see(told(0.0), 10)
    assert [change for change in run.changes if "as usual" in change] == [run.changes[-1]]
    assert run.gate.change == ""


def test_between_the_thresholds_nothing_changes() -> None:
    low, high = Run(), Run()
    high.see(told(0.5), 3)
    for run in (low, high):
        run.see(told(0.15), 40)  # above slow (0.1), below pause (0.2): from either side it is slow
        assert run.gate.state in (SLOW, PAUSED)
    assert low.gate.state is SLOW and high.gate.state is PAUSED
    for run in (low, high):
        run.see(told(0.07), 40)  # below slow, above resume (0.05)
        assert run.gate.state is SLOW


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("oom-kill", PAUSED),
        ("read-only", PAUSED),
        ("disk-full", PAUSED),
        ("hot", SLOW),
        ("clock-set", OPEN),
        ("limit-kill", OPEN),
    ],
)
def test_a_failing_host_is_spared_for_a_while(code: str, state: GateState) -> None:
    run = Run()
    gate = run.see(told(0.0, "memory", HostFault(code, "it failed")))
    assert gate.state is state and (state is OPEN or "it failed" in gate.text)
    run.see(told(0.0), 11)
    assert run.gate.state is state  # it is held for a minute
    run.see(told(0.0), 20)
    assert run.gate.state is OPEN


def test_a_disk_that_stays_read_only_keeps_it_paused() -> None:
    run = Run()
    run.see(told(0.0, "memory", HostFault("read-only", "the disk is read-only")), 100)
    assert run.states == [OPEN, PAUSED]


def test_a_host_that_cannot_be_read_opens_the_gate_by_and_by() -> None:
    run = Run()
    run.see(told(0.5), 3)
    run.see(None, 20)
    assert run.gate.state is PAUSED  # what was seen last still counts
    run.see(None, 60)
    assert run.gate.state is OPEN


def test_a_clock_that_is_set_back_for_years_shuts_nothing() -> None:
    run = Run()
    run.see(told(0.5), 3)
    run.now_s -= 1e8
    run.see(told(0.0), 20)
    assert run.gate.state is OPEN


def test_a_gate_that_does_not_watch_stays_open() -> None:
    run = Run(replace(RULES, watch=False))
    assert run.see(told(1.0), 10).state is OPEN


def test_a_step_above_one_is_never_taken() -> None:
    run = Run(replace(RULES, cpu=Band(0.4, 2.0, 3.0)))
    assert run.see(told(1.0, "cpu"), 200).state is OPEN


@pytest.mark.parametrize("levels", [(0.3, 0.2, 0.4), (0.0, 0.1, 0.2), (0.1, 0.2, 0.2), (0.1, float("nan"), 0.2)])
def test_thresholds_that_do_not_rise_are_refused(levels: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="do not rise"):
        Band(*levels)


READINGS = st.builds(
    lambda level, code, fault: told(level, code, *([HostFault(fault, "x")] if fault else [])),
    st.floats(0.0, 1.0),
    st.sampled_from([gauge.code for gauge in GAUGES]),
    st.sampled_from([None, None, None, "oom-kill", "limit-kill", "hot", "clock-set", "unheard-of"]),
)
JOLTS = st.lists(st.tuples(st.one_of(st.none(), READINGS), st.floats(-50.0, 50.0)), max_size=40)


@given(JOLTS)
def test_whatever_came_it_resumes_when_pressure_ends(jolts: list[tuple[HostConditions | None, float]]) -> None:
    """Step by step, from any state that any history leads to; and it gets better only by one step at a time."""
    run = Run()
    for reading, wait_s in jolts:
        before = run.gate.state
        run.see(reading, 1, wait_s)
        assert not (before is PAUSED and run.gate.state is OPEN)
        assert bool(run.gate.change) == (before is not run.gate.state)
    run.see(told(0.0), 30)
    assert run.gate.state is OPEN and run.gate.held_since_s is None


@settings(max_examples=50)
@given(
    gauge=st.sampled_from(range(len(GAUGES))),
    base=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**32),
    shape=st.sampled_from(["uniform", "two", "blocks"]),
)
def test_noise_within_the_bands_does_not_make_it_flap(gauge: int, base: float, seed: int, shape: str) -> None:
    """A level that wavers by a fifth of the bands' distance: the gate comes to rest and does not go to and fro."""
    band, rnd = RULES.bands[gauge], random.Random(seed)
    size = 0.2 * min(band.slow - band.resume, band.pause - band.slow)
    run, worse = Run(), 0
    for step in range(200):
        noise = rnd.uniform(-1.0, 1.0) if shape == "uniform" else float(rnd.choice((-1, 1)))
        if shape == "blocks":
            noise = 1.0 if step // 30 % 2 else -1.0
        before = run.gate.state
        run.see(told(min(1.0, max(0.0, base + size * noise)), GAUGES[gauge].code))
        worse += [OPEN, SLOW, PAUSED].index(run.gate.state) > [OPEN, SLOW, PAUSED].index(before)
    assert len(run.states) <= 3 and worse == len(run.states) - 1


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=100))
def test_each_state_lasts_for_the_dwell_before_it_gets_better(levels: list[float]) -> None:
    run = Run()
    for level in levels:
        before, since_s = run.gate.state, run.gate.since_s
        gate = run.see(told(level, "cpu"))
        if [OPEN, SLOW, PAUSED].index(gate.state) < [OPEN, SLOW, PAUSED].index(before):
            assert run.now_s - since_s >= RULES.dwell_s

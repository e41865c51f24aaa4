"""Readings beside the loop: every instance in its turn, and nothing is kept of those that are gone."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.incus.states import FRESH_S, MOST_A_ROUND, NO_USAGE, Readings, Usage, usage_of


@given(st.sets(st.text("abcdef", min_size=1, max_size=4), max_size=90), st.floats(0.1, 5.0))
def test_all_are_read_in_turn_and_rounds_are_bounded(living: set[str], round_s: float) -> None:
    readings, now_s, rounds = Readings(), 1000.0, -(-len(living) // MOST_A_ROUND)
    for _ in range(rounds):
        names = readings.next_round(living, now_s)
        assert len(names) <= MOST_A_ROUND and len(set(names)) == len(names)
        oldest = max((readings.usage(name).read_s for name in names), default=now_s)
        assert all(readings.usage(name).read_s >= oldest or name in names for name in living)
        for name in names:
            readings = readings.noted(name, Usage(1, 0.0, now_s))
        now_s += round_s / max(rounds, 1)
    assert all(readings.usage(name).memory_bytes == 1 for name in living)
    assert readings.next_round(living, 1000.0 + FRESH_S / 2) == ()
    assert readings.kept([]).of == {}


_NUMBERS = st.none() | st.integers(-(2**40), 2**60)
_STATES = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.none() | st.fixed_dictionaries({}, optional={"usage": _NUMBERS}),
        "cpu": st.none() | st.fixed_dictionaries({}, optional={"usage": _NUMBERS}),
    },
)


@given(_STATES)
def test_whatever_a_state_says_is_read(state: dict[str, Any]) -> None:
    usage = usage_of(state, 5.0)
    assert usage.memory_bytes >= 0 and usage.cpu_s >= 0.0 and usage.read_s == 5.0
    assert Readings().usage("nobody") == NO_USAGE

"""Whatever fails how often: tries are few, pauses bounded, and no try begins after the budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.incus.backoff import ONCE, Backoff, retry_after_s

_POLICIES = st.builds(
    Backoff,
    tries=st.integers(1, 20),
    first_s=st.floats(0.001, 5.0),
    factor=st.floats(1.0, 10.0),
    longest_s=st.floats(0.001, 60.0),
    budget_s=st.floats(0.0, 120.0),
)


@given(_POLICIES, st.floats(-1.0, 2.0), st.floats(0.0, 500.0), st.floats(0.0, 3.0))
def test_tries_and_time_are_bounded(policy: Backoff, draw: float, asked_s: float, call_s: float) -> None:
    passed_s, tries = 0.0, 0
    while True:
        tries += 1
        began_s = passed_s
        passed_s += call_s
        pause_s = policy.pause_s(tries, passed_s, draw, asked_s)
        if pause_s is None:
            break
        assert pause_s >= asked_s and pause_s <= max(policy.longest_s, asked_s)
        passed_s += pause_s
    assert tries <= policy.tries
    assert began_s <= policy.budget_s or tries == 1


@given(_POLICIES, st.integers(-5, 10**6))
def test_bounds_grow_up_to_the_longest(policy: Backoff, failures: int) -> None:
    assert 0.0 < policy.bound_s(failures) <= policy.bound_s(failures + 1) <= max(policy.longest_s, policy.first_s)


def test_what_makes_something_has_one_try_and_draws_spread_pauses() -> None:
    assert ONCE.pause_s(1, 0.0, 0.5) is None
    assert {Backoff().pause_s(1, 0.0, draw) for draw in (0.0, 0.5, 1.0)} == {0.0, 0.05, 0.1}


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("", 0.0), ("-1", 0.0), ("1" * 400, 0.0), ("Fri, 1", 0.0)])
def test_what_the_server_asks_for(text: str, seconds: float) -> None:
    assert retry_after_s(text) == seconds

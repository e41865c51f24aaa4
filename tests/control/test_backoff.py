"""Waiting grows, is bounded, and says why."""

import hypothesis.strategies as st
from hypothesis import given

from ghostdesk.control.backoff import BuildBackoff


@given(st.integers(1, 40), st.floats(0, 1e9))
def test_waits_double_up_to_five_minutes(failures: int, now_s: float) -> None:
    backoff, waits = BuildBackoff(), []
    for _ in range(failures):
        backoff = backoff.failed("Xvnc is missing.", now_s)
        waits.append(backoff.not_before_s - now_s)
    assert waits == sorted(waits)
    assert max(waits) <= 300.001
    assert "Xvnc is missing." in backoff.blocked(now_s)


def test_success_clears_it_and_time_opens_the_way() -> None:
    backoff = BuildBackoff().failed("no disk.", 100.0, retry_after_s=60.0)
    assert backoff.blocked(159.0)
    assert backoff.blocked(160.0) == ""
    assert "Trying again now" in backoff.describe(161.0)
    assert backoff.succeeded().describe(161.0) == ""

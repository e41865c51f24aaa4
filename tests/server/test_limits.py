"""The rate limit, against its promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.server.limits import RateLimit


@given(st.lists(st.floats(0.0, 30.0), max_size=60), st.integers(1, 5), st.floats(0.5, 10.0))
def test_never_more_than_the_burst_and_one_each_interval(pauses: list[float], burst: int, every_s: float) -> None:
    limit, now_s, passed = RateLimit(burst, every_s), 0.0, []
    for pause in pauses:
        now_s += pause
        wait_s = limit.wait_s("key", now_s)
        assert wait_s >= 0.0
        if wait_s == 0.0:
            passed.append(now_s)
    for first, start_s in enumerate(passed):
        for last, end_s in enumerate(passed[first:], first):
            assert last - first + 1 <= burst + (end_s - start_s) / every_s + 1e-6


def test_after_the_wait_it_goes_on() -> None:
    limit = RateLimit(1, 4.0)
    assert limit.wait_s("a", 0.0) == 0.0
    wait_s = limit.wait_s("a", 1.0)
    assert wait_s == 3.0
    assert limit.wait_s("b", 1.0) == 0.0
    assert limit.wait_s("a", 1.0 + wait_s) == 0.0


def test_keys_are_bounded() -> None:
    limit = RateLimit(1, 1e6, keys=10)
    for number in range(1000):
        assert limit.wait_s(str(number), 0.0) == 0.0
    assert limit.wait_s("999", 0.0) > 0.0
    assert limit.wait_s("0", 0.0) == 0.0

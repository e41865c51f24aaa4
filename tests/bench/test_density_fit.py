"""What one more ghost costs, out of totals: on lines that are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.bench.density_fit import Cost, Step, cost_of
from ghostdesk.bench.host_memory import available_bytes, group_memory
from ghostdesk.kernel.resources import GIB, MIB


def step(ghosts: int, ram_bytes: int) -> Step:
    return Step(ghosts, 16 * ghosts, ram_bytes // 2, 0, ram_bytes // 4, ram_bytes - ram_bytes // 2 - ram_bytes // 4, 0)


@given(
    st.integers(MIB, 500 * MIB),
    st.integers(0, GIB),
    st.lists(st.integers(1, 200), min_size=2, max_size=12, unique=True),
)
def test_a_straight_line_is_found(each: int, shared: int, counts: list[int]) -> None:
    cost = cost_of([step(n, shared + n * each) for n in counts])
    assert cost is not None
    assert cost.marginal_bytes == pytest.approx(each, rel=1e-3)
    assert cost.shared_bytes == pytest.approx(shared, abs=each / 10 + MIB)
    assert cost.up_to == max(counts)
    assert cost.take(50) == pytest.approx(shared + 50 * each, rel=1e-3)


def test_one_number_of_ghosts_tells_nothing() -> None:
    assert cost_of([]) is None
    assert cost_of([step(4, GIB), step(4, GIB)]) is None


@given(st.floats(1.0, 1e9), st.floats(0, 1e10), st.floats(0, 1e11))
def test_what_fits_fits_and_one_more_does_not(each: float, shared: float, memory: float) -> None:
    cost = Cost(each, shared, 8)
    fit = cost.fit_in(memory)
    assert fit >= 0
    if fit:
        assert cost.take(fit) <= memory * (1 + 1e-9)
    assert cost.take(fit + 1) > memory * (1 - 1e-9)


def test_memory_that_shrinks_with_every_ghost_gives_no_promise() -> None:
    assert Cost(-1.0, 0.0, 8).fit_in(GIB) == 0


def test_the_hosts_own_words() -> None:
    assert available_bytes("MemTotal:  9 kB\nMemAvailable:   8 kB\n") == 8192
    assert available_bytes("") == 0
    assert available_bytes() > 0
    assert group_memory(4_000_000_000).pids == ()

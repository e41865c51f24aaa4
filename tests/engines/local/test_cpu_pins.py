"""Which cores a desktop is pinned to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local.cpu_pins import choose, format_cpus, parse_cpus

CORES = st.frozensets(st.integers(0, 200), min_size=1)


@given(CORES)
def test_lists_of_cores_are_read_as_they_are_written(cores: frozenset[int]) -> None:
    assert parse_cpus(format_cpus(cores)) == cores


def test_ranges_are_read() -> None:
    assert parse_cpus("0-2,5\n") == {0, 1, 2, 5}
    assert parse_cpus("\n") == frozenset()
    with pytest.raises(ValueError, match="all"):
        parse_cpus("all")


@given(CORES, st.lists(CORES), st.integers(1, 50))
def test_whole_numbers_are_pinned_to_the_least_taken(
    allowed: frozenset[int], taken: list[frozenset[int]], count: int
) -> None:
    chosen = choose(count, allowed, taken)
    assert chosen <= allowed
    assert len(chosen) == min(count, len(allowed))

    def load(core: int) -> int:
        return sum(core in cores for cores in taken)

    assert max(map(load, chosen)) <= min(map(load, allowed - chosen), default=10**9)


@pytest.mark.parametrize("cpu_cores", [0, 0.5, 1.5, 4, 9])
def test_what_is_no_whole_number_below_all_is_not_pinned(cpu_cores: float) -> None:
    assert choose(cpu_cores, range(4), []) == {0, 1, 2, 3}

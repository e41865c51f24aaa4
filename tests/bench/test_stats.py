import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.bench.stats import Summary, summarise


def test_of_nothing_there_is_no_summary() -> None:
    assert summarise([]) is None


def test_median_and_nearest_rank() -> None:
    assert summarise(range(1, 21)) == Summary(n=20, median=10.5, p95=19, minimum=1, maximum=20)
    assert summarise([3.0, 1.0, 2.0]) == Summary(n=3, median=2.0, p95=3.0, minimum=1.0, maximum=3.0)


def test_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        summarise([1.0, float("nan")])


@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
def test_p95_is_a_sample_and_at_least_95_percent_are_not_above_it(samples: list[float]) -> None:
    summary = summarise(samples)
    assert summary is not None
    assert summary.p95 in samples
    assert sum(sample <= summary.p95 for sample in samples) >= 0.95 * len(samples)
    assert summary.minimum <= summary.median <= summary.p95 <= summary.maximum

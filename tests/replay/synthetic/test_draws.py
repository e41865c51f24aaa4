"""Random numbers by their place."""

import numpy as np
import pytest

from ghostdesk.replay.synthetic.draws import Draws, from_quantiles

MANY = np.arange(200_000)


def test_a_number_depends_on_its_place_and_on_nothing_else() -> None:
    draws = Draws(1, "one")
    whole = draws.uniform(np.arange(1000)[:, None], np.arange(7)[None, :])
    assert whole.shape == (1000, 7)
    assert draws.uniform(613, 5)[0] == whole[613, 5]
    assert Draws(1, "one").uniform(613, 5)[0] == whole[613, 5]
    others = [Draws(2, "one").uniform(613, 5)[0], Draws(1, "two").uniform(613, 5)[0], draws.uniform(5, 613)[0]]
    assert len({whole[613, 5], *others}) == 4


def test_uniform_and_normal_numbers_are_so_and_neighbours_have_nothing_to_do_with_each_other() -> None:
    draws = Draws(3, "moments")
    even, normal = draws.uniform(MANY), draws.normal(MANY)
    assert even.min() > 0.0 and even.max() < 1.0
    counts = np.bincount((even * 20).astype(int), minlength=20)
    assert ((counts - 10_000.0) ** 2 / 10_000.0).sum() < 45.0  # chi-squared with 19 degrees of freedom
    assert abs(normal.mean()) < 0.01 and abs(normal.std() - 1.0) < 0.01 and abs((normal**3).mean()) < 0.05
    for numbers in (even, normal):
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.01


@pytest.mark.parametrize("mean", [0.0, 0.3, 4.0, 60.0, 2_000.0])
def test_poisson_counts(mean: float) -> None:
    counts = Draws(4, "counts").poisson(mean, MANY)
    assert abs(counts.mean() - mean) <= 0.02 * mean + 0.01
    assert abs(counts.var() - mean) <= 0.04 * mean + 0.01
    assert counts.min() >= 0


def test_quantiles_are_met() -> None:
    levels, values = [0.0, 0.1, 0.5, 0.9, 1.0], [1.0, 2.0, 30.0, 100.0, 500.0]
    drawn = from_quantiles(Draws(5, "q").uniform(MANY), levels, values)
    assert np.percentile(drawn, [10, 50, 90]) == pytest.approx(values[1:4], rel=0.05)

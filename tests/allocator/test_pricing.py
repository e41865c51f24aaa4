"""Shadow prices: what is chosen fits, and what fits is chosen."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from ghostdesk.allocator.pricing import choose, shadow_price, worth_it

WISHES = st.lists(st.tuples(st.floats(0.001, 100), st.floats(0.1, 50)), max_size=40)


@given(WISHES, st.floats(-10, 500))
def test_what_is_chosen_fits(wishes: list[tuple[float, float]], capacity: float) -> None:
    values, costs = np.array([w[0] for w in wishes]), np.array([w[1] for w in wishes])
    price = shadow_price(values, costs, capacity)
    assert costs[worth_it(values, costs, price)].sum() <= max(capacity, 0.0) + 1e-6


@given(WISHES)
def test_with_room_for_all_everything_of_worth_is_chosen_at_no_price(wishes: list[tuple[float, float]]) -> None:
    values, costs = np.array([w[0] for w in wishes]), np.array([w[1] for w in wishes])
    price = shadow_price(values, costs, 1e9)
    assert price == 0.0
    assert (worth_it(values, costs, price) == (values > 0)).all()


def test_the_dearest_wish_goes_first() -> None:
    values, costs = np.array([1.0, 9.0, 5.0]), np.array([1.0, 1.0, 1.0])
    assert worth_it(values, costs, shadow_price(values, costs, 2.0)).tolist() == [False, True, True]


def test_equals_share_what_room_there_is() -> None:
    values, costs = np.full(10, 3.0), np.full(10, 2.0)
    chosen, price = choose(values, costs, 9.0)
    assert chosen.sum() == 4
    assert price > 0


@given(WISHES, st.floats(0, 500))
def test_choices_fit_and_nothing_better_was_left_out_that_still_fits(
    wishes: list[tuple[float, float]], capacity: float
) -> None:
    values, costs = np.array([w[0] for w in wishes]), np.array([w[1] for w in wishes])
    chosen, _ = choose(values, costs, capacity)
    assert costs[chosen].sum() <= capacity + 1e-6

"""The entropy estimate and Fano's bound, on sources whose entropy is known."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.evaluate.predictability import entropy_rate_bits, highest_hit_rate, predictability


def test_a_source_of_equal_chances_has_the_entropy_of_its_alphabet() -> None:
    generator = random.Random(1)
    apps = [generator.choice("abcdefgh") for _ in range(8000)]
    assert entropy_rate_bits(apps) == pytest.approx(3.0, abs=0.25)
    assert predictability(apps).highest_hit_rate < 0.35


def test_a_round_has_hardly_any_entropy() -> None:
    found = predictability(list("abcd" * 500))
    assert found.entropy_bits < 0.05
    assert found.highest_hit_rate > 0.99
    assert found.apps == 4


def test_a_markov_source() -> None:
    # Stays with probability .9 between two states: H(.1) = .469 bits.
    generator, apps = random.Random(2), ["a"]
    while len(apps) < 10_000:
        stays = generator.random() < 0.9
        apps.append(apps[-1] if stays else ("b" if apps[-1] == "a" else "a"))
    assert entropy_rate_bits(apps) == pytest.approx(0.469, abs=0.06)
    assert highest_hit_rate(0.469, 2) == pytest.approx(0.9, abs=0.001)


def test_run_lengths_by_hand() -> None:
    # a b a b b: shortest new runs are 1, 1, 3 (abb), 2 (bb reaches past the end of what was), 2.
    assert entropy_rate_bits(list("ababb")) == pytest.approx(5 * math.log2(5) / (1 + 1 + 3 + 2 + 2))


@given(st.lists(st.sampled_from("abcde"), min_size=2, max_size=80))
def test_the_bound_is_a_share(apps: list[str]) -> None:
    found = predictability(apps)
    assert found.entropy_bits > 0.0
    assert 1.0 / found.apps <= found.highest_hit_rate <= 1.0


@pytest.mark.parametrize(("bits", "apps", "bound"), [(0.0, 5, 1.0), (9.0, 4, 0.25), (1.0, 1, 1.0)])
def test_ends_of_the_bound(bits: float, apps: int, bound: float) -> None:
    assert highest_hit_rate(bits, apps) == bound


def test_thousands_of_applications_are_told_apart() -> None:
    assert predictability([f"app{n}" for n in range(9000)]).apps == 9000


def test_one_step_has_no_rate() -> None:
    with pytest.raises(ValueError, match="two steps"):
        entropy_rate_bits(["a"])

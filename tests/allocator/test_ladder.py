"""The priced ladder: the likelier, the higher; the dearer, the lower; and nothing flaps."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ghostdesk.allocator.ladder import Ladder, LadderFigures
from ghostdesk.ghosts.ghost import RUNG, GhostState

FIGURES = LadderFigures()


def _ladder(*, can_park: bool = True, threshold: float = 0.3) -> Ladder:
    return Ladder.priced(FIGURES, threshold, 250e6, can_park=can_park)


def _rung(ladder: Ladder, probability: float, held: GhostState = GhostState.ABSENT) -> GhostState:
    step = ladder.rung_for(probability, held)
    return GhostState.ABSENT if step is None else step.rung


def test_a_ghost_climbs_as_its_user_becomes_likelier() -> None:
    ladder = _ladder()
    climbed = [_rung(ladder, p) for p in (0.001, 0.02, 0.2, 0.31)]
    assert climbed == [GhostState.ABSENT, GhostState.CACHED, GhostState.PARKED, GhostState.WARM]
    assert [_rung(_ladder(can_park=False), p) for p in (0.02, 0.2, 0.31)] == [
        GhostState.CACHED,
        GhostState.CACHED,
        GhostState.WARM,
    ]


def test_the_operators_threshold_is_the_price_of_the_last_step_and_moves_the_others() -> None:
    usual, generous = _ladder(), _ladder(threshold=0.1)
    assert usual.steps[-1].pays_from == pytest.approx(0.3)
    for a, b in zip(usual.steps, generous.steps, strict=True):
        assert b.pays_from == pytest.approx(a.pays_from / 3)


def test_each_step_pays_exactly_where_gain_is_price_times_what_it_holds() -> None:
    parked, warm = _ladder().steps[1:]
    price_a_byte = warm.pays_from * warm.saves_s / warm.memory_bytes
    assert parked.pays_from * parked.saves_s == pytest.approx(price_a_byte * parked.memory_bytes)
    assert "parked pays from 7%" in parked.why() and "MB" in parked.why()


@given(st.floats(0, 1), st.floats(0, 1), st.booleans(), st.floats(0.1, 10), st.sampled_from(GhostState))
def test_likelier_is_never_lower_and_dearer_never_higher(
    one: float, other: float, can_park: bool, factor: float, held: GhostState
) -> None:
    low, high = sorted((one, other))
    ladder = _ladder(can_park=can_park, threshold=0.3 * factor)
    assert RUNG[_rung(ladder, low, held)] <= RUNG[_rung(ladder, high, held)]
    dearer = _ladder(can_park=can_park, threshold=0.3 * min(factor * 2, 10.0))
    assert RUNG[_rung(dearer, high, held)] <= RUNG[_rung(ladder, high, held)]


@given(st.floats(0, 1), st.booleans())
def test_what_was_made_is_kept_at_the_same_probability(probability: float, can_park: bool) -> None:
    ladder = _ladder(can_park=can_park)
    made = _rung(ladder, probability)
    assert _rung(ladder, probability, made) is made
    assert RUNG[_rung(ladder, probability * 0.85, made)] >= RUNG[made], "a little less likely changes nothing"

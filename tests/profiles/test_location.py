"""Places are coarse, are matched by cells, and are likely when the person was there before."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.location import (
    CELL_DEGREES,
    KINDS,
    MATCH_WITHIN_M,
    Place,
    PlaceLikelihood,
    cell_of,
    distance_m,
    match_place,
)
from ghostdesk.profiles.situation import Situation

ADA, BOB = UserId("ada"), UserId("bob")
OFFICE, HOME = Place("lab", "office", cell_of(52.52, 13.40)), Place("den", "home", cell_of(52.40, 13.05))
LATITUDE, LONGITUDE = st.floats(-90, 90), st.floats(-180, 180)


@given(LATITUDE, LONGITUDE)
def test_a_cell_is_whole_numbers_within_a_hundredth_of_a_degree(latitude: float, longitude: float) -> None:
    cell = cell_of(latitude, longitude)
    assert all(isinstance(number, int) for number in cell)
    assert abs(cell[0] * CELL_DEGREES - latitude) <= CELL_DEGREES / 2 + 1e-9
    assert abs(cell[1] * CELL_DEGREES - longitude) <= CELL_DEGREES / 2 + 1e-9


@given(st.floats(-89, 89), LATITUDE, st.floats(-0.0099, 0.0099), st.floats(-0.0099, 0.0099))
def test_positions_in_one_cell_are_one_position(latitude: float, longitude: float, north: float, east: float) -> None:
    middle = cell_of(latitude, longitude)
    inside = cell_of(middle[0] * CELL_DEGREES + north, middle[1] * CELL_DEGREES + east)
    assert inside == middle


@pytest.mark.parametrize("position", [(91, 0), (0, 181), (math.nan, 0), (0, math.inf), (-90.5, 0)])
def test_what_is_no_position_is_told(position: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="no position on Earth"):
        cell_of(*position)


@pytest.mark.parametrize("name", ["", " lab", "lab ", "a/b", "a\nb", "x" * 41, "\x00"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a name"):
        Place(name, "office")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="no kind of place"):
        Place("lab", "castle")


def test_the_nearest_place_matches_and_far_ones_do_not() -> None:
    beside = (OFFICE.cell[0], OFFICE.cell[1] + 1) if OFFICE.cell else (0, 0)
    assert match_place([HOME, OFFICE], beside) == OFFICE
    assert match_place([HOME, OFFICE], cell_of(48.1, 11.6)) is None
    assert match_place([Place("train", "travel")], beside) is None
    near = Place("next door", "other", beside)
    assert match_place([OFFICE, near], beside) == near


@given(LATITUDE, LONGITUDE, LATITUDE, LONGITUDE)
def test_distances_are_distances(a: float, b: float, c: float, d: float) -> None:
    one, other = cell_of(a, b), cell_of(c, d)
    assert distance_m(one, one) == 0
    assert distance_m(one, other) == pytest.approx(distance_m(other, one))
    assert 0 <= distance_m(one, other) <= math.pi * 6_371_000.0 + 1


def test_the_date_line_is_no_distance() -> None:
    assert distance_m(cell_of(0, 180), cell_of(0, -180)) == pytest.approx(0, abs=1)
    assert distance_m((2626, 670), (2627, 670)) == pytest.approx(2224, rel=0.01)
    assert distance_m((2626, 670), (2627, 670)) < MATCH_WITHIN_M


def at(hour: float, weekday: int = 0) -> Situation:
    return Situation(hour=hour, weekday=weekday)


def test_places_are_learnt_by_hour_and_day() -> None:
    likely = PlaceLikelihood()
    for _ in range(8):
        likely.observe(ADA, OFFICE, at(10))
        likely.observe(ADA, HOME, at(20))
        likely.observe(ADA, HOME, at(10, weekday=6))
    assert likely.shares(ADA, [OFFICE, HOME], at(10))["lab"] > 0.8
    assert likely.shares(ADA, [OFFICE, HOME], at(20))["den"] > 0.8
    assert likely.shares(ADA, [OFFICE, HOME], at(10, weekday=6))["den"] > 0.8
    assert sum(likely.shares(ADA, [OFFICE, HOME], Situation()).values()) == pytest.approx(1)


def test_others_help_through_the_kind_and_never_by_name() -> None:
    likely = PlaceLikelihood()
    for _ in range(20):
        likely.observe(BOB, Place("Bob's castle", "office"), at(10))
    shares = likely.shares(ADA, [OFFICE, HOME], at(10))
    assert shares["lab"] > 0.7
    assert set(shares) == {"lab", "den"}
    likely.forget(BOB)
    assert likely.shares(ADA, [OFFICE, HOME], at(10))["lab"] == pytest.approx(0.5)
    assert set(KINDS) == {"office", "home", "travel", "other"}


def test_one_place_may_be_forgotten() -> None:
    likely = PlaceLikelihood()
    for _ in range(8):
        likely.observe(ADA, OFFICE, at(10))
    likely.forget(ADA, "lab")
    before = likely.shares(ADA, [Place("lab", "other"), Place("den", "other")], at(10))
    assert before["lab"] == pytest.approx(0.5)

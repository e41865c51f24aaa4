"""The recent applications: against plain lists, and the statistics against a dictionary of contexts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.baselines.ppm import Contexts
from ghostdesk.profiles.recent_apps import CANDIDATES, LENGTH, LIST_STATISTICS, STATISTICS, RecentApps

ROW = np.zeros(1, np.int64)
UNKNOWN = np.array([np.nan])


def learn(recent: RecentApps, app: int, time_s: float = math.nan, hour: float = math.nan) -> int:
    return int(recent.learn(ROW, np.array([app]), np.array([time_s]), np.array([hour]))[0])


@given(st.lists(st.integers(0, 45), max_size=150))
@settings(deadline=None, max_examples=50)
def test_places_and_order_are_those_of_a_plain_list(apps: list[int]) -> None:
    recent, listed = RecentApps(1), list[int]()
    for app in apps:
        expected = listed.index(app) if app in listed else CANDIDATES
        assert learn(recent, app) == expected
        listed = [app, *(other for other in listed if other != app)][:CANDIDATES]
        shown = recent.numbers()[0].tolist()
        assert shown == [*listed, *[-1] * (CANDIDATES - len(listed))]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=200))
@settings(deadline=None, max_examples=50)
def test_partial_matching_is_that_of_a_dictionary_of_contexts(apps: list[int]) -> None:
    recent, contexts = RecentApps(1), Contexts(3, 0.98, 100_000)
    before: tuple[AppId, ...] = ()
    for app in apps:
        learn(recent, app)
        contexts.add(before, AppId(str(app)))
        before = (*before, AppId(str(app)))[-3:]
    statistics, of_list = recent.statistics(ROW, UNKNOWN, UNKNOWN)
    expected = contexts.blend(before, {})
    for place, number in enumerate(recent.numbers()[0].tolist()):
        if number >= 0:
            got = math.exp(statistics[0, place, 0]) - 0.00025
            # the first steps have a context of their own in the ring only once something came before them
            assert got == pytest.approx(expected.get(AppId(str(number)), 0.0), abs=1e-5)
    left = math.exp(4 * of_list[0, 0]) - 0.00025
    assert left == pytest.approx(1.0 - sum(expected.values()), abs=1e-5)


@given(st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=1, max_size=80), st.booleans())
@settings(deadline=None, max_examples=25)
def test_people_side_by_side_are_as_people_alone(steps: list[list[int]], timed: bool) -> None:
    together, alone = RecentApps(3), [RecentApps(1) for _ in range(3)]
    rows = np.arange(3)
    for i, apps in enumerate(steps):
        time_s = np.full(3, 1e9 + 60 * i if timed else np.nan)
        hour = np.full(3, i % 24 if timed else np.nan)
        together.learn(rows, np.array(apps), time_s, hour)
        for row, one in enumerate(alone):
            one.learn(ROW, np.array([apps[row]]), time_s[:1], hour[:1])
    asked = (np.full(3, 1e9 + 1e4), np.full(3, 13.5))
    statistics, of_list = together.statistics(rows, *asked)
    for row, one in enumerate(alone):
        single, single_list = one.statistics(ROW, asked[0][:1], asked[1][:1])
        np.testing.assert_allclose(statistics[row], single[0], rtol=1e-6)
        np.testing.assert_allclose(of_list[row], single_list[0], rtol=1e-6)


def test_an_application_that_lost_its_place_leaves_nothing_behind() -> None:
    recent = RecentApps(1)
    for app in range(CANDIDATES + 1):
        learn(recent, app, 1e9, 12.0)
    assert 0 not in recent.numbers()[0]
    assert learn(recent, 0) == CANDIDATES
    statistics, _ = recent.statistics(ROW, UNKNOWN, np.array([12.0]))
    assert math.exp(statistics[0, 0, 6]) == pytest.approx(0.001)


def test_the_time_of_day_is_learnt_and_what_is_not_known_says_so() -> None:
    recent = RecentApps(1)
    for day in range(20):
        learn(recent, 1, 1e9 + day * 86_400, 9.0)
        learn(recent, 2, 1e9 + day * 86_400 + 36_000, 19.0)
    morning, _ = recent.statistics(ROW, np.array([1e9 + 21 * 86_400]), np.array([9.0]))
    unknown, _ = recent.statistics(ROW, UNKNOWN, UNKNOWN)
    assert morning[0, 1, 6] > morning[0, 0, 6]
    assert morning[0, 0, 12:].tolist() == [1.0, 1.0]
    assert unknown[0, 0, 11:].tolist() == [0.0, 0.0, 0.0]


def test_a_million_steps_of_one_person_stay_bounded_and_finite() -> None:
    recent = RecentApps(1)
    size = recent.nbytes()
    for i in range(3 * LENGTH):
        learn(recent, i % 3, 1e9 + i, 5.0)
    recent.steps[:] = 2**31
    assert recent.nbytes() == size < 2048 - 256
    assert recent.hours.max() <= 255
    statistics, of_list = recent.statistics(ROW, np.array([1e300]), np.array([1e300]))
    assert np.isfinite(statistics).all()
    assert np.isfinite(of_list).all()


def test_an_empty_past_has_no_candidate() -> None:
    statistics, of_list = RecentApps(2).statistics(np.arange(2), np.full(2, 1e9), np.full(2, 1.0))
    assert statistics.shape == (2, CANDIDATES, STATISTICS)
    assert of_list.shape == (2, LIST_STATISTICS)
    assert not statistics.any()

"""Usage curves live: what is kept, what newcomers get, forgetting, and odd samples."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.resource_curves.hourly_store import HourlyStore
from ghostdesk.profiles.resource_curves.live import ResourceCurves
from ghostdesk.profiles.resource_curves.model_file import models_from_arrays, models_to_arrays
from ghostdesk.profiles.resource_curves.training import CurveTraining, train_curves

HOUR = 3600.0
START = 480_000 * HOUR
ADA, BOB, NEW = UserId("ada"), UserId("bob"), UserId("new")
MEDIAN = LEVELS.index(0.5)


def lived(users=(ADA, BOB), hours=100, resource="cpu_cores"):
    curves = ResourceCurves()
    for hour in range(hours):
        for scale, user in enumerate(users, start=1):
            curves.observe(user, resource, START + hour * HOUR, float(scale * (1 + hour % 2)))
    return curves, START + hours * HOUR


def test_a_known_user_gets_their_own_and_a_newcomer_everyones():
    curves, now = lived()
    ada, bob, new = curves.quantiles([ADA, BOB, NEW], now, 2 * HOUR, HOUR)
    medians = [one.amounts["cpu_cores"][0][MEDIAN] for one in (ada, bob, new)]
    assert medians[0] == pytest.approx(1.5, abs=0.3)
    assert medians[1] == pytest.approx(3.0, abs=0.5)
    assert medians[0] < medians[2] < medians[1]


def test_few_hours_are_drawn_towards_everyone():
    curves, now = lived(users=(ADA, BOB))
    curves.observe(NEW, "cpu_cores", now - HOUR, 100.0)
    first = curves.hourly_quantiles([NEW], "cpu_cores", now)[0, 0, MEDIAN]
    assert 2.0 < first < 50.0


def test_what_is_known_otherwise_goes_before_everyone_and_gives_way_with_the_hours():
    curves, now = lived(users=(ADA, BOB))
    known = np.full((2, len(LEVELS)), 7.0, dtype=np.float32)
    new, ada = curves.hourly_quantiles([NEW, ADA], "cpu_cores", now, prior=known)[:, 0]
    assert (new == 7.0).all()
    assert (ada == curves.hourly_quantiles([ADA], "cpu_cores", now)[0, 0]).all()


@pytest.mark.parametrize("first_hour", [0, 24 * 5 + 7])
def test_the_live_path_says_what_the_scored_model_says_of_the_same_hours(first_hour):
    """`ghostdesk evaluate curves` gives the model rows of a table; the service gives it what came sample by sample."""
    rng = np.random.default_rng(1)
    busy = (np.arange(300) % 24 >= 8)[None, :] * 3.0 + 0.1
    table = (busy * rng.gamma(4.0, 0.25, (20, 300))).astype(np.float32)
    table[:, 200:230] = np.nan
    model = train_curves(table, first_hour, CurveTraining(members=1, epochs=1, rows=400))
    assert model.members
    curves = ResourceCurves({"cpu_cores": model})
    users = [UserId(str(i)) for i in range(20)]
    for hour in range(250):
        for user, value in zip(users, table[:, hour], strict=True):
            for part in (0.5, 1.5) if np.isfinite(value) else ():  # two samples an hour, of this mean
                time_s = (first_hour + hour) * HOUR + 900.0 * part
                curves.observe(user, "cpu_cores", time_s, float(value) * part)
    scored = model.quantiles(table[:, 250 - 168 : 250], np.full(20, (first_hour + 250) % 168, dtype=np.float64), 12)
    served = curves.hourly_quantiles(users, "cpu_cores", (first_hour + 250) * HOUR)
    assert served == pytest.approx(scored, rel=0.01, abs=0.01)


def test_nobody_measured_means_nothing_forecast():
    assert ResourceCurves().quantiles([ADA], START, HOUR, 300.0)[0].amounts == {}
    curves, now = lived()
    assert set(curves.quantiles([NEW], now, HOUR, 300.0)[0].amounts) == {"cpu_cores"}
    assert curves.measured() == ("cpu_cores",)


def test_slots_cover_the_horizon_and_past_two_days_the_second_day_comes_again():
    curves, now = lived()
    one = curves.quantiles([ADA], now, 60 * HOUR, 300.0)[0].amounts["cpu_cores"]
    assert len(one) == 720
    assert one[48 * 12 :] == one[24 * 12 : 36 * 12]
    assert len(curves.quantiles([ADA], now, 301.0, 300.0)[0].amounts["cpu_cores"]) == 2
    with pytest.raises(ValueError, match="horizon"):
        curves.quantiles([ADA], now, 0.0, 300.0)


def test_forgetting_leaves_nothing_and_others_keep_theirs():
    curves, now = lived()
    before = curves.hourly_quantiles([BOB], "cpu_cores", now)
    curves.forget(ADA)
    curves.forget(NEW)
    assert curves.hours_known(ADA, "cpu_cores", now) == 0
    assert curves.hours_known(BOB, "cpu_cores", now) == 100
    alone = curves.hourly_quantiles([ADA], "cpu_cores", now)[0, 0, MEDIAN]
    assert alone == pytest.approx(3.0, abs=0.5)  # only Bob is left to borrow from
    assert curves.hourly_quantiles([BOB], "cpu_cores", now) == pytest.approx(before, rel=0.1)
    curves.forget(BOB)
    assert curves.measured() == ()
    assert (curves.hourly_quantiles([BOB], "cpu_cores", now) == 0.0).all()


def test_one_users_flood_does_not_move_everyones_quantiles():
    users = [UserId(f"u{i}") for i in range(40)]
    curves, now = lived(users=users, hours=30)
    before = curves.hourly_quantiles([NEW], "cpu_cores", now)[0, 0, MEDIAN]
    for i in range(5000):
        curves.observe(ADA, "cpu_cores", now - 30 * HOUR + i * 20, 1e14)
    after = curves.hourly_quantiles([NEW], "cpu_cores", now + HOUR)[0, 0, MEDIAN]
    assert after == pytest.approx(before, rel=0.15)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["cpu_cores", "memory_bytes", "tea"]),
            st.one_of(st.floats(), st.floats(START - 1e6, START + 1e6)),
            st.one_of(st.floats(), st.floats(0, 1e10)),
        ),
        max_size=40,
    )
)
def test_rubbish_gives_sane_forecasts(samples):
    curves = ResourceCurves()
    for user, resource, time_s, value in samples:
        curves.observe(UserId(user), resource, time_s, value)
    for one in curves.quantiles([UserId("a"), UserId("d")], START, 3 * HOUR, 1800.0):
        assert set(one.amounts) <= {"cpu_cores", "memory_bytes"}
        for slots in one.amounts.values():
            assert all(math.isfinite(q) and q >= 0 for slot in slots for q in slot)
            assert all(low <= high for slot in slots for low, high in itertools.pairwise(slot))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 400), st.floats(0, 1e9)), max_size=60))
def test_the_store_holds_what_a_plain_dictionary_would(samples):
    """In order of time within each user; a week back from each one's latest hour."""
    store, plain = HourlyStore(), {}
    for user, hour, value in sorted(samples, key=lambda sample: sample[1]):
        store.add(UserId(user), "cpu_cores", hour, value)
        plain.setdefault((user, hour), []).append(value)
    window = store.windows([UserId(u) for u in "abcd"], "cpu_cores", 401)
    for row, user in enumerate("abcd"):
        latest = max((hour for one, hour in plain if one == user), default=-1)
        for column, hour in enumerate(range(401 - 168, 401)):
            values = plain.get((user, hour)) if hour > latest - 168 else None
            if values is None:
                assert np.isnan(window[row, column])
            else:
                assert window[row, column] == pytest.approx(float(np.mean(values)), rel=1e-3, abs=2e-6)


def test_late_samples_fill_gaps_and_change_nothing_that_is_known():
    store = HourlyStore()
    store.add(ADA, "cpu_cores", 1000, 5.0)
    store.add(ADA, "cpu_cores", 990, 2.0)
    store.add(ADA, "cpu_cores", 990, 99.0)
    store.add(ADA, "cpu_cores", 700, 99.0)  # older than a week
    window = store.windows([ADA], "cpu_cores", 1001)[0]
    assert window[-1] == pytest.approx(5.0, rel=1e-3)
    assert window[-11] == pytest.approx(2.0, rel=1e-3)
    assert np.isnan(window).sum() == 166


def test_hot_state_is_348_bytes_a_user_and_resource():
    store = HourlyStore()
    for i in range(1024):
        store.add(UserId(str(i)), "cpu_cores", 5, 1.0)
    table = store._tables["cpu_cores"]
    held = sum(array.nbytes for array in (table.codes, table.hour, table.total, table.count))
    assert held <= 1024 * 348


def test_models_are_trained_served_and_stored():
    rng = np.random.default_rng(0)
    curves = ResourceCurves()
    for user in range(12):
        for hour in range(168):
            busy = 4.0 if 8 <= hour % 24 < 18 else 0.2
            curves.observe(UserId(str(user)), "cpu_cores", START + hour * HOUR, busy * float(rng.gamma(9.0, 0.11)))
    now = START + 168 * HOUR
    held = curves._store.windows([UserId(str(user)) for user in range(12)], "cpu_cores", int(now // HOUR))
    models = {"cpu_cores": train_curves(held, int(START // HOUR), CurveTraining(members=1, epochs=2))}
    assert len(models["cpu_cores"].members) == 1
    before = curves.hourly_quantiles([UserId("3")], "cpu_cores", now)
    curves.use(models)
    assert (curves.hourly_quantiles([UserId("3")], "cpu_cores", now) != before).any()
    again = models_from_arrays(*models_to_arrays(models))
    other = ResourceCurves(again)
    assert other.models["cpu_cores"].pool_scale == models["cpu_cores"].pool_scale
    with pytest.raises(ConfigError):
        models_from_arrays({"cpu_cores": "a class path"}, {})

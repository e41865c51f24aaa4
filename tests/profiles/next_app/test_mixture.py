"""The mixture of next-application experts: proper shares, a bounded regret, learning, lending, and forgetting."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.next_app.evidence import FEATURES, START, PersonEvidence
from ghostdesk.profiles.next_app.forecasts import NextAppForecasts
from ghostdesk.profiles.next_app.mixture import SWITCH, NextAppMixture, reweighed
from ghostdesk.profiles.next_app.network import EvidenceNetwork, Lesson
from ghostdesk.profiles.next_app.pool import Attributes, LendingPool
from ghostdesk.profiles.situation import Situation
from ghostdesk.telemetry.events import EventKind, UsageEvent

APPS = st.sampled_from([AppId(name) for name in "abcdefgh"])
SITUATIONS = st.builds(
    Situation,
    hour=st.none() | st.floats(0, 24, exclude_max=True),
    weekday=st.none() | st.integers(0, 6),
    session_position=st.none() | st.integers(0, 9),
    dwell_s=st.none() | st.floats(0, 1e9),
    microphone=st.none() | st.booleans(),
    camera=st.none() | st.booleans(),
    mode=st.none() | st.sampled_from(["", "video"]),
    place=st.none() | st.sampled_from(["", "office"]),
    file_type=st.none() | st.just("text/plain"),
    calendar_minutes=st.none() | st.floats(-1e6, 1e6),
    calendar_series=st.none() | st.just("s"),
)
WEEK = WeekSlots("UTC", 1800)


@given(st.lists(st.tuples(APPS, SITUATIONS), max_size=60))
def test_shares_are_probabilities_whatever_is_known(steps: list[tuple[AppId, Situation]]) -> None:
    mixture = NextAppMixture(EvidenceNetwork())
    for app, situation in steps:
        shares = mixture.shares(situation)
        assert all(0.0 <= share <= 1.0 for share in shares.values())
        assert sum(shares.values()) <= 1.0 + 1e-6
        assert START not in shares
        mixture.learn(app, situation)
        assert sum(mixture.weights.values()) == pytest.approx(1.0)


@given(st.lists(st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=3), min_size=1, max_size=80))
def test_the_whole_is_never_much_worse_than_its_best_member(rounds: list[list[float]]) -> None:
    """The bound of the fixed share, on any sequence: what an adversary chose included."""
    weights = {"one": 0.8, "two": 0.1, "three": 0.1}
    whole, alone = 0.0, dict.fromkeys(weights, 0.0)
    for chances in rounds:
        told = dict(zip(weights, chances, strict=True))
        whole -= math.log(sum(weights[n] * told[n] for n in weights))
        for name, chance in told.items():
            alone[name] -= math.log(chance)
        weights = reweighed(weights, told)
    keeps = -math.log(1.0 - SWITCH)
    for name, first in {"one": 0.8, "two": 0.1, "three": 0.1}.items():
        assert whole <= alone[name] - math.log(first) + len(rounds) * keeps + 1e-6


def test_a_habit_is_learnt_and_the_habit_of_a_place_too() -> None:
    office, home = Situation(place="office"), Situation(place="home")
    mixture = NextAppMixture(EvidenceNetwork())
    apps = [AppId(a) for a in ("mail", "web")]
    for turn in range(120):
        mixture.learn(apps[turn % 2], Situation())
    assert max(mixture.shares().items(), key=lambda one: one[1])[0] == apps[0]
    person = PersonEvidence()
    for _ in range(30):
        for place, app in ((office, AppId("cad")), (home, AppId("games"))):
            person.learn(AppId("mail"), place)
            person.learn(app, place)
    person.learn(AppId("mail"), office)
    at_office, at_home = person.evidence(office), person.evidence(home)
    cad = at_office.apps.index(AppId("cad"))
    assert not np.allclose(at_office.features[cad], at_home.features[cad])


def test_the_network_learns_and_a_new_one_says_what_the_contexts_say() -> None:
    rng = np.random.default_rng(3)
    network, lessons = EvidenceNetwork(seed=1), []
    person = PersonEvidence()
    for _ in range(600):
        app = AppId("ab"[int(rng.random() < 0.3)] if person.trail[-1:] != ["b"] else "c")
        seen = person.evidence()
        lessons.append(Lesson(seen.features, seen.apps.index(app) if app in seen.apps else len(seen.apps)))
        person.learn(app)
    first = network.learn(lessons[300:])
    for _ in range(60):
        last = network.learn(lessons[300:])
    assert last < first * 0.97
    again = EvidenceNetwork.from_arrays(network.to_arrays())
    assert np.array_equal(again.scores(lessons[-1].features), network.scores(lessons[-1].features))
    assert np.exp(again.scores(lessons[-1].features)).sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("spoil", ["missing", "shape", "nan"])
def test_weights_of_another_network_are_refused(spoil: str) -> None:
    arrays = EvidenceNetwork().to_arrays()
    if spoil == "missing":
        del arrays["in"]
    elif spoil == "shape":
        arrays["linear"] = np.zeros(FEATURES + 1, dtype=np.float32)
    else:
        arrays["linear"][0] = np.nan
    with pytest.raises(ConfigError, match="do not fit"):
        EvidenceNetwork.from_arrays(arrays)


def used(person: str, apps: str, times: int) -> tuple[UserId, PersonEvidence]:
    made = PersonEvidence()
    for _ in range(times):
        for app in apps:
            made.learn(AppId(app))
    return UserId(person), made


def test_everyone_counts_once_in_the_pool() -> None:
    modest = dict([used("ann", "ab", 50), used("bob", "ab", 50)])
    loud = {**modest, **dict([used("eve", "xy", 5_000)])}
    pool = LendingPool.of(loud, {})
    assert sum(pool.usage.values()) == pytest.approx(1.0)
    assert pool.usage[AppId("x")] + pool.usage[AppId("y")] < 0.4


def test_colleagues_and_those_alike_lend_their_habits() -> None:
    people = dict([used("ann", "ab", 20), used("bob", "cd", 20), used("cy", "cde", 20)])
    jobs = {UserId("ann"): Attributes(department="law"), UserId("bob"): Attributes(department="art")}
    pool = LendingPool.of(people, jobs)
    lent = pool.lend(None, Attributes(department="art"), ())
    assert max(lent.shares[2], key=lambda app: lent.shares[2][app]) in ("c", "d")
    name, new = used("new", "c", 2)
    alike = pool.alike(name, new)
    assert {alike[0][0], alike[1][0]} == {UserId("bob"), UserId("cy")}
    assert pool.lend(AppId("c"), Attributes(), alike).shares[3][AppId("d")] > 0.5


def events(user: str, apps: list[str], start_s: float, every_s: float = 60.0) -> list[UsageEvent]:
    return [
        UsageEvent(start_s + i * every_s, EventKind.APP_LAUNCH, UserId(user), AppId(app)) for i, app in enumerate(apps)
    ]


def test_a_million_events_of_one_person_move_others_no_more_than_a_busy_colleague_does() -> None:
    """Twenty times the events: the newcomer's forecast stays as it was, within a few hundredths."""
    told = []
    for times in (200, 4_000):
        forecasts = NextAppForecasts(WEEK)
        for number in range(6):
            for event in events(f"user{number}", ["mail", "web", "cad"] * 20, 1e9):
                forecasts.observe(event)
        for event in events("eve", ["evil", "bad"] * (times // 2), 1e9):
            forecasts.observe(event, apps_after=999)
        shares = {a.app: a.probability for a in forecasts.predict(UserId("new"), 2e9, 20)}
        told.append(shares.get(AppId("evil"), 0.0) + shares.get(AppId("bad"), 0.0))
    assert told[1] < 0.35
    assert abs(told[1] - told[0]) < 0.08


def test_who_is_forgotten_is_gone_from_what_others_are_lent() -> None:
    forecasts = NextAppForecasts(WEEK)
    for event in events("ann", ["secret", "mail"] * 30, 1e9) + events("bob", ["web", "mail"] * 30, 1e9):
        forecasts.observe(event)
    assert any(a.app == "secret" for a in forecasts.predict(UserId("new"), 2e9, 20))
    forecasts.forget(UserId("ann"))
    assert not any(a.app == "secret" for a in forecasts.predict(UserId("new"), 2e9, 20))
    assert not any(a.app == "secret" for a in forecasts.predict(UserId("ann"), 2e9, 20))
    assert "secret" not in forecasts.usage_shares(UserId("ann"))


def test_odd_order_and_repeats_change_nothing() -> None:
    forecasts = NextAppForecasts(WEEK)
    for event in events("ann", ["a", "b", "c"] * 10, 1e9):
        forecasts.observe(event)
    before = forecasts.predict(UserId("ann"), 1e9 + 1900, 9)
    for late in events("ann", ["z", "z"], 1e9 - 500):
        forecasts.observe(late)
    forecasts.observe(UsageEvent(1e9 + 1740.0, EventKind.APP_FOCUS, UserId("ann"), AppId("c")))
    after = forecasts.predict(UserId("ann"), 1e9 + 1900, 9)
    assert [a.app for a in before] == [a.app for a in after]


@given(st.lists(st.tuples(st.floats(0, 4e9), st.sampled_from(list(EventKind)), st.sampled_from("abc")), max_size=30))
def test_any_events_give_shares(rows: list[tuple[float, EventKind, str]]) -> None:
    forecasts = NextAppForecasts(WEEK)
    for time_s, kind, app in rows:
        forecasts.observe(UsageEvent(time_s, kind, UserId("u"), AppId(app), value=1.0, detail="x"))
        found = forecasts.predict(UserId("u"), time_s, 5)
        assert sum(a.probability for a in found) <= 1.0 + 1e-6


def test_whoever_rests_keeps_their_forecast_and_wakes_with_their_habits() -> None:
    forecasts = NextAppForecasts(WEEK, most_awake=8)
    whole = NextAppForecasts(WEEK)
    for one in (forecasts, whole):
        for event in events("ann", ["mail", "web", "cad"] * 20, 1e9):
            one.observe(event)
        for number in range(20):
            for event in events(f"user{number}", ["x", "y"] * 3, 1e9 + 9_000 + number):
                one.observe(event)
    later_s = 1e9 + 90_000.0
    resting, awake = (one.predict(UserId("ann"), later_s, 3) for one in (forecasts, whole))
    assert resting[0].app == awake[0].app == "mail"
    assert sum(a.probability for a in resting) <= 1.0 + 1e-3
    for one in (forecasts, whole):
        for event in events("ann", ["mail", "web"], later_s):
            one.observe(event)
    woken, whole_ann = (one.predict(UserId("ann"), later_s + 61.0, 3) for one in (forecasts, whole))
    assert woken[0].app == whole_ann[0].app == "cad"
    forecasts.forget(UserId("user0"))
    assert not any(a.app == "x" and a.probability > 0.9 for a in forecasts.predict(UserId("user0"), later_s, 3))


def test_only_the_first_application_of_a_session_counts_as_such() -> None:
    forecasts = NextAppForecasts(WEEK)
    for day in range(30):
        for event in events("ann", ["mail", "web", "cad"], 1e9 + day * 86_400.0):
            forecasts.observe(event)
    morning_s = 1e9 + 31 * 86_400.0
    assert forecasts.predict(UserId("ann"), morning_s, 1)[0].app == "mail"
    for event in events("ann", ["mail"], morning_s):
        forecasts.observe(event)
    assert forecasts.predict(UserId("ann"), morning_s + 30.0, 1)[0].app == "web"
    for event in events("ann", ["web"], morning_s + 60.0):
        forecasts.observe(event)
    assert forecasts.predict(UserId("ann"), morning_s + 90.0, 1)[0].app == "cad"

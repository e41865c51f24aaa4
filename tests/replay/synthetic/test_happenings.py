"""What scenarios and calendars do to a synthetic organisation's days."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from ghostdesk.replay.synthetic.people import user_name
from ghostdesk.replay.synthetic.scenarios import DAY_S, FIRST_DAY_S, parse_scenario
from ghostdesk.replay.workload import SyntheticWorkload
from ghostdesk.telemetry.events import EventKind, UsageEvent

USERS, DAYS = 80, 21


def made(*scenarios: str, users: int = USERS, days: int = DAYS, rhythm: str = "recorded") -> SyntheticWorkload:
    return SyntheticWorkload(users, days, 30.0, 5, tuple(parse_scenario(one) for one in scenarios), rhythm)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def signed_in(events: Iterable[UsageEvent], at_s: float) -> set[str]:
    """Who was signed in at that moment; events must be in the order of each person's time."""
    state: dict[str, bool] = {}
    for event in events:
        if event.time_s <= at_s and event.kind in (EventKind.SIGN_IN, EventKind.SIGN_OUT):
            state[str(event.user)] = event.kind is EventKind.SIGN_IN
    return {user for user, there in state.items() if there}


def sign_ins(events: Sequence[UsageEvent], since_s: float, until_s: float) -> int:
    return sum(event.kind is EventKind.SIGN_IN and since_s <= event.time_s < until_s for event in events)


def people_a_day(events: Iterable[UsageEvent]) -> list[int]:
    seen: defaultdict[int, set[object]] = defaultdict(set)
    for event in events:
        seen[int((event.time_s - FIRST_DAY_S) // DAY_S)].add(event.user)
    return [len(seen[day]) for day in range(DAYS)]


@pytest.mark.parametrize("rhythm", ["recorded", "office"])
def test_everything_happens_between_a_sign_in_and_a_sign_out(rhythm: str) -> None:
    scenarios = (
        "class:13:00:30",
        "class:14:00:20",
        "monday-storm",
        "fire-drill:2025-01-07T13:10",
        "new-staff:9:2025-01-06",
    )
    there: defaultdict[str, bool] = defaultdict(bool)
    last_s: defaultdict[str, float] = defaultdict(float)
    for event in made(*scenarios, rhythm=rhythm).events():
        user = str(event.user)
        assert event.time_s >= last_s[user]
        last_s[user] = event.time_s
        assert there[user] is (event.kind is not EventKind.SIGN_IN)
        there[user] = event.kind is not EventKind.SIGN_OUT
    assert not any(there.values())


def test_a_class_starts_on_the_hour_and_only_then() -> None:
    workload = made("class:13:00:30:tue,thu")
    with_class, without = list(workload.events()), list(made().events())
    ((_, members),) = workload.agenda.classes
    free = 30 - workload.agenda.away(members).sum(axis=0)  # some are out of office
    names = {user_name(index) for index in members.tolist()}
    assert len(names) == 30
    for day in range(7, DAYS):
        one_s = FIRST_DAY_S + day * DAY_S + 13 * 3600.0
        came = sign_ins([event for event in with_class if event.user in names], one_s - 30.0, one_s + 240.0)
        if day % 7 in (1, 3):
            assert came == free[day] >= 20
        else:
            assert (
                came == sign_ins([event for event in without if event.user in names], one_s - 30.0, one_s + 240.0) <= 5
            )
    apps = Counter(
        event.app for event in with_class
        if event.app and abs((event.time_s - FIRST_DAY_S) % DAY_S - 13 * 3600.0 - 120.0) < 150.0
        and (event.time_s - FIRST_DAY_S) // DAY_S == 8
    )  # fmt: skip
    assert apps["synthetic.classroom"] == free[8]


def test_a_fire_drill_empties_the_house_and_fills_it_again() -> None:
    events = list(made("fire-drill:2025-01-14T14:00/30", "monday-storm").events())
    at_s = moment("2025-01-14T14:00")
    before = signed_in(events, at_s - 61.0)
    assert len(before) > 20
    assert not signed_in(events, at_s + 61.0) and not signed_in(events, at_s + 29 * 60.0)
    after = signed_in(events, at_s + 33 * 60.0)
    assert len(before & after) > 0.9 * len(before)
    assert sign_ins(events, at_s + 30 * 60.0, at_s + 32 * 60.0) >= len(before & after)


def test_on_mondays_of_a_storm_nearly_everybody_comes_within_a_quarter_of_an_hour() -> None:
    events, usual = list(made("monday-storm").events()), list(made().events())
    morning_s = FIRST_DAY_S + 14 * DAY_S + 8.75 * 3600.0
    assert sign_ins(events, morning_s - 450.0, morning_s + 450.0) > 0.75 * USERS
    assert sign_ins(usual, morning_s - 450.0, morning_s + 450.0) < 0.25 * USERS
    assert people_a_day(events)[8:14] == people_a_day(usual)[8:14]


def test_new_staff_have_no_events_before_their_first_day_and_others_are_as_they_were() -> None:
    workload, usual = made("new-staff:10:2025-01-13", "new-staff:5:2025-01-08"), made()
    for index in (USERS - 1, USERS - 10):
        assert min(event.time_s for event in workload.events_of(index)) >= moment("2025-01-13")
    assert min(event.time_s for event in workload.events_of(USERS - 11)) >= moment("2025-01-08")
    assert list(workload.events_of(USERS - 16)) == list(usual.events_of(USERS - 16))


def test_a_holiday_is_quiet_and_the_days_beside_it_are_as_they_were() -> None:
    quiet, usual = people_a_day(made("holiday:2025-01-15").events()), people_a_day(made().events())
    assert usual[16] > 0.4 * USERS and quiet[16] < 0.2 * usual[16]
    assert quiet[:16] == usual[:16] and quiet[17:] == usual[17:]


def test_one_person_is_the_same_alone_whatever_happens() -> None:
    workload = made("class:13:00:30", "fire-drill:2025-01-07T10:30", "new-staff:9:2025-01-06", "monday-storm")
    events: defaultdict[str, list[UsageEvent]] = defaultdict(list)
    for event in workload.events():
        events[str(event.user)].append(event)
    for index in (0, 17, USERS - 1):
        assert list(workload.events_of(index)) == events[workload.person(index).user]


def test_samples_follow_the_application_in_front() -> None:
    heavy, light = list[float](), list[float]()
    front = None
    for event in made().events():
        front = event.app or front
        if event.kind is EventKind.GPU and event.value is not None:
            (heavy if front in ("synthetic.cad", "synthetic.video", "synthetic.models") else light).append(event.value)
    assert len(heavy) > 30 and np.median(heavy) > 5 * np.median(light)
    assert max(heavy) <= 1.0

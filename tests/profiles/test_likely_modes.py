"""Modes are likely when their owners choose them, raise what their ghosts need, and are forgotten when they say so."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.profiles.forecast import UsageCurve
from ghostdesk.profiles.likely_modes import LikelyModes
from ghostdesk.profiles.location import Place
from ghostdesk.profiles.modes import NO_MODE, Mode
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.history import History

ADA, BOB = UserId("ada"), UserId("bob")
KDENLIVE, GIMP, PLAYER, FIREFOX = (AppId(name) for name in ("kdenlive", "gimp", "player", "firefox"))
EDITING = Mode("video editing", (KDENLIVE, GIMP), ("video/mp4",), Resources(cpu_cores=4.0, memory_bytes=8e9))
BROWSING = Mode("light browsing", (FIREFOX,))
LAB, DEN = Place("lab", "office"), Place("den", "home")
MONDAY_S = datetime(2025, 10, 6, tzinfo=UTC).timestamp()
HOUR_S, DAY_S = 3600.0, 86_400.0


def workdays(weeks: int) -> Iterator[float]:
    for week in range(weeks):
        for day in range(5):
            yield MONDAY_S + (7 * week + day) * DAY_S


def habit(user: UserId = ADA, weeks: int = 3) -> list[UsageEvent]:
    """Comes at ten and edits videos, comes at three and chooses nothing."""
    events = []
    for day_s in workdays(weeks):
        for hour, mode in ((10, EDITING.name), (15, "")):
            at_s = day_s + hour * HOUR_S
            events.append(UsageEvent(at_s, EventKind.SIGN_IN, user))
            if mode:
                events.append(UsageEvent(at_s + 60.0, EventKind.MODE, user, detail=mode))
                events.append(UsageEvent(at_s + 2 * HOUR_S, EventKind.MODE, user, detail=NO_MODE))
    return events


def learnt(events: list[UsageEvent], modes: tuple[Mode, ...] = (EDITING, BROWSING)) -> LikelyModes:
    ways = LikelyModes(WeekSlots("UTC", 1800))
    ways.define({ADA: modes, BOB: modes}, {})
    for event in events:
        ways.observe(event)
    return ways


NEXT_S = MONDAY_S + 21 * DAY_S


def test_a_mode_is_likely_at_its_hour_and_a_session_without_one_counts_against_it() -> None:
    ways = learnt(habit())
    at_ten = {one.name: one for one in ways.modes(ADA, NEXT_S + 10 * HOUR_S)}
    assert 0.6 < at_ten[EDITING.name].probability <= 16 / 17, "fifteen times are no certainty"
    assert (
        at_ten[EDITING.name].reason == f"video editing is likely at this hour ({at_ten[EDITING.name].probability:.0%})"
    )
    at_three = {one.name: one.probability for one in ways.modes(ADA, NEXT_S + 15 * HOUR_S)}
    assert at_three[EDITING.name] < 0.3
    assert ways.needs(ADA, NEXT_S + 10 * HOUR_S)[0].acts
    assert not any(need.acts for need in ways.needs(ADA, NEXT_S + 15 * HOUR_S))


def test_a_mode_that_was_never_chosen_asks_for_nothing_however_few_there_are() -> None:
    ways = learnt([], (EDITING,))
    (shown,) = ways.modes(ADA, NEXT_S)
    assert (shown.reason, ways.needs(ADA, NEXT_S)) == ("", ())


def test_a_chosen_mode_holds_at_once_and_alone_until_it_is_left_or_half_a_day_passed() -> None:
    ways = learnt(habit())
    chosen_s = NEXT_S + 10 * HOUR_S
    ways.observe(UsageEvent(chosen_s, EventKind.MODE, ADA, detail=BROWSING.name))
    (need,) = ways.needs(ADA, chosen_s)
    assert (need.mode, need.probability, need.reason) == (BROWSING.name, 1.0, "light browsing is chosen")
    assert ways.needs(ADA, chosen_s + 13 * HOUR_S) != (need,)
    ways.observe(UsageEvent(chosen_s + 60.0, EventKind.MODE, ADA, detail=NO_MODE))
    assert not any(one.chosen for one in ways.needs(ADA, chosen_s + 60.0))


def test_file_types_bring_the_application_that_they_were_opened_with() -> None:
    ways = learnt(habit())
    at_s = NEXT_S + 10 * HOUR_S
    for app in (PLAYER, FIREFOX, PLAYER):
        ways.observe(UsageEvent(at_s, EventKind.APP_FOCUS, ADA, app))
        ways.observe(UsageEvent(at_s, EventKind.FILE_OPENED, ADA, detail="video/mp4"))
    assert ways.needs(ADA, at_s)[0].apps == (KDENLIVE, GIMP, PLAYER)
    ways.tell(ADA, (EDITING,), (), habit(), files=True)
    assert ways.needs(ADA, at_s)[0].apps == (KDENLIVE, GIMP, PLAYER)
    ways.tell(ADA, (EDITING,), (), habit(), files=False)
    assert ways.needs(ADA, at_s)[0].apps == (KDENLIVE, GIMP), "she refused that files are looked at"


def test_a_likely_mode_raises_what_its_ghost_needs_by_its_chance_and_a_chosen_one_whole() -> None:
    ways = learnt(habit())
    at_s = NEXT_S + 10 * HOUR_S
    plain = UsageCurve(ADA, at_s, 300.0, (0.5,), (0.5,), resources=Resources(1.0, 1e9), high=Resources(2.0, 2e9))
    raised = ways.raised(plain)
    share = raised.modes[0].probability
    assert raised.resources.cpu_cores == pytest.approx(1.0 + share * 3.0)
    assert raised.resources.memory_bytes == pytest.approx(1e9 + share * 7e9)
    assert (raised.high.cpu_cores, raised.high.memory_bytes) == (4.0, 8e9)
    assert raised.reasons[-1].startswith("video editing is likely")
    ways.observe(UsageEvent(at_s, EventKind.MODE, ADA, detail=EDITING.name))
    assert ways.raised(plain).resources == Resources(4.0, 8e9)
    assert ways.raised(UsageCurve(UserId("nobody"), at_s, 300.0)) == UsageCurve(UserId("nobody"), at_s, 300.0)


def test_an_unknown_place_is_taken_as_likely_as_it_is_and_a_known_one_as_it_is() -> None:
    ways = LikelyModes(WeekSlots("UTC", 1800))
    ways.define({ADA: (EDITING, BROWSING)}, {ADA: (LAB, DEN)})
    for day_s in workdays(4):
        at_s = day_s + 10 * HOUR_S
        place, mode = ("lab", EDITING.name) if (day_s // DAY_S) % 2 else ("den", BROWSING.name)
        for kind, detail in ((EventKind.PLACE, place), (EventKind.SIGN_IN, None), (EventKind.MODE, mode)):
            ways.observe(UsageEvent(at_s, kind, ADA, detail=detail))
        ways.observe(UsageEvent(at_s + HOUR_S, EventKind.MODE, ADA, detail=NO_MODE))
    at_s = MONDAY_S + 28 * DAY_S + 10 * HOUR_S
    unknown = {one.name: one.probability for one in ways.modes(ADA, at_s)}
    assert sum(one.probability for one in ways.places(ADA, at_s)) == pytest.approx(1.0)
    ways.observe(UsageEvent(at_s, EventKind.PLACE, ADA, detail="lab"))
    known = {one.name: one.probability for one in ways.modes(ADA, at_s)}
    assert known[EDITING.name] > unknown[EDITING.name] + 0.1
    assert [one.now for one in ways.places(ADA, at_s)] == [True, False]


def test_what_is_forgotten_or_defined_no_more_is_gone_also_from_what_others_have_of_it() -> None:
    fresh = learnt(habit(BOB))
    ways = learnt(sorted(habit(BOB) + habit(ADA)))
    at_s = NEXT_S + 10 * HOUR_S
    ways.forget(ADA)
    assert (ways.modes(ADA, at_s), ways.needs(ADA, at_s)) == ((), ())
    assert ways.modes(BOB, at_s)[0].probability == pytest.approx(fresh.modes(BOB, at_s)[0].probability)
    ways.define({BOB: (BROWSING,)}, {})
    assert [one.name for one in ways.modes(BOB, at_s)] == [BROWSING.name]
    ways.define({BOB: (EDITING, BROWSING)}, {})
    assert ways.modes(BOB, at_s)[0].reason == "", "it is as if it had never been chosen"
    ways.define({}, {})
    assert ways.modes(BOB, at_s) == ()


def test_telling_learns_one_person_anew() -> None:
    ways = learnt(habit())
    at_s = NEXT_S + 10 * HOUR_S
    before = ways.modes(ADA, at_s)
    for _ in range(2):
        ways.tell(ADA, (EDITING, BROWSING), (), habit())
    assert [one.probability for one in ways.modes(ADA, at_s)] == pytest.approx([one.probability for one in before])
    ways.tell(ADA, (), (), habit())
    assert ways.modes(ADA, at_s) == ()


def test_the_engine_learns_modes_from_its_history_and_forgets_them() -> None:
    engine = UserProfileEngine()
    engine.set_ways({ADA: (EDITING,)}, {})
    engine.fit(History.of(habit()), NEXT_S)
    curve = engine.predict_resource_needs(ADA, NEXT_S + 10 * HOUR_S)
    assert curve.modes[0].mode == EDITING.name and curve.modes[0].acts
    assert any("video editing is likely at this hour" in reason for reason in curve.reasons)
    engine.fit(History.of([]), NEXT_S)
    assert engine.predict_resource_needs(ADA, NEXT_S + 10 * HOUR_S).modes == (), "learnt from nothing"
    engine.observe(UsageEvent(NEXT_S, EventKind.MODE, ADA, detail=EDITING.name))
    assert engine.predict_resource_needs(ADA, NEXT_S).modes[0].chosen
    engine.forget(ADA)
    assert engine.predict_resource_needs(ADA, NEXT_S).modes == ()


EVENTS = st.builds(
    UsageEvent,
    time_s=st.floats(MONDAY_S, MONDAY_S + 3e6),
    kind=st.sampled_from(
        [EventKind.SIGN_IN, EventKind.MODE, EventKind.PLACE, EventKind.FILE_OPENED, EventKind.APP_FOCUS]
    ),
    user=st.sampled_from([ADA, BOB, UserId("undefined"), None]),
    app=st.sampled_from([KDENLIVE, None]),
    detail=st.sampled_from([EDITING.name, "lab", "travel", "video/mp4", "", None]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=60), st.floats(MONDAY_S, MONDAY_S + 4e6))
def test_whatever_happens_chances_are_chances(events: list[UsageEvent], now_s: float) -> None:
    ways = LikelyModes(WeekSlots("Europe/Berlin", 1800))
    ways.define({ADA: (EDITING, BROWSING), BOB: (EDITING,)}, {ADA: (LAB, DEN)})
    for event in events:
        ways.observe(event)
    for user in (ADA, BOB):
        assert sum(one.probability for one in ways.modes(user, now_s)) <= 1.0 + 1e-9
        needs = ways.needs(user, now_s)
        assert sum(need.probability for need in needs) <= 1.0 + 1e-9
        assert [need.probability for need in needs] == sorted((need.probability for need in needs), reverse=True)
    ways.forget(ADA)
    ways.forget(BOB)
    assert ways._modes._habits._pool == {} and ways._places._habits._pool == {}

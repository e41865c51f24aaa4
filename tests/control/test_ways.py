"""Modes and places in the whole control plane: into the plan, switched off by consent, gone with a deletion."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from control_world import START_S, World

from ghostdesk.control.personal import COMMAND_LINE
from ghostdesk.control.ways import read_ways, ways_of_store
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.profiles.location import Place
from ghostdesk.profiles.modes import NO_MODE, Mode
from ghostdesk.telemetry.consent import Consent
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent
from ghostdesk.telemetry.history import History

ADA, BOB = UserId("ada"), UserId("bob")
EDITING = Mode("video editing", (AppId("kdenlive"), AppId("gimp")), (), Resources(4.0, 8e9))
DAY_S = 86_400.0


def past(user: UserId = ADA) -> list[UsageEvent]:
    """Three weeks in which she came at this hour of the day and edited videos."""
    events = []
    for days in range(21, 0, -1):
        at_s = START_S - days * DAY_S
        events += [
            UsageEvent(at_s, EventKind.SIGN_IN, user),
            UsageEvent(at_s + 30.0, EventKind.MODE, user, detail=EDITING.name),
            UsageEvent(at_s + 3600.0, EventKind.MODE, user, detail=NO_MODE),
            UsageEvent(at_s + 7000.0, EventKind.SIGN_OUT, user),
        ]
    return events


class Live:
    """A control plane in virtual time with the real engine, which learnt from the database."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, floor=2, ceiling=6)
        self.engine = UserProfileEngine()
        self.world.loop.profiles = self.engine
        self.personal = self.world.plane.personal
        self.personal.links.ways = self.engine.ways
        self.store = self.world.store
        self.store.put_mode(ADA, EDITING)
        self.store.add_events(past())
        found = read_ways(self.store)
        self.engine.set_ways(found.modes, found.places)
        self.engine.fit(History.of(self.store.events()), START_S)

    def reasons(self) -> str:
        return " ".join(self.engine.predict_resource_needs(ADA, self.world.clock.now_s()).reasons)

    def bytes(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.world.folder.glob("world.db*"))


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path)
    yield made
    made.world.close()


async def test_a_likely_mode_is_in_the_plan_and_on_the_page_with_its_reason(live: Live) -> None:
    await live.world.pass_time(30)
    await live.world.clock.run(live.world.plane.prepare_desktop(ADA))  # she is at the door
    await live.world.pass_time(30)
    ghost = live.world.manager.of_user(ADA)
    assert ghost is not None
    assert (ghost.state, ghost.apps) == (GhostState.WARM, ("kdenlive", "gimp"))
    assert "video editing is likely at this hour" in ghost.reason
    (shown,) = (await live.personal.data(ADA)).modes
    assert shown.probability > 0.5 and not shown.chosen
    assert shown.reason in ghost.reason
    assert live.engine.predict_resource_needs(ADA, START_S).get_requirements_for(ghost).memory_bytes > 4e9


async def test_a_mode_chosen_in_a_desktop_that_is_open_holds_at_once(live: Live) -> None:
    await live.personal.put_mode(BOB, EDITING)
    await live.world.pass_time(30)
    await live.world.clock.run(live.world.plane.open_desktop(BOB))
    await live.personal.choose_mode(BOB, EDITING.name)
    assert live.world.plane.wake.is_set(), "no tick is waited for"
    await live.world.pass_time(10)
    ghost = live.world.manager.of_user(BOB)
    assert ghost is not None and set(ghost.apps) >= {"kdenlive", "gimp"}
    (shown,) = (await live.personal.data(BOB)).modes
    assert (shown.chosen, shown.reason) == (True, "video editing is chosen")


async def test_a_refusal_switches_it_off_and_agreeing_again_brings_back_what_is_stored(live: Live) -> None:
    assert "video editing" in live.reasons()
    await live.personal.set_consent(ADA, TelemetrySource.MODE, False)
    assert "video editing" not in live.reasons()
    assert [one.probability for one in (await live.personal.data(ADA)).modes] == [0.0]
    assert read_ways(live.store).modes == {}
    await live.personal.set_consent(ADA, TelemetrySource.MODE, True)
    assert "video editing" in live.reasons()


async def test_a_refusal_from_the_command_line_is_heard(live: Live) -> None:
    await live.personal.load()
    live.store.put_consent(Consent(ADA, TelemetrySource.MODE, False, live.world.clock.now_s()))
    await live.personal.refresh()
    assert "video editing" not in live.reasons()


async def test_the_operators_off_holds_for_everyone(live: Live) -> None:
    assert read_ways(live.store, [TelemetrySource.FOCUS]).modes == {}
    assert ways_of_store(live.store, "UTC", START_S, [TelemetrySource.FOCUS]).modes(ADA, START_S) == ()


async def test_a_deleted_mode_is_gone_from_forecast_and_database(live: Live) -> None:
    await live.personal.delete_mode(ADA, EDITING.name)
    await live.world.clock.run_until(live.world.clock.now_s() + 5.0)
    assert "video editing" not in live.reasons()
    assert live.engine.ways.modes(ADA, START_S) == ()
    assert b"video editing" not in live.bytes()


@pytest.mark.parametrize("source", [TelemetrySource.MODE, None])
async def test_what_is_deleted_is_learnt_no_more_by_anyone(live: Live, source: TelemetrySource | None) -> None:
    await live.personal.put_mode(BOB, EDITING)
    lent = live.engine.ways.modes(BOB, START_S)[0].probability
    await live.personal.delete(ADA, source)
    await live.world.clock.run_until(live.world.clock.now_s() + 5.0)
    assert live.engine.ways.modes(ADA, START_S) == ()
    assert "video editing" not in live.reasons()
    assert live.engine.ways.modes(BOB, START_S)[0].probability < lent - 0.05
    await live.personal.delete_mode(BOB, EDITING.name)
    assert b"video editing" not in live.bytes()


async def test_a_mode_defined_and_chosen_from_the_command_line_holds_within_seconds(live: Live) -> None:
    await live.personal.load()
    await live.world.clock.run_until(live.world.clock.now_s() + 10.0)
    now_s = live.world.clock.now_s()
    live.store.put_mode(BOB, EDITING)
    live.store.add_events([UsageEvent(now_s, EventKind.MODE, BOB, detail=EDITING.name, source=COMMAND_LINE)])
    await live.personal.refresh()
    await live.world.clock.run_until(now_s + 1.0)
    assert live.engine.predict_resource_needs(BOB, now_s + 1.0).modes[0].chosen


async def test_places_are_used_with_consent_alone_and_shown_with_how_likely_they_are(live: Live) -> None:
    live.store.put_place(ADA, Place("lab", "office"))
    assert read_ways(live.store).places == {}
    await live.personal.set_consent(ADA, TelemetrySource.PLACE, True)
    await live.personal.put_place(ADA, "den", "home", None)
    for _ in range(5):
        await live.personal.go_to(ADA, "den")
        await live.world.clock.run_until(live.world.clock.now_s() + 2000.0)
    shown = {place.name: place for place in (await live.personal.data(ADA)).places}
    assert shown["den"].here and not shown["lab"].here
    assert shown["den"].probability > 0.6
    assert shown["den"].probability + shown["lab"].probability == pytest.approx(1.0)
    await live.personal.set_consent(ADA, TelemetrySource.PLACE, False)
    assert [place.probability for place in (await live.personal.data(ADA)).places] == [0.0, 0.0]


def test_the_database_alone_tells_the_same_as_the_service(live: Live) -> None:
    alone = ways_of_store(live.store, "UTC", START_S)
    hour = datetime.fromtimestamp(START_S, UTC).hour
    assert alone.modes(ADA, START_S)[0].probability == pytest.approx(
        live.engine.ways.modes(ADA, START_S)[0].probability
    ), f"at {hour} o'clock"

"""Consents hold where events enter; what a person deletes is gone from everywhere, whoever deletes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_world import World

from ghostdesk.control.personal import COMMAND_LINE, MOST_PLACES, Personal
from ghostdesk.control.personal_views import PersonalService, curve_view
from ghostdesk.control.service import Notice
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.errors import ConfigError, NotAllowed, NotFound, StoreError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.forecast import LaunchProbability, ResourceQuantiles, UsageCurve
from ghostdesk.profiles.modes import Mode
from ghostdesk.store.sqlite import open_store
from ghostdesk.telemetry.calendars.entries import BusyTime, CalendarSource
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.telemetry.consent import OPT_IN, Consent
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

ADA, BOB = UserId("ada"), UserId("bob")
BERLIN, SAME_QUARTER, MUNICH = (52.520008, 13.404954), (52.5187, 13.3999), (48.137, 11.575)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, floor=1)
    yield made
    made.close()


def personal_of(world: World) -> Personal:
    return world.plane.personal


def event(world: World, kind: EventKind = EventKind.APP_FOCUS, user: UserId = ADA, ago_s: float = 0.0) -> UsageEvent:
    return UsageEvent(world.clock.now_s() - ago_s, kind, user, AppId("telltale-app"))


def stored(world: World, user: UserId = ADA) -> list[EventKind]:
    return [e.kind for e in world.store.events(user=user)]


async def flushed(world: World) -> None:
    await world.journal.flush()


def bytes_of(world: World) -> bytes:
    return b"".join(path.read_bytes() for path in world.folder.glob("world.db*"))


async def allow(world: World, *sources: TelemetrySource, user: UserId = ADA) -> None:
    for source in sources:
        await personal_of(world).set_consent(user, source, True)


def test_it_fills_the_seam(world: World) -> None:
    seam: PersonalService = personal_of(world)
    assert seam is world.plane.personal


# consents


async def test_places_and_calendars_are_off_until_the_person_switches_them_on(world: World) -> None:
    personal = personal_of(world)
    assert personal.sources_of(ADA) == frozenset(TelemetrySource) - OPT_IN
    for source in OPT_IN:
        await personal.set_consent(ADA, source, True)
    assert personal.sources_of(ADA) == frozenset(TelemetrySource)
    assert personal.sources_of(BOB) == frozenset(TelemetrySource) - OPT_IN


async def test_an_event_of_a_source_that_is_off_is_neither_learnt_nor_buffered_nor_stored(world: World) -> None:
    await personal_of(world).set_consent(ADA, TelemetrySource.FOCUS, False)
    for user in (ADA, BOB):
        world.plane.on_user_event(event(world, EventKind.APP_FOCUS, user))
        world.plane.on_user_event(event(world, EventKind.APP_LAUNCH, user))
    assert [(e.user, e.kind) for e in world.forecast.seen] == [
        (ADA, EventKind.APP_LAUNCH),
        (BOB, EventKind.APP_FOCUS),
        (BOB, EventKind.APP_LAUNCH),
    ]
    await flushed(world)
    assert stored(world) == [EventKind.APP_LAUNCH]


async def test_sign_ins_belong_to_the_service(world: World) -> None:
    for source in TelemetrySource:
        await personal_of(world).set_consent(ADA, source, False)
    world.plane.on_user_event(event(world, EventKind.SIGN_IN))
    assert [e.kind for e in world.forecast.seen] == [EventKind.SIGN_IN]


async def test_the_operators_off_wins(world: World) -> None:
    personal = Personal(world.loop, world.journal, world.clock, sources=[TelemetrySource.FOCUS])
    with pytest.raises(NotAllowed, match="switched off here for everyone"):
        await personal.set_consent(ADA, TelemetrySource.CAMERA, True)
    world.store.put_consent(Consent(ADA, TelemetrySource.CAMERA, True, 1.0))  # as an older setting allowed
    await personal.refresh()
    assert personal.sources_of(ADA) == {TelemetrySource.FOCUS}
    await personal.set_consent(ADA, TelemetrySource.CAMERA, False)  # a no is always heard


async def test_a_choice_of_another_process_is_heard_and_its_agents_told(world: World) -> None:
    told: list[UserId] = []

    async def retell(user: UserId) -> None:
        told.append(user)

    personal = personal_of(world)
    personal.links.retell = retell
    await personal.load()
    world.store.put_consent(Consent(ADA, TelemetrySource.CAMERA, False, world.clock.now_s()))
    assert TelemetrySource.CAMERA in personal.sources_of(ADA)
    await personal.refresh()
    assert TelemetrySource.CAMERA not in personal.sources_of(ADA)
    await personal.refresh()
    assert told == [ADA]  # once


async def test_nothing_that_can_be_refused_is_recorded_while_choices_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_: object) -> None:
        raise StoreError("The disk is gone.", "Bring it back.")

    personal = personal_of(world)
    with monkeypatch.context() as broken:
        broken.setattr(world.store, "consents", away)
        await personal.load()
        world.plane.on_user_event(event(world))
        world.plane.on_user_event(event(world, EventKind.SIGN_IN))
        assert [e.kind for e in world.forecast.seen] == [EventKind.SIGN_IN]
    await personal.refresh()
    world.plane.on_user_event(event(world))
    assert len(world.forecast.seen) == 2


async def test_a_no_holds_at_once_even_when_it_cannot_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object) -> None:
        raise StoreError("The disk is full.", "Free some space.")

    monkeypatch.setattr(world.store, "put_consent", away)
    with pytest.raises(StoreError):
        await personal_of(world).set_consent(ADA, TelemetrySource.CAMERA, False)
    assert TelemetrySource.CAMERA not in personal_of(world).sources_of(ADA)


async def test_a_launch_is_not_listed_for_whoever_refused_applications(world: World) -> None:
    await world.pass_time(60)
    await world.clock.run(world.plane.open_desktop(ADA))
    await personal_of(world).set_consent(ADA, TelemetrySource.APPLICATIONS, False)
    await world.clock.run(world.plane.launch(ADA, AppId("editor")))
    assert [r.what for r in world.store.launches(user=ADA)] == [r.what for r in world.plane.launches] == ["desktop"]


# forgetting


async def everything_known(world: World, user: UserId = ADA) -> None:
    """A person of whom each part of the control plane holds something."""
    world.forecast.arrival[user] = 0.9
    world.forecast.apps[user] = ("telltale-app",)
    await allow(world, *OPT_IN, user=user)
    await personal_of(world).put_place(user, "telltale-place", "home", BERLIN)
    await personal_of(world).go_to(user, "telltale-place")
    await personal_of(world).put_mode(user, Mode("telltale-mode", (AppId("telltale-app"),)))
    await personal_of(world).choose_mode(user, "telltale-mode")
    world.store.put_calendar(CalendarSource(user, "telltale-calendar", "file"))
    world.store.replace_busy_times(user, "telltale-calendar", [BusyTime(1.0, 2.0)])
    world.plane.on_user_event(event(world, user=user))
    await world.pass_time(120)
    await flushed(world)
    world.plane.on_user_event(event(world, EventKind.APP_LAUNCH, user))  # this one still waits to be written


async def test_after_a_deletion_nothing_is_left_anywhere(world: World) -> None:
    await everything_known(world)
    warm = world.manager.of_user(ADA)
    assert warm is not None and warm.state is GhostState.WARM
    assert b"telltale" in bytes_of(world) and ADA in world.loop.curves and world.store.preparations(ADA)
    del world.forecast.arrival[ADA]
    deleted = await world.clock.run(personal_of(world).delete(ADA, None))
    assert deleted == 4  # the place, the mode, the focus, and the launch that was still waiting
    await flushed(world)
    await world.pass_time(30)
    assert b"telltale" not in bytes_of(world)
    assert world.forecast.forgotten == [ADA]
    assert [e for e in world.forecast.seen if e.user == ADA] == []
    assert ADA not in world.loop.curves
    assert all(getattr(action.event, "user", None) != ADA for _, action in world.loop.recent)
    assert world.manager.of_user(ADA) is None
    data = await personal_of(world).data(ADA)
    assert (data.places, data.modes, data.calendars, data.prepared, data.habits) == ((), (), (), (), ())
    assert all(consent.events == 0 for consent in data.consents)
    assert {c.source for c in data.consents if c.allowed} == {s.value for s in TelemetrySource}  # choices stay


async def test_a_deletion_of_one_person_touches_nobody_else(world: World) -> None:
    await everything_known(world, ADA)
    await everything_known(world, BOB)
    await flushed(world)
    before = stored(world, BOB)
    await world.clock.run(personal_of(world).delete(ADA, None))
    await world.pass_time(10)
    assert stored(world, BOB) == before and ADA in world.forecast.forgotten and BOB not in world.forecast.forgotten
    assert len((await personal_of(world).data(BOB)).places) == 1


async def test_a_desktop_in_use_stays(world: World) -> None:
    await everything_known(world)
    handle = await world.clock.run(world.plane.open_desktop(ADA))
    await world.clock.run(personal_of(world).delete(ADA, None))
    await world.pass_time(10)
    assert world.manager.get(handle.ghost).state is GhostState.ACTIVE
    assert world.plane.launches == type(world.plane.launches)()


async def test_what_waits_in_buffers_cannot_come_back(world: World) -> None:
    late = event(world, ago_s=0.0)
    await world.clock.run_until(world.clock.now_s() + 5)
    await world.clock.run(personal_of(world).delete(ADA, None))
    world.plane.on_user_event(late)  # an agent that was cut off hands in what it kept
    world.journal.event(late)  # and one that slipped into the buffer
    await flushed(world)
    assert (stored(world), world.forecast.seen) == ([], [])
    await world.clock.run_until(world.clock.now_s() + 5)
    world.plane.on_user_event(event(world))
    await flushed(world)
    assert stored(world) == [EventKind.APP_FOCUS]  # from now on is another matter


async def test_a_failed_batch_does_not_bring_deleted_events_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.plane.on_user_event(event(world))
    with monkeypatch.context() as broken:
        broken.setattr(world.store, "add_events", lambda _: (_ for _ in ()).throw(StoreError("Full.", "Free space.")))
        await flushed(world)
    await world.clock.run_until(world.clock.now_s() + 5)
    await world.clock.run(personal_of(world).delete(ADA, None))
    await flushed(world)
    assert stored(world) == []


async def test_of_one_source_the_others_stay_learnt(world: World) -> None:
    await everything_known(world)
    await flushed(world)
    await world.clock.run(personal_of(world).delete(ADA, TelemetrySource.PLACE))
    await world.pass_time(10)
    assert EventKind.PLACE not in stored(world)
    assert sorted(e.kind for e in world.forecast.seen if e.user == ADA and e.kind in stored(world)) == sorted(
        kind for kind in stored(world)
    )
    data = await personal_of(world).data(ADA)
    assert (len(data.places), len(data.modes)) == (0, 1)


async def test_a_deletion_by_the_command_line_is_followed(world: World) -> None:
    await personal_of(world).load()
    await everything_known(world)
    del world.forecast.arrival[ADA]
    other = open_store(world.folder / "world.db", now_s=0.0)  # as another process would
    other.delete_personal_data(ADA, None, world.clock.now_s())
    other.close()
    await world.clock.run(personal_of(world).refresh())
    await flushed(world)
    await world.pass_time(10)
    assert (world.forecast.forgotten, stored(world), world.manager.of_user(ADA)) == ([ADA], [], None)
    await world.clock.run(personal_of(world).refresh())
    assert world.forecast.forgotten == [ADA]


async def test_deletions_from_before_a_start_are_not_followed_again(world: World) -> None:
    world.store.delete_personal_data(ADA, None, world.clock.now_s() - 100)
    personal = Personal(world.loop, world.journal, world.clock)
    await personal.load()
    assert world.forecast.forgotten == []
    assert not personal.book.admits(event(world, ago_s=150.0))
    assert personal.book.admits(event(world))


async def test_secrets_of_calendars_go_too(world: World) -> None:
    personal, secrets = personal_of(world), SecretFiles(world.folder / "secrets")
    personal.links.secrets = secrets
    for user, name in ((ADA, "work"), (ADA, "home"), (BOB, "work")):
        world.store.put_calendar(CalendarSource(user, name, "caldav"))
        secrets.put(user, name, "password", f"telltale of {user}")

    def left() -> set[tuple[UserId, str]]:
        pairs = [(user, name) for user in (ADA, BOB) for name in ("work", "home")]
        return {pair for pair in pairs if secrets.get(*pair, "password") is not None}

    await world.clock.run(personal.delete(ADA, TelemetrySource.CAMERA))
    assert left() == {(ADA, "work"), (ADA, "home"), (BOB, "work")}
    await personal.delete_calendar(ADA, "work")
    assert left() == {(ADA, "home"), (BOB, "work")}
    await world.clock.run(personal.delete(ADA, TelemetrySource.CALENDAR))
    assert left() == {(BOB, "work")}
    files = [path for path in (world.folder / "secrets").rglob("*") if path.is_file()]
    assert not any(b"telltale of ada" in path.read_bytes() for path in files)
    with pytest.raises(NotFound):
        await personal.delete_calendar(ADA, "work")


async def test_notices_that_wait_are_taken_back(world: World) -> None:
    follower = world.plane.notices(ADA)
    first = world.executor.spawn(anext(follower))  # type: ignore[arg-type]
    await world.clock.run_until(world.clock.now_s() + 1)
    world.plane.board.post(ADA, Notice("message", "first"))
    await world.clock.run_until(world.clock.now_s() + 1)
    assert (await first).text == "first"
    world.plane.board.post(ADA, Notice("prepared", "telltale"))
    await world.clock.run(personal_of(world).delete(ADA, None))
    world.plane.board.post(ADA, Notice("message", "after"))
    assert (await anext(follower)).text == "after"
    await follower.aclose()  # type: ignore[attr-defined]


# why things were prepared, what is stored, export


async def test_it_is_told_why_a_ghost_was_prepared(world: World) -> None:
    await everything_known(world)
    prepared = (await personal_of(world).data(ADA)).prepared
    assert {p.what for p in prepared} == {"a desktop", "telltale-app"}
    assert all(p.reason for p in prepared)


async def test_the_export_is_json_with_everything_and_nothing_of_others(world: World) -> None:
    await everything_known(world, ADA)
    await everything_known(world, BOB)
    exported = json.loads("".join(await personal_of(world).export(ADA)))
    assert {e["kind"] for e in exported["events"]} == {"place", "mode", "app-focus", "app-launch"}
    assert exported["places"] == [{"name": "telltale-place", "kind": "home", "position_degrees": [52.52, 13.4]}]
    for part in ("consents", "modes", "calendars", "busy_times", "prepared"):
        assert exported[part], part
    assert "bob" not in json.dumps(exported)


async def test_counts_and_calendar_entries_are_shown_by_source(world: World) -> None:
    await everything_known(world)
    consents = {c.source: c for c in (await personal_of(world).data(ADA)).consents}
    assert (consents["place"].events, consents["focus"].events, consents["calendar"].events) == (1, 1, 1)
    assert consents["focus"].first_s == consents["focus"].last_s is not None
    assert (consents["camera"].events, consents["camera"].first_s) == (0, None)


# places and modes


async def test_a_position_is_stored_as_a_place_and_as_nothing_else(world: World) -> None:
    personal = personal_of(world)
    with pytest.raises(NotAllowed, match="Places is switched off for you"):
        await personal.locate(ADA, *BERLIN)
    await allow(world, TelemetrySource.PLACE)
    assert await personal.locate(ADA, *BERLIN) is None
    await personal.put_place(ADA, "Büro", "office", BERLIN)
    assert await personal.locate(ADA, *SAME_QUARTER) == "Büro"
    assert await personal.locate(ADA, *MUNICH) == "travel"
    await flushed(world)
    assert [e.detail for e in world.store.events(user=ADA)] == ["Büro", "travel"]
    text = bytes_of(world)
    for number in (*BERLIN, *MUNICH):
        assert str(number).encode() not in text
    assert [(p.name, p.here) for p in (await personal.data(ADA)).places] == [("Büro", False)]
    with pytest.raises(ConfigError):
        await personal.locate(ADA, 91.0, 0.0)


async def test_the_same_place_said_often_is_one_event(world: World) -> None:
    await allow(world, TelemetrySource.PLACE)
    await personal_of(world).put_place(ADA, "den", "home", None)
    for _ in range(100):
        await personal_of(world).go_to(ADA, "den")
    await flushed(world)
    assert stored(world) == [EventKind.PLACE]
    assert [p.here for p in (await personal_of(world).data(ADA)).places] == [True]


async def test_a_deleted_place_is_gone_with_its_events_written_or_waiting(world: World) -> None:
    personal = personal_of(world)
    await allow(world, TelemetrySource.PLACE)
    await personal.put_place(ADA, "den", "home", None)
    await personal.go_to(ADA, "den")
    with pytest.raises(NotFound):
        await personal.delete_place(BOB, "den")
    await personal.delete_place(ADA, "den")
    await flushed(world)
    assert stored(world) == []
    with pytest.raises(NotFound):
        await personal.go_to(ADA, "den")


async def test_modes_are_chosen_left_and_likely(world: World) -> None:
    personal = personal_of(world)
    with pytest.raises(NotFound):
        await personal.choose_mode(ADA, "video editing")
    for name in ("video editing", "light browsing"):
        await personal.put_mode(ADA, Mode(name))
    for _ in range(4):
        await personal.choose_mode(ADA, "video editing")
        await world.clock.run_until(world.clock.now_s() + 60)
        await personal.choose_mode(ADA, None)
        await world.clock.run_until(world.clock.now_s() + 60)
    await personal.choose_mode(ADA, "video editing")
    data = await personal.data(ADA)
    shown = {mode.name: mode for mode in data.modes}
    assert (shown["video editing"].chosen, shown["light browsing"].chosen) == (True, False)
    assert 1 > shown["video editing"].probability > shown["light browsing"].probability > 0
    assert any("“video editing”" in habit for habit in data.habits)
    await personal.choose_mode(ADA, None)
    assert not any(mode.chosen for mode in (await personal.data(ADA)).modes)


async def test_what_was_chosen_is_known_after_a_restart(world: World) -> None:
    await personal_of(world).put_mode(ADA, Mode("video editing"))
    await personal_of(world).choose_mode(ADA, "video editing")
    await flushed(world)
    await world.crash_and_restart()
    assert [mode.chosen for mode in (await personal_of(world).data(ADA)).modes] == [True]


async def test_definitions_are_bounded(world: World) -> None:
    await allow(world, TelemetrySource.PLACE)
    for number in range(MOST_PLACES):
        await personal_of(world).put_place(ADA, f"p{number}", "other", None)
    with pytest.raises(ConfigError, match="already"):
        await personal_of(world).put_place(ADA, "one more", "other", None)
    await personal_of(world).put_place(ADA, "p0", "home", None)  # a change is no more


async def test_calendars_need_consent_and_a_reader(world: World) -> None:
    personal = personal_of(world)
    with pytest.raises(NotAllowed, match="Calendar is switched off"):
        await personal.put_calendar(ADA, "work", "BEGIN:VCALENDAR")
    await allow(world, TelemetrySource.CALENDAR)
    with pytest.raises(NotAllowed, match="cannot be read here"):
        await personal.put_calendar(ADA, "work", "BEGIN:VCALENDAR")
    read: list[tuple[UserId, str, str]] = []
    personal.links.read_calendar = lambda user, name, text, _now_s: read.append((user, name, text))
    await personal.put_calendar(ADA, "work", "BEGIN:VCALENDAR")
    assert read == [(ADA, "work", "BEGIN:VCALENDAR")]
    with pytest.raises(ConfigError):
        await personal.put_calendar(ADA, "a/b", "BEGIN:VCALENDAR")


async def test_the_curve_is_the_persons_own(world: World) -> None:
    world.forecast.arrival[ADA] = 0.9
    world.forecast.apps[ADA] = ("editor",)
    curve = await personal_of(world).usage_curve(ADA, 3600.0)
    assert curve.arrival == (0.9,) and curve.resources == {}
    assert [(app.app, app.name) for app in curve.apps] == [("editor", "editor")]


def test_a_curve_is_shown_with_names_lanes_and_bands() -> None:
    quantiles = ResourceQuantiles(0.0, 300.0, (0.1, 0.9), {"cpu_cores": ((0.5, 2.0), (0.4, 1.0))})
    curve = UsageCurve(
        ADA, 0.0, 300.0, (0.1, 0.2), (0.3, 0.4), (LaunchProbability(AppId("gimp"), 0.6),),
        in_use={AppId("gimp"): (0.2, 0.1), AppId("editor"): (0.1, 0.1)}, quantiles=quantiles,
    )  # fmt: skip
    shown = curve_view(curve, {AppId("gimp"): "GIMP"})
    assert [(a.name, a.probability, a.in_use) for a in shown.apps] == [
        ("GIMP", 0.6, (0.2, 0.1)),
        ("editor", 0.0, (0.1, 0.1)),
    ]
    assert shown.resources["cpu_cores"].slots == ((0.5, 2.0), (0.4, 1.0))


async def test_what_the_command_line_chose_is_heard_once(world: World) -> None:
    await personal_of(world).load()
    await world.clock.run_until(world.clock.now_s() + 5)
    world.store.put_mode(ADA, Mode("video editing"))
    chosen = UsageEvent(world.clock.now_s(), EventKind.MODE, ADA, detail="video editing", source=COMMAND_LINE)
    world.store.add_events([chosen])
    for _ in range(2):
        await personal_of(world).refresh()
    assert world.forecast.seen == [chosen]
    assert [mode.chosen for mode in (await personal_of(world).data(ADA)).modes] == [True]

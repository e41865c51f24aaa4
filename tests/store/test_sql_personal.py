"""What belongs to a person, on a real database: kept, found, and gone for good when it is deleted."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from ghostdesk.kernel.errors import NotFound, StoreError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.location import Place, cell_of
from ghostdesk.profiles.modes import Mode
from ghostdesk.store.personal import MOST_PREPARED, Deletion, EventCount, PersonalStore, Preparation
from ghostdesk.store.protocol import ImportCheckpoint, LaunchRecord
from ghostdesk.store.sql import SqlStore
from ghostdesk.telemetry.calendars.entries import BusyTime, CalendarSource
from ghostdesk.telemetry.consent import Consent
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

ADA, BOB = UserId("ada"), UserId("bob")
EDITING = Mode("video editing", (AppId("kdenlive"),), ("video/mp4",), Resources(cpu_cores=2.0, gpu_share=0.5))


def event(
    time_s: float, kind: EventKind = EventKind.APP_FOCUS, user: UserId = ADA, detail: str | None = None
) -> UsageEvent:
    return UsageEvent(time_s, kind, user, detail=detail)


def test_it_satisfies_the_seam(store: SqlStore) -> None:
    seam: PersonalStore = store
    assert seam.deletions() == []


def test_a_choice_replaces_the_one_before(store: SqlStore) -> None:
    store.put_consent(Consent(ADA, TelemetrySource.CAMERA, True, 1.0))
    store.put_consent(Consent(ADA, TelemetrySource.CAMERA, False, 2.0))
    store.put_consent(Consent(BOB, TelemetrySource.PLACE, True, 3.0))
    assert store.consents(ADA) == [Consent(ADA, TelemetrySource.CAMERA, False, 2.0)]
    assert [consent.user for consent in store.consents()] == [ADA, BOB]
    assert store.consents(since_s=3.0) == [Consent(BOB, TelemetrySource.PLACE, True, 3.0)]


def test_places_are_kept_as_cells_and_found_by_their_owner_alone(store: SqlStore) -> None:
    exact = (52.520008, 13.404954)
    store.put_place(ADA, Place("Büro", "office", cell_of(*exact)))
    store.put_place(ADA, Place("on the way", "travel"))
    assert store.places(ADA) == [Place("Büro", "office", (2626, 670)), Place("on the way", "travel")]
    assert store.places(BOB) == []
    with store._reading() as connection:
        row = connection.exec_driver_sql("SELECT latitude_cell, longitude_cell FROM places WHERE kind = 'office'").one()
    assert tuple(row) == (2626, 670)  # whole cells: there is no column for anything finer


def test_a_deleted_place_takes_its_events_along(store: SqlStore, bytes_of: Callable[[SqlStore], bytes]) -> None:
    store.put_place(ADA, Place("hideaway", "home", (1, 2)))
    store.add_events([event(1.0, EventKind.PLACE, detail="hideaway"), event(2.0, EventKind.PLACE, detail="travel")])
    assert not store.delete_place(BOB, "hideaway")
    assert store.delete_place(ADA, "hideaway")
    assert not store.delete_place(ADA, "hideaway")
    assert [e.detail for e in store.events()] == ["travel"]
    assert b"hideaway" not in bytes_of(store)


def test_modes_come_back_whole(store: SqlStore) -> None:
    store.put_mode(ADA, Mode("video editing"))
    store.put_mode(ADA, EDITING)
    store.put_mode(BOB, Mode("light browsing"))
    assert store.modes(ADA) == [EDITING]
    assert store.all_modes() == {ADA: [EDITING], BOB: [Mode("light browsing")]}
    store.add_events([event(1.0, EventKind.MODE, detail="video editing")])
    assert store.delete_mode(ADA, "video editing")
    assert (store.modes(ADA), store.count_events()) == ([], 0)


@pytest.mark.parametrize("apps", ["no JSON", "7", '["a", 7'])
def test_a_mode_that_cannot_be_read_is_told(store: SqlStore, apps: str) -> None:
    store.put_mode(ADA, EDITING)
    with store._writing() as connection:
        connection.execute(text("UPDATE modes SET apps = :apps"), {"apps": apps})
    with pytest.raises(StoreError, match="video editing"):
        store.modes(ADA)


def test_calendars_and_their_busy_times(store: SqlStore) -> None:
    own, everyone = CalendarSource(ADA, "work", "file"), CalendarSource(None, "holidays", "holidays", "DE-BY")
    store.put_calendar(own)
    store.put_calendar(everyone)
    store.put_calendar(CalendarSource(ADA, "work", "file", synced_s=9.0, problem="it is broken"))
    assert [c.problem for c in store.calendars(ADA)] == ["it is broken"]
    assert store.calendars()[0] == everyone
    meeting, trip = BusyTime(10.0, 20.0, False, "s1"), BusyTime(15.0, 90.0, True, "s2", "away")
    store.replace_busy_times(ADA, "work", [trip, meeting])
    store.replace_busy_times(None, "holidays", [BusyTime(0.0, 86_400.0, True, "", "holiday")])
    assert list(store.busy_times(20.0, 30.0, ADA)) == [(ADA, trip)]  # ends are exclusive
    assert [owner for owner, _ in store.busy_times(0.0, 1e6)] == [None, ADA, ADA]
    assert store.busy_time_counts(ADA) == {"work": 2}
    store.replace_busy_times(ADA, "work", [meeting])
    assert list(store.busy_times(0.0, 1e6, ADA)) == [(ADA, meeting)]
    assert not store.delete_calendar(ADA, "holidays")
    assert store.delete_calendar(ADA, "work")
    assert [owner for owner, _ in store.busy_times(0.0, 1e6)] == [None]


def test_busy_times_of_a_calendar_that_was_deleted_meanwhile_are_refused(store: SqlStore) -> None:
    with pytest.raises(NotFound):
        store.replace_busy_times(ADA, "gone", [BusyTime(1.0, 2.0)])
    assert list(store.busy_times(0.0, 10.0)) == []


def test_a_calendar_that_was_deleted_while_it_was_read_does_not_come_back(store: SqlStore) -> None:
    work = CalendarSource(ADA, "work", "caldav", "https://example.org", "ada")
    store.put_calendar(work)
    assert store.update_calendar(replace(work, synced_s=9.0, problem="slow"))
    assert [(c.synced_s, c.problem, c.username) for c in store.calendars(ADA)] == [(9.0, "slow", "ada")]
    store.delete_personal_data(ADA, None, now_s=10.0)
    assert not store.update_calendar(work)
    assert store.calendars() == []


def test_many_busy_times_are_paged_whole(store: SqlStore) -> None:
    store.put_calendar(CalendarSource(ADA, "work", "file"))
    times = [BusyTime(float(n // 4000), float(n // 4000 + 1), series=str(n)) for n in range(12_000)]
    store.replace_busy_times(ADA, "work", times)
    assert [time for _, time in store.busy_times(0.0, 10.0)] == times


def test_reasons_of_preparations_are_bounded_for_each_user(store: SqlStore) -> None:
    store.add_preparation(Preparation(0.0, BOB, "a desktop", "a habit"))
    for number in range(MOST_PREPARED + 30):
        store.add_preparation(Preparation(float(number), ADA, "a desktop", "a habit"))
    found = store.preparations(ADA)
    assert [p.time_s for p in found] == [float(n) for n in range(MOST_PREPARED + 29, 29, -1)]
    assert len(store.preparations(ADA, limit=3)) == 3
    assert len(store.preparations(BOB)) == 1


def test_counts_and_the_last_event(store: SqlStore) -> None:
    store.add_events([event(1.0), event(5.0), event(3.0, EventKind.CPU), event(9.0, user=BOB)])
    counts = store.event_counts(ADA)
    assert counts == [EventCount(EventKind.APP_FOCUS, 2, 1.0, 5.0), EventCount(EventKind.CPU, 1, 3.0, 3.0)]
    assert store.last_event(ADA, EventKind.APP_FOCUS) == event(5.0)
    assert store.last_event(ADA, EventKind.MODE) is None


def everything_of(store: SqlStore, user: UserId) -> None:
    """One of each thing that can belong to a person, all with a word that tells."""
    store.add_events([UsageEvent(1.0, EventKind.APP_LAUNCH, user, AppId(f"telltale-{user}"))])
    store.add_events([event(2.0, EventKind.PLACE, user, f"telltale-{user}"), event(3.0, EventKind.SIGN_IN, user)])
    store.add_launch(LaunchRecord(1.0, user, f"telltale-{user}", "shown", 0.01))
    store.add_preparation(Preparation(1.0, user, "a desktop", f"telltale-{user}"))
    store.put_place(user, Place(f"telltale-{user}", "home", (5, 5)))
    store.put_mode(user, Mode("m", (AppId(f"telltale-{user}"),)))
    store.put_calendar(CalendarSource(user, f"telltale-{user}", "file"))
    store.replace_busy_times(user, f"telltale-{user}", [BusyTime(1.0, 2.0, series=f"telltale-{user}")])


def test_after_a_deletion_nothing_is_left_in_the_files(store: SqlStore, bytes_of: Callable[[SqlStore], bytes]) -> None:
    everything_of(store, ADA)
    everything_of(store, BOB)
    store.put_consent(Consent(ADA, TelemetrySource.CAMERA, False, 1.0))
    assert b"telltale-ada" in bytes_of(store)
    assert store.delete_personal_data(ADA, None, now_s=100.0) == 3
    assert b"telltale-ada" not in bytes_of(store)
    assert (store.event_counts(ADA), store.launches(user=ADA), store.preparations(ADA)) == ([], [], [])
    assert (store.places(ADA), store.modes(ADA), store.calendars(ADA)) == ([], [], [])
    assert len(store.consents(ADA)) == 1  # a choice is no record of use
    assert (len(store.places(BOB)), len(store.modes(BOB)), len(store.event_counts(BOB))) == (1, 1, 3)
    assert [owner for owner, _ in store.busy_times(0.0, 1e6)] == [BOB]


@pytest.mark.parametrize(
    ("source", "gone", "left"),
    [
        (TelemetrySource.PLACE, {"places"}, {EventKind.APP_LAUNCH, EventKind.SIGN_IN}),
        (TelemetrySource.MODE, {"modes"}, {EventKind.APP_LAUNCH, EventKind.PLACE, EventKind.SIGN_IN}),
        (TelemetrySource.CALENDAR, {"calendars"}, {EventKind.APP_LAUNCH, EventKind.PLACE, EventKind.SIGN_IN}),
        (TelemetrySource.APPLICATIONS, {"launches"}, {EventKind.PLACE, EventKind.SIGN_IN}),
        (TelemetrySource.CAMERA, set(), {EventKind.APP_LAUNCH, EventKind.PLACE, EventKind.SIGN_IN}),
    ],
)
def test_one_source_goes_alone(store: SqlStore, source: TelemetrySource, gone: set[str], left: set[str]) -> None:
    everything_of(store, ADA)
    store.delete_personal_data(ADA, source, now_s=100.0)
    kept = {
        "places": store.places(ADA),
        "modes": store.modes(ADA),
        "calendars": store.calendars(ADA),
        "launches": store.launches(user=ADA),
    }
    assert {name for name, found in kept.items() if not found} == gone
    assert {count.kind for count in store.event_counts(ADA)} == left
    assert store.preparations(ADA) == []  # a reason may tell of any source


def test_what_was_deleted_cannot_come_back(store: SqlStore) -> None:
    store.delete_personal_data(ADA, None, now_s=100.0)
    late = [event(99.0), event(100.0), event(100.5), event(50.0, user=BOB)]
    assert store.add_events(late) == 2
    assert store.add_import_batch([event(98.0), event(200.0)], ImportCheckpoint("abc", "log.csv", 2, 2, 0, False)) == 1
    assert [(e.user, e.time_s) for e in store.events()] == [(BOB, 50.0), (ADA, 100.5), (ADA, 200.0)]
    store.delete_personal_data(ADA, None, now_s=90.0)  # a clock that went back does not lift the first deletion
    assert store.deletions() == [Deletion(ADA, None, 100.0)]


def test_a_deletion_of_one_source_keeps_the_others_open(store: SqlStore) -> None:
    store.delete_personal_data(ADA, TelemetrySource.CAMERA, now_s=100.0)
    assert store.add_events([event(50.0, EventKind.CAMERA), event(50.0, EventKind.MICROPHONE)]) == 1
    assert store.deletions(since_s=100.0) == [Deletion(ADA, TelemetrySource.CAMERA, 100.0)]
    assert store.deletions(since_s=100.1) == []


def test_what_a_person_refuses_is_not_written_by_any_road(store: SqlStore) -> None:
    store.put_consent(Consent(ADA, TelemetrySource.FOCUS, False, 1.0))
    assert store.add_events([event(50.0), event(50.0, EventKind.SIGN_IN), event(50.0, user=BOB)]) == 2
    assert store.add_import_batch([event(60.0)], ImportCheckpoint("abc", "log.csv", 1, 1, 0, False)) == 0


def test_permission_is_looked_up_for_more_users_than_one_query_takes(store: SqlStore) -> None:
    users = [UserId(f"u{number}") for number in range(1200)]
    store.put_consent(Consent(users[-1], TelemetrySource.FOCUS, False, 1.0))
    store.delete_personal_data(users[700], None, now_s=100.0)
    assert store.add_events([event(50.0, user=user) for user in users]) == 1198

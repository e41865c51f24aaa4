"""Bookings from operators: checked against accounts; from calendars: kept up to date, and told what is wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from calendar_servers import answering

from ghostdesk.allocator.bookings import Booking, BookingError
from ghostdesk.allocator.capacity import CapacityRules
from ghostdesk.allocator.quotas import Quota, Quotas
from ghostdesk.control.booking_sources import add_booking
from ghostdesk.control.calendar_sources import add_bookings_file, add_bookings_url, remove_calendar
from ghostdesk.control.calendar_sync import CalendarOptions, CalendarSync
from ghostdesk.control.capacity_feed import CapacityFeed
from ghostdesk.engines.virtual_time import QueueClock
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sqlite import SqliteStore
from ghostdesk.telemetry.calendars.addresses import AddressPolicy
from ghostdesk.telemetry.calendars.errors import CalendarError
from ghostdesk.telemetry.calendars.secret_files import SecretFiles

NOW_S = datetime(2027, 3, 1, 6, tzinfo=UTC).timestamp()
ADA, BEN = UserId("ada"), UserId("ben")
POLICY = AddressPolicy(allowed_hosts=frozenset({"127.0.0.1"}))
ICS = """BEGIN:VCALENDAR
BEGIN:VEVENT
UID:1
SUMMARY:Physics 2b
CATEGORIES:GHOSTDESK
X-GHOSTDESK-DEPARTMENT:{department}
DTSTART:20270301T090000
DTEND:20270301T100000
RRULE:FREQ=DAILY;COUNT={count}
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:Staff party
DTSTART:20270301T120000
DTEND:20270301T130000
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "state.db")
    made.put_user(StoredUser(ADA, "Ada", department="physics"))
    made.put_user(StoredUser(BEN, "Ben", department="physics"))
    made.put_user(StoredUser(UserId("gone"), "Gone", disabled=True, department="history"))
    yield made
    made.close()


@pytest.fixture
def secrets(tmp_path: Path) -> SecretFiles:
    return SecretFiles(tmp_path / "secrets")


def _sync(store: SqliteStore, secrets: SecretFiles) -> CalendarSync:
    return CalendarSync(store, secrets, CalendarOptions("Europe/Berlin", POLICY, total_timeout_s=20.0))


def _ics(department: str = "physics", count: int = 3) -> bytes:
    return ICS.format(department=department, count=count).encode()


def test_a_department_or_named_people_need_no_number(store: SqliteStore) -> None:
    physics = add_booking(store, Booking("p", NOW_S, NOW_S + 60, 0, department="physics"), NOW_S)
    exam = add_booking(store, Booking("e", NOW_S, NOW_S + 60, 0, users=frozenset({ADA})), NOW_S)
    assert (physics.desktops, exam.desktops) == (2, 1)
    with pytest.raises(BookingError, match="does not say how many"):
        add_booking(store, Booking("x", NOW_S, NOW_S + 60, 0), NOW_S)


def test_unknown_departments_and_people_are_refused_with_what_is_known(store: SqliteStore) -> None:
    with pytest.raises(NotFound, match="department 'chemistry'") as caught:
        add_booking(store, Booking("c", NOW_S, NOW_S + 60, 3, department="chemistry"), NOW_S)
    assert "Departments: physics." in caught.value.mend
    with pytest.raises(NotFound, match="'history'"):  # nobody of it may sign in
        add_booking(store, Booking("h", NOW_S, NOW_S + 60, 3, department="history"), NOW_S)
    with pytest.raises(NotFound, match="may sign in: gone, zoe"):
        add_booking(store, Booking("z", NOW_S, NOW_S + 60, 3, users=frozenset({UserId("zoe"), UserId("gone")})), NOW_S)
    assert store.bookings() == []


def test_the_same_class_twice_is_refused(store: SqliteStore) -> None:
    booking = Booking("p", NOW_S, NOW_S + 60, 2)
    add_booking(store, booking, NOW_S)
    with pytest.raises(BookingError, match="overlaps"):
        add_booking(store, booking, NOW_S)


def test_a_calendar_file_books_and_other_entries_leave_no_trace(
    store: SqliteStore, secrets: SecretFiles, tmp_path: Path
) -> None:
    add_bookings_file(store, secrets, "rooms", _ics())
    (outcome,) = _sync(store, secrets).sync_all(NOW_S)
    assert (outcome.state, outcome.busy_times, outcome.problem) == ("read", 3, "")
    found = store.bookings()
    assert [(b.name, b.desktops, b.department, b.source) for b in found] == [("Physics 2b", 2, "physics", "rooms")] * 3
    assert datetime.fromtimestamp(found[0].start_s, UTC).hour == 8, "nine in Berlin"
    assert list(store.busy_times(0.0, 4e9)) == [], "they say nothing about people's time"
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Staff party" not in kept
    remove_calendar(store, secrets, None, "rooms")
    assert store.bookings() == []


def test_what_is_wrong_with_a_calendars_bookings_is_told_and_the_rest_is_taken(
    store: SqliteStore, secrets: SecretFiles
) -> None:
    add_bookings_file(store, secrets, "rooms", _ics("chemistry"))
    (outcome,) = _sync(store, secrets).sync_all(NOW_S)
    assert outcome.busy_times == 0 and "does not say how many desktops" in outcome.problem
    (source,) = store.calendars()
    assert source.problem == outcome.problem, "and is shown by `ghostdesk calendar list`"
    text = _ics("chemistry").decode().replace("DTSTART:20270301T09", "X-GHOSTDESK-DESKTOPS:5\nDTSTART:20270301T09")
    add_bookings_file(store, secrets, "rooms", text.encode())
    (outcome,) = _sync(store, secrets).sync_all(NOW_S)
    assert outcome.busy_times == 3
    assert "Nobody belongs to the department 'chemistry'" in outcome.problem


def test_no_calendar_at_all_is_refused(store: SqliteStore, secrets: SecretFiles) -> None:
    with pytest.raises(CalendarError, match="no iCalendar"):
        add_bookings_file(store, secrets, "rooms", b"hello")
    assert store.calendars() == []


def test_an_address_is_read_again_and_a_server_that_fails_changes_nothing(
    store: SqliteStore, secrets: SecretFiles
) -> None:
    answer = {"status": 200, "body": _ics()}

    def serve(request: BaseHTTPRequestHandler) -> None:
        body = answer["body"]
        assert isinstance(body, bytes)
        request.send_response(int(str(answer["status"])))
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(serve) as url:
        add_bookings_url(store, secrets, "rooms", f"{url}secret.ics", POLICY)
        sync = _sync(store, secrets)
        assert sync.sync_all(NOW_S)[0].busy_times == 3
        (source,) = store.calendars()
        assert source.location == "127.0.0.1", "the address itself is a secret"
        answer["status"] = 500
        (failed,) = sync.sync_all(NOW_S + 1000)
        assert (failed.state, len(store.bookings())) == ("failed", 3)
        answer.update(status=200, body=_ics(count=1))
        assert sync.sync_all(NOW_S + 90_000, force=True)[0].state == "read"
        assert store.bookings(NOW_S + 90_000) == [], "the one class that is left is over"


def test_the_feed_brings_departments_and_bookings_into_the_rules(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    rules = CapacityRules(quotas=Quotas(departments={"physics": Quota(1), "chemistri": Quota(2)}))
    feed = CapacityFeed(store, rules, QueueClock(NOW_S))
    feed.begin()
    assert "quotas.departments.chemistri: nobody belongs to this department" in caplog.text
    assert feed().department_of(ADA) == "physics"
    before = feed()
    feed.begin()
    assert feed() is before, "nothing new, no new rules"
    added = add_booking(store, Booking("p", NOW_S + 60, NOW_S + 600, 2), NOW_S)
    feed.begin()
    assert feed().bookings == (added,)
    store.close()
    assert feed().bookings == (added,)

"""Calendars from their sources to the store: a real database, a real CalDAV server, and what may go wrong."""

import itertools
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from calendar_servers import PASSWORD, answering, radicale

from ghostdesk.control.calendar_sources import (
    add_caldav,
    add_file,
    add_holidays,
    add_terms,
    add_url,
    remove_calendar,
)
from ghostdesk.control.calendar_sync import CalendarOptions, CalendarSync, SyncOutcome
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.sqlite import SqliteStore
from ghostdesk.telemetry.calendars.addresses import AddressPolicy
from ghostdesk.telemetry.calendars.entries import BusyTime
from ghostdesk.telemetry.calendars.errors import CalendarError, CalendarRefused
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.telemetry.consent import Consent
from ghostdesk.telemetry.events import TelemetrySource

ALICE, BOB = UserId("alice"), UserId("bob")
NOW_S = datetime(2026, 11, 24, 7, tzinfo=UTC).timestamp()
POLICY = AddressPolicy(allowed_hosts=frozenset({"127.0.0.1"}))
OPTIONS = CalendarOptions("Europe/Berlin", POLICY, total_timeout_s=20.0)
ICS = """BEGIN:VCALENDAR
BEGIN:VEVENT
UID:one@example.org
SUMMARY:Very private
DTSTART;TZID=Europe/Berlin:20261102T090000
DTEND;TZID=Europe/Berlin:20261102T093000
RRULE:FREQ=WEEKLY;COUNT=5
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "db")
    opened.put_consent(Consent(ALICE, TelemetrySource.CALENDAR, True, 0.0))
    yield opened
    opened.close()


@pytest.fixture
def secrets(tmp_path: Path) -> SecretFiles:
    return SecretFiles(tmp_path / "secrets")


@pytest.fixture
def sync(store: SqliteStore, secrets: SecretFiles) -> CalendarSync:
    return CalendarSync(store, secrets, OPTIONS)


def busy(store: SqliteStore, user: UserId | None = ALICE) -> list[BusyTime]:
    return [time for whose, time in store.busy_times(0.0, 1e11) if whose == user]


def test_a_file_is_read_and_again_the_next_day(store: SqliteStore, secrets: SecretFiles, sync: CalendarSync) -> None:
    add_file(store, secrets, ALICE, "work", ICS.encode())
    assert sync.sync_all(NOW_S) == [SyncOutcome(ALICE, "work", "read", 5)]
    assert len(busy(store)) == 5 and len({one.series for one in busy(store)}) == 1
    assert sync.sync_all(NOW_S + 3600) == []
    assert [one.state for one in sync.sync_all(NOW_S + 86_400)] == ["read"]
    (source,) = store.calendars(ALICE)
    assert source.synced_s == NOW_S + 86_400 and not source.problem


def test_titles_and_uids_are_nowhere(
    store: SqliteStore, secrets: SecretFiles, sync: CalendarSync, tmp_path: Path
) -> None:
    add_file(store, secrets, ALICE, "work", ICS.encode())
    sync.sync_all(NOW_S)
    store.close()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"Very private" not in path.read_bytes() and b"one@example.org" not in path.read_bytes(), path


def test_nothing_is_read_without_consent_and_what_was_read_goes_with_it(
    store: SqliteStore, secrets: SecretFiles, sync: CalendarSync
) -> None:
    add_file(store, secrets, BOB, "work", ICS.encode())
    assert sync.sync_all(NOW_S) == [SyncOutcome(BOB, "work", "no consent")]
    store.put_consent(Consent(BOB, TelemetrySource.CALENDAR, True, 1.0))
    assert sync.sync_all(NOW_S + 5)[0].state == "read" and busy(store, BOB)
    store.put_consent(Consent(BOB, TelemetrySource.CALENDAR, False, 2.0))
    assert sync.sync_all(NOW_S + 10)[0].state == "no consent" and not busy(store, BOB)
    assert sync.sync_all(NOW_S + 15) == []
    store.put_consent(Consent(BOB, TelemetrySource.CALENDAR, True, 3.0))
    sync.sync_all(NOW_S + 20)
    assert busy(store, BOB)


def test_the_operator_can_switch_all_personal_calendars_off(store: SqliteStore, secrets: SecretFiles) -> None:
    add_file(store, secrets, ALICE, "work", ICS.encode())
    add_holidays(store, secrets, None, "holidays", "DE")
    off = CalendarSync(store, secrets, replace(OPTIONS, operator_sources=(TelemetrySource.FOCUS,)))
    assert {(one.name, one.state) for one in off.sync_all(NOW_S)} == {("work", "no consent"), ("holidays", "read")}


def test_holidays_and_terms_hold_for_everyone(store: SqliteStore, secrets: SecretFiles, sync: CalendarSync) -> None:
    add_holidays(store, secrets, None, "holidays", "DE-BY")
    add_terms(store, secrets, None, "terms", b"start,end\n2026-10-12,2027-02-06\n")
    sync.sync_all(NOW_S)
    found = busy(store, None)
    assert {one.kind for one in found} == {"holiday", "term"}
    assert datetime(2026, 12, 24, 23, tzinfo=UTC).timestamp() in {one.start_s for one in found}


def test_terms_of_other_years_are_told(store: SqliteStore, secrets: SecretFiles, sync: CalendarSync) -> None:
    add_terms(store, secrets, None, "terms", b"start,end\n2015-10-12,2016-02-06\n")
    assert "2015 to 2016" in sync.sync_all(NOW_S)[0].problem
    assert "2015 to 2016" in store.calendars()[0].problem


def test_an_account_fails_and_comes_back(
    store: SqliteStore, secrets: SecretFiles, sync: CalendarSync, tmp_path: Path
) -> None:
    (tmp_path / "server").mkdir()
    with radicale(tmp_path / "server") as server:
        server.make_calendar()
        server.put("one", "DTSTART:20261124T080000Z", "DTEND:20261124T090000Z")
        add_caldav(store, secrets, ALICE, "account", server.url, "alice", PASSWORD, POLICY)
        assert sync.sync_all(NOW_S) == [SyncOutcome(ALICE, "account", "read", 1)]
        assert sync.sync_all(NOW_S + 899) == []
        assert sync.sync_all(NOW_S + 900)[0].state == "unchanged"
        server.put("two", "DTSTART:20261125T080000Z")
        assert sync.sync_all(NOW_S + 1800)[0].busy_times == 2
        secrets.put(ALICE, "account", "password", "wrong")
        (failed,) = sync.sync_all(NOW_S + 2700)
        assert failed.state == "failed" and "does not take" in failed.problem
        assert sync.sync_all(NOW_S + 2700 + 3600) == []  # a wrong password is not tried often
        secrets.put(ALICE, "account", "password", PASSWORD)
        assert sync.sync_all(NOW_S + 2800, force=True)[0].state == "read"
    assert sync.sync_all(NOW_S + 3700)[0].state == "failed"
    assert len(busy(store)) == 2
    (source,) = store.calendars(ALICE)
    assert "cannot be reached" in source.problem and source.synced_s == NOW_S + 2800


def test_failures_are_tried_again_later_and_later(store: SqliteStore, secrets: SecretFiles, sync: CalendarSync) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_error(503)

    with answering(answer) as url:
        add_url(store, secrets, ALICE, "web", url, POLICY)
        tried = [t for t in range(0, 86_400, 60) if sync.sync_all(NOW_S + t)]
    waits = [after - before for before, after in itertools.pairwise(tried)]
    assert waits[:4] == [300, 600, 1200, 2400] and max(waits) == 6 * 3600


def test_one_bad_calendar_does_not_stop_the_others(
    store: SqliteStore, secrets: SecretFiles, sync: CalendarSync
) -> None:
    add_file(store, secrets, ALICE, "bad", ICS.encode())
    secrets.put(ALICE, "bad", "text", "no calendar at all")
    add_file(store, secrets, ALICE, "lost", ICS.encode())
    secrets.delete(ALICE, "lost")
    add_file(store, secrets, ALICE, "good", ICS.encode())
    states = {one.name: (one.state, one.problem) for one in sync.sync_all(NOW_S)}
    assert states["good"] == ("read", "")
    assert "no iCalendar" in states["bad"][1] and "is not there" in states["lost"][1]
    assert len(busy(store)) == 5


def test_what_of_a_calendar_cannot_be_read_is_told(
    store: SqliteStore, secrets: SecretFiles, sync: CalendarSync
) -> None:
    bad = "BEGIN:VEVENT\nUID:b\nDTSTART:19700101T000000Z\nRRULE:FREQ=SECONDLY\nEND:VEVENT\nEND:VCALENDAR"
    add_file(store, secrets, ALICE, "work", ICS.replace("END:VCALENDAR", bad).encode())
    (outcome,) = sync.sync_all(NOW_S)
    assert outcome.state == "read" and outcome.busy_times == 5 and "repeats too often" in outcome.problem


def test_a_secret_address_is_in_no_database_and_no_outcome(
    store: SqliteStore, secrets: SecretFiles, sync: CalendarSync, tmp_path: Path
) -> None:
    with answering(lambda request: request.send_error(404)) as url:
        add_url(store, secrets, ALICE, "web", url + "private-0123456789/basic.ics", POLICY)
        add_caldav(store, secrets, ALICE, "dav", url, "alice", PASSWORD, POLICY)
        outcomes = sync.sync_all(NOW_S)
    assert {one.state for one in outcomes} == {"failed"}
    with sqlite3.connect(tmp_path / "db") as database:
        told = json.dumps([str(outcomes), "\n".join(database.iterdump())])
    database.close()
    assert "private-0123456789" not in told and PASSWORD not in told


def test_removing(store: SqliteStore, secrets: SecretFiles, sync: CalendarSync) -> None:
    add_file(store, secrets, ALICE, "work", ICS.encode())
    sync.sync_all(NOW_S)
    remove_calendar(store, secrets, ALICE, "work")
    assert not busy(store) and not store.calendars() and secrets.get(ALICE, "work", "text") is None
    with pytest.raises(NotFound, match="no calendar 'work' of alice"):
        remove_calendar(store, secrets, ALICE, "work")


def test_adding_again_reads_again(store: SqliteStore, secrets: SecretFiles, sync: CalendarSync) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        known = request.headers.get("If-None-Match") == '"1"'
        request.send_response(304 if known else 200)
        request.send_header("ETag", '"1"')
        request.send_header("Content-Length", str(0 if known else len(ICS)))
        request.end_headers()
        request.wfile.write(b"" if known else ICS.encode())

    with answering(answer) as url:
        for _ in range(2):
            add_url(store, secrets, ALICE, "web", url, POLICY)
            assert sync.sync_all(NOW_S)[0].busy_times == 5
            assert sync.sync_all(NOW_S + 900)[0].state == "unchanged"
            store.delete_calendar(ALICE, "web")


def test_a_calendar_deleted_while_it_is_read_does_not_come_back(
    store: SqliteStore, secrets: SecretFiles, sync: CalendarSync
) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        store.delete_calendar(ALICE, "web")
        request.send_response(200)
        request.send_header("Content-Length", str(len(ICS)))
        request.end_headers()
        request.wfile.write(ICS.encode())

    with answering(answer) as url:
        add_url(store, secrets, ALICE, "web", url, POLICY)
        assert sync.sync_all(NOW_S)[0].problem == "The calendar was deleted."
    assert not store.calendars() and not busy(store)


def test_a_text_handed_in_on_the_page(store: SqliteStore, sync: CalendarSync) -> None:
    sync.add_text(ALICE, "page", ICS, NOW_S)
    assert len(busy(store)) == 5
    with pytest.raises(CalendarError, match="no iCalendar"):
        sync.add_text(ALICE, "page", "hello", NOW_S)
    assert len(busy(store)) == 5


@pytest.mark.parametrize("name", ["", " work", "a\nb", "x" * 65])
def test_names_are_checked(store: SqliteStore, secrets: SecretFiles, name: str) -> None:
    with pytest.raises(CalendarError, match="no name"):
        add_file(store, secrets, ALICE, name, ICS.encode())
    assert not store.calendars()


def test_addresses_are_checked_before_anything_is_kept(store: SqliteStore, secrets: SecretFiles) -> None:
    inside = AddressPolicy(resolve=lambda _host, _port: ["10.0.0.5"])
    with pytest.raises(CalendarRefused, match="inside"):
        add_url(store, secrets, ALICE, "web", "https://intranet.example.org/x.ics", inside)
    with pytest.raises(CalendarRefused):
        add_caldav(store, secrets, ALICE, "dav", "http://example.org/", "alice", PASSWORD, AddressPolicy())
    with pytest.raises(CalendarError, match="user name and a password"):
        add_caldav(store, secrets, ALICE, "dav", "https://example.org/", "alice", "", AddressPolicy())
    assert not store.calendars() and secrets.get(ALICE, "dav", "password") is None

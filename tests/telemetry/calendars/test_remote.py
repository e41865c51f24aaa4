"""Calendars on servers: a real Radicale, and servers that mean no good."""

import gzip
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from calendar_servers import PASSWORD, Radicale, answering, radicale

from ghostdesk.telemetry.calendars.addresses import AddressPolicy
from ghostdesk.telemetry.calendars.errors import CalendarError, CalendarRefused, CalendarSignInFailed
from ghostdesk.telemetry.calendars.reading import read_calendar
from ghostdesk.telemetry.calendars.remote import Fetched, fetch_account, fetch_url
from ghostdesk.telemetry.calendars.web import CalendarSession

LOOPBACK = AddressPolicy(allowed_hosts=frozenset({"127.0.0.1"}))
SINCE_S = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
UNTIL_S = datetime(2026, 12, 7, tzinfo=UTC).timestamp()
ICS = b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nDTSTART:20261124T080000Z\nEND:VEVENT\nEND:VCALENDAR\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radicale]:
    with radicale(tmp_path_factory.mktemp("radicale")) as running:
        yield running


@pytest.fixture
def session() -> Iterator[CalendarSession]:
    with CalendarSession(LOOPBACK, total_timeout_s=20) as made:
        yield made


def account(url: str, version: str = "", password: str = PASSWORD) -> Fetched:
    with CalendarSession(LOOPBACK, total_timeout_s=20) as session:
        return fetch_account(session, url, "alice", password, SINCE_S, UNTIL_S, version)


def times(fetched: Fetched) -> list[str]:
    found = read_calendar(fetched.texts, SINCE_S, UNTIL_S, timezone=UTC, key=b"k")
    assert not found.skipped
    return [f"{datetime.fromtimestamp(one.start_s, UTC):%m-%d %H:%M}" for one in found.times]


def test_an_account_from_its_first_entry_to_its_last(server: Radicale) -> None:
    server.make_calendar()
    first = account(server.url)
    assert times(first) == []
    server.put("one", "DTSTART:20261124T080000Z", "DTEND:20261124T090000Z")
    server.put("far", "DTSTART:20280101T080000Z", "DTEND:20280101T090000Z")
    moved = (
        "BEGIN:VEVENT\r\nUID:series\r\nRECURRENCE-ID:20261126T100000Z\r\nDTSTAMP:20261101T000000Z\r\n"
        "DTSTART:20261126T140000Z\r\nEND:VEVENT\r\n"
    )
    server.put("series", "DTSTART:20261001T100000Z", "RRULE:FREQ=WEEKLY;BYDAY=TH", more=moved)
    second = account(server.url)
    assert second.version != first.version
    assert times(second) == ["11-24 08:00", "11-26 14:00", "12-03 10:00"]
    assert account(server.url, second.version) == Fetched(version=second.version, unchanged=True)
    server.put("one", "DTSTART:20261125T080000Z", "DTEND:20261125T090000Z")
    third = account(server.url, second.version)
    assert times(third)[0] == "11-25 08:00"
    server.put("one", "DTSTART:20261125T080000Z", "STATUS:CANCELLED")
    server.delete("series")
    assert times(account(server.url)) == []


def test_the_address_of_the_owner_and_of_one_calendar_serve_as_well(server: Radicale) -> None:
    server.make_calendar("first")
    server.make_calendar("second")
    server.put("a", "DTSTART:20261201T080000Z", name="first")
    server.put("b", "DTSTART:20261202T080000Z", name="second")
    assert {"12-01 08:00", "12-02 08:00"} <= set(times(account(server.home)))
    assert times(account(server.home + "second/")) == ["12-02 08:00"]


def test_titles_are_in_no_value_and_no_log(server: Radicale, caplog: pytest.LogCaptureFixture) -> None:
    server.make_calendar("private")
    server.put("t", "DTSTART:20261201T080000Z", name="private")
    with caplog.at_level(logging.DEBUG):
        fetched = account(server.home + "private/")
    assert times(fetched) == ["12-01 08:00"]
    assert "Secret title" not in repr(fetched) + caplog.text and PASSWORD not in caplog.text


def test_a_wrong_password(server: Radicale) -> None:
    with pytest.raises(CalendarSignInFailed, match="does not take") as caught:
        account(server.url, password="wrong")  # noqa: S106
    assert "wrong" not in str(caught.value) and caught.value.mend


def test_no_calendar_there(server: Radicale) -> None:
    with pytest.raises(CalendarError, match=r"no calendar|does not take"):
        account(server.url + "nobody/nothing/")


def test_a_server_that_is_down(tmp_path: Path) -> None:
    with radicale(tmp_path) as gone:
        url = gone.url
    with pytest.raises(CalendarError, match="cannot be reached"):
        account(url)


def reply(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def test_an_address_with_a_calendar_and_its_version(session: CalendarSession) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        known = request.headers.get("If-None-Match") == '"v1"'
        reply(b"" if known else ICS, 304 if known else 200, ETag='"v1"')(request)

    with answering(answer) as url:
        fetched = fetch_url(session, url)
        assert times(fetched) == ["11-24 08:00"] and fetched.version == '"v1"'
        assert fetch_url(session, url, fetched.version).unchanged


@pytest.mark.parametrize(
    ("answer", "error", "cause"),
    [
        (reply(b"", 404), CalendarError, "answered 404"),
        (reply(b"", 401), CalendarSignInFailed, "wants a sign-in"),
        (reply(b"<html>Sign in</html>"), CalendarError, "no iCalendar"),
        (reply(b"", 302, Location="http://169.254.169.254/latest/meta-data"), CalendarRefused, "https"),
        (reply(b"", 302, Location="https://127.0.0.2/x.ics"), CalendarRefused, "another host"),
        (reply(b"", 302, Location="/again"), CalendarError, "in a circle"),
        (reply(gzip.compress(b" " * 200_000_000, 1), Content_Encoding="gzip"), CalendarError, "larger than"),
        (reply(b"no gzip at all", Content_Encoding="gzip"), CalendarError, "cannot be reached"),
        (reply(ICS, Content_Length=str(2 * len(ICS))), CalendarError, "cannot be reached"),
    ],
)
def test_bad_answers_to_a_plain_request(
    session: CalendarSession, answer: Callable[[BaseHTTPRequestHandler], None], error: type[CalendarError], cause: str
) -> None:
    with answering(answer) as url, pytest.raises(error, match=cause):
        fetch_url(session, url)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (reply(b"<html>hello"), "not as a CalDAV server"),
        (reply(b"<a/>", 207), "not as a CalDAV server|no calendar"),
        (
            reply(b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>', 207, Content_Type="text/xml"),
            "definitions of its own",
        ),
        (reply(b"", 500), "not as a CalDAV server"),
    ],
)
def test_bad_answers_to_caldav(
    answer: Callable[[BaseHTTPRequestHandler], None], cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    with answering(answer) as url, pytest.raises(CalendarError, match=cause):
        account(url)
    assert "hello" not in caplog.text


def test_a_slow_server_is_cut_off_however_it_trickles() -> None:
    def trickle(request: BaseHTTPRequestHandler) -> None:
        for byte in itertools.chain(b"HTTP/1.1 200 OK\r\nX: ", itertools.repeat(65)):
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            time.sleep(0.05)

    with (
        answering(trickle) as url,
        CalendarSession(LOOPBACK, total_timeout_s=0.5) as session,
        pytest.raises(CalendarError, match="in time"),
    ):
        fetch_url(session, url)


def test_a_silent_server_is_given_up() -> None:
    with (
        answering(lambda _request: time.sleep(1.5)) as url,
        CalendarSession(LOOPBACK, read_timeout_s=0.2) as session,
        pytest.raises(CalendarError, match="in time"),
    ):
        fetch_url(session, url)


def test_a_name_that_comes_to_point_inside_is_not_followed() -> None:
    asked_for = list[str]()

    def rebinding(host: str, port: int) -> list[str]:
        asked_for.append(host)
        return ["127.0.0.1"]

    policy = AddressPolicy(resolve=rebinding)
    with CalendarSession(policy) as session, pytest.raises(CalendarRefused, match="inside the operator's network"):
        fetch_url(session, policy.check_url("https://calendar.example.org/a.ics"))
    assert asked_for == ["calendar.example.org"]

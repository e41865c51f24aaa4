"""Adding and removing calendars: what is checked, what the database keeps, and what goes to the secret files."""

from __future__ import annotations

from urllib.parse import urlsplit

from ghostdesk.control.booking_sources import KIND as BOOKINGS
from ghostdesk.control.calendar_sync import CalendarStore
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.calendars.addresses import AddressPolicy
from ghostdesk.telemetry.calendars.days import check_region, parse_terms
from ghostdesk.telemetry.calendars.digests import series_digest, series_key
from ghostdesk.telemetry.calendars.entries import CalendarSource
from ghostdesk.telemetry.calendars.errors import CalendarError
from ghostdesk.telemetry.calendars.lines import (
    BOOKING_LINES,
    booked_only,
    decode_calendar,
    split_calendar,
    without_identity,
)
from ghostdesk.telemetry.calendars.secret_files import SecretFiles

_MAX_NAME_CHARS = 64
_MAX_PASSWORD_CHARS = 1_000


def add_file(store: CalendarStore, secrets: SecretFiles, user: UserId | None, name: str, data: bytes) -> CalendarSource:
    """Keep a calendar that was handed in as iCalendar, stripped to its times.

    Raises:
        CalendarError: it is no calendar, or too large.
    """
    lines = split_calendar(decode_calendar(data))
    key = series_key(secrets.series_key(), user)
    kept = without_identity(lines, lambda uid: series_digest(uid, key))
    return _add(store, secrets, CalendarSource(user, _checked_name(name), "file"), "text", kept)


def add_url(
    store: CalendarStore, secrets: SecretFiles, user: UserId, name: str, url: str, policy: AddressPolicy
) -> CalendarSource:
    """Keep the web address of an iCalendar text; the database gets its host alone, as such addresses are secrets.

    Raises:
        CalendarRefused: the address is none that may be fetched.
    """
    checked = policy.check_url(url)
    _check_host(checked, policy)
    source = CalendarSource(user, _checked_name(name), "url", urlsplit(checked).hostname or "")
    return _add(store, secrets, source, "address", checked)


def add_caldav(
    store: CalendarStore,
    secrets: SecretFiles,
    user: UserId,
    name: str,
    url: str,
    username: str,
    password: str,
    policy: AddressPolicy,
) -> CalendarSource:
    """Keep a CalDAV account.

    Raises:
        CalendarRefused: the address is none that may be reached.
        CalendarError: user name or password are missing.
    """
    if not username or not 0 < len(password) <= _MAX_PASSWORD_CHARS:
        raise CalendarError("A CalDAV account needs a user name and a password.", "Give both.")
    checked = policy.check_url(url)
    _check_host(checked, policy)
    source = CalendarSource(user, _checked_name(name), "caldav", checked, username)
    return _add(store, secrets, source, "password", password)


def add_holidays(
    store: CalendarStore, secrets: SecretFiles, user: UserId | None, name: str, region: str
) -> CalendarSource:
    """Keep a country's (and subdivision's) public holidays.

    Raises:
        CalendarError: none are known for it.
    """
    source = CalendarSource(user, _checked_name(name), "holidays", check_region(region))
    store.put_calendar(source)
    secrets.delete(user, name)
    return source


def add_terms(
    store: CalendarStore, secrets: SecretFiles, user: UserId | None, name: str, data: bytes
) -> CalendarSource:
    """Keep terms from CSV.

    Raises:
        CalendarError: the file is none of terms; says which line.
    """
    text = decode_calendar(data)
    parse_terms(text)
    return _add(store, secrets, CalendarSource(user, _checked_name(name), "terms"), "text", text)


def add_bookings_file(store: CalendarStore, secrets: SecretFiles, name: str, data: bytes) -> CalendarSource:
    """Keep an operator's calendar that books desktops, as iCalendar, without the entries that book none.

    Raises:
        CalendarError: it is no calendar, or too large.
    """
    lines = booked_only(split_calendar(decode_calendar(data), BOOKING_LINES))
    source = CalendarSource(None, _checked_name(name), BOOKINGS)
    return _add(store, secrets, source, "text", without_identity(lines, lambda uid: uid))


def add_bookings_url(
    store: CalendarStore, secrets: SecretFiles, name: str, url: str, policy: AddressPolicy
) -> CalendarSource:
    """Keep the web address of an operator's calendar that books desktops; the database gets its host alone.

    Raises:
        CalendarRefused: the address is none that may be fetched.
    """
    checked = policy.check_url(url)
    _check_host(checked, policy)
    source = CalendarSource(None, _checked_name(name), BOOKINGS, urlsplit(checked).hostname or "")
    return _add(store, secrets, source, "address", checked)


def remove_calendar(store: CalendarStore, secrets: SecretFiles, user: UserId | None, name: str) -> None:
    """Remove a calendar, its busy times and its secrets.

    Raises:
        NotFound: there is none of this name.
    """
    secrets.delete(user, name)
    if not store.delete_calendar(user, name):
        whose = "for everyone" if user is None else f"of {user}"
        raise NotFound(f"There is no calendar {name!r} {whose}.", "`ghostdesk calendar list` shows what there is.")


def _add(store: CalendarStore, secrets: SecretFiles, source: CalendarSource, kind: str, value: str) -> CalendarSource:
    """The source first: a secret without a source would be taken for one that was left behind."""
    store.put_calendar(source)
    secrets.delete(source.user, source.name)
    secrets.put(source.user, source.name, kind, value)
    return source


def _check_host(url: str, policy: AddressPolicy) -> None:
    parts = urlsplit(url)
    policy.addresses(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > _MAX_NAME_CHARS or not name.isprintable() or name != name.strip():
        raise CalendarError(
            f"{name[:20]!r} is no name for a calendar.", f"Use 1 to {_MAX_NAME_CHARS} characters, such as work."
        )
    return name

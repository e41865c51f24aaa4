"""Calendars on servers: iCalendar at a web address, and CalDAV accounts (RFC 4791) through the caldav library."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from ghostdesk.telemetry.calendars.errors import CalendarError, CalendarSignInFailed
from ghostdesk.telemetry.calendars.lines import CalendarLines, decode_calendar, split_calendar
from ghostdesk.telemetry.calendars.web import CalendarSession, asked

T = TypeVar("T")
_MAX_CALENDARS = 50
_CALENDAR = "{urn:ietf:params:xml:ns:caldav}calendar"
_CTAG = "{http://calendarserver.org/ns/}getctag"
_NO_CALENDAR = "Copy the address from the calendar's settings, and check it in a browser."


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server gave.

    Args:
        texts: the calendar; empty when `unchanged`.
        version: what to give next time; empty where the server tells none.
        unchanged: nothing is new since the version that was given.
    """

    texts: tuple[CalendarLines, ...] = ()
    version: str = ""
    unchanged: bool = False


def fetch_url(session: CalendarSession, url: str, version: str = "", further: frozenset[str] = frozenset()) -> Fetched:
    """Fetch an iCalendar text, unless the server says it is still the `version` known; `further` lines of it matter.

    Raises:
        CalendarError: it cannot be had, or is no calendar.
    """
    headers = {"Accept": "text/calendar, */*;q=0.1"}
    if version:
        headers["If-None-Match"] = version
    response = asked(session, lambda: session.get(url, headers=headers), "The calendar's server")
    if response.status_code == 304:
        return Fetched(version=version, unchanged=True)
    if response.status_code in (401, 403):
        raise CalendarSignInFailed("The calendar's server wants a sign-in.", "Give its secret or public address.")
    if response.status_code != 200:
        raise CalendarError(f"The calendar's server answered {response.status_code}.", _NO_CALENDAR)
    text = decode_calendar(response.content)
    return Fetched((split_calendar(text, further),), response.headers.get("ETag", "")[:500])


def fetch_account(
    session: CalendarSession, url: str, username: str, password: str, since_s: float, until_s: float, version: str = ""
) -> Fetched:
    """Fetch what all calendars of an account hold in a window, unless nothing changed since `version`.

    Args:
        session: takes care of addresses, times and sizes.
        url: of the server, of the account, or of one calendar.
        username, password: the account's.
        since_s, until_s: the window (UTC seconds).
        version: what the last fetch gave for the same window.

    Raises:
        CalendarSignInFailed: the server does not take the password.
        CalendarError: there is no calendar, or the server cannot be reached or is no CalDAV server.
    """
    account = _Account(session, url, username, password)
    calendars = account.calendars()
    if not calendars:
        raise CalendarError("The account has no calendar.", _NO_CALENDAR)
    found = _version([account.tag(one) for one in calendars])
    if found and found == version:
        return Fetched(version=version, unchanged=True)
    texts = [text for one in calendars for text in account.texts(one, since_s, until_s)]
    return Fetched(tuple(texts), found)


def _version(tags: Sequence[tuple[str, str]]) -> str:
    """One digest of the tags of all calendars; empty when one has none."""
    if not all(tag for _, tag in tags):
        return ""
    return hashlib.blake2b(repr(sorted(tags)).encode(), digest_size=16).hexdigest()


class _Account:
    """A CalDAV account, with the library's many exceptions said in our words."""

    def __init__(self, session: CalendarSession, url: str, username: str, password: str) -> None:
        import caldav  # takes half a second

        # What the library logs are answers of servers, with titles and names.
        logging.getLogger("caldav").setLevel(logging.CRITICAL + 1)
        self._url, self._session = url, session
        self._client: Any = caldav.DAVClient(url=url, username=username, password=password)
        self._client.session.close()
        self._client.session = session

    def calendars(self) -> list[Any]:
        """The calendar at the address, or else those of the account's owner, however the server leads to them."""
        own = self._client.calendar(url=self._url)
        if self._asked(lambda: self._is_calendar(own)):
            return [own]
        found = self._asked(lambda: list(self._client.principal().calendars()))
        if not found and urlsplit(self._url).path in ("", "/"):
            self._client.url = self._client.url.join(urljoin(self._url, "/.well-known/caldav"))
            found = self._asked(lambda: list(self._client.principal().calendars()))
        return found[:_MAX_CALENDARS]

    @staticmethod
    def _is_calendar(collection: Any) -> bool:
        from caldav.elements import dav
        from caldav.lib.error import NotFoundError

        try:
            found = collection.get_properties([dav.ResourceType()], parse_props=False)
        except NotFoundError:
            return False
        kinds = found.get(dav.ResourceType.tag)
        return kinds is not None and any(kind.tag == _CALENDAR for kind in kinds)

    def tag(self, calendar: Any) -> tuple[str, str]:
        """A calendar's path, and the tag that changes with anything in it."""
        from caldav.elements import dav
        from caldav.elements.base import BaseElement

        class CTag(BaseElement):
            tag = _CTAG

        ask = [CTag(), dav.SyncToken()]
        found = self._asked(lambda: calendar.get_properties(ask))
        return str(calendar.url), str(found.get(_CTAG) or found.get(dav.SyncToken.tag) or "")

    def texts(self, calendar: Any, since_s: float, until_s: float) -> list[CalendarLines]:
        """The entries of a calendar that touch the window, each with all occurrences of its series."""
        start, end = datetime.fromtimestamp(since_s, UTC), datetime.fromtimestamp(until_s, UTC)

        def search() -> list[Any]:
            found: list[Any] = calendar.search(start=start, end=end, event=True, expand=False)
            return found

        return [split_calendar(str(one.data)) for one in self._asked(search)]

    def _asked(self, ask: Callable[[], T]) -> T:
        from caldav.lib import error

        def told() -> T:
            try:
                return ask()
            except error.AuthorizationError:
                raise CalendarSignInFailed(
                    "The calendar's server does not take the user name and password.",
                    "Give them again; many services want a password made for applications.",
                ) from None
            except error.NotFoundError:
                raise CalendarError("There is no calendar at the address.", _NO_CALENDAR) from None
            except (error.DAVError, AttributeError, KeyError, TypeError, ValueError, NotImplementedError):
                if self._session.timed_out:
                    raise TimeoutError from None
                raise CalendarError("The address answers, but not as a CalDAV server does.", _NO_CALENDAR) from None

        return asked(self._session, told, "The calendar's server")

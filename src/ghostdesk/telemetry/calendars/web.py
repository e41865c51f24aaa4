"""A web session for servers that nobody vouches for: checked addresses, no detours, bounded in time and size."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from lxml import etree  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from ghostdesk.telemetry.calendars.addresses import AddressPolicy
from ghostdesk.telemetry.calendars.errors import CalendarError, CalendarRefused
from ghostdesk.telemetry.calendars.lines import MAX_BYTES, too_large

T = TypeVar("T")
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 15.0
TOTAL_TIMEOUT_S = 60.0
"""For everything that one reading of a calendar asks of its server."""
_MAX_TOTAL_BYTES = 2 * MAX_BYTES
_MAX_REDIRECTS = 5
_MAX_TRIED = 4
_CHUNK_BYTES = 65_536
_DAV_METHODS = frozenset({"PROPFIND", "REPORT"})


class CalendarSession(requests.Session):
    """`requests.Session` with the guards. Proxies, `.netrc` and certificates named by the environment are not used.

    Requests through it raise `CalendarRefused` for an address, or an answer, that is not to be trusted, `CalendarError`
    for one that is too large, and what requests raises; `asked` says the latter in our words.

    Args:
        policy: which addresses may be reached; the first one asked for is the only origin, unless others are allowed.
        ca_file: certificates to trust instead of the usual ones, for a server of the operator's own authority.
        read_timeout_s: without a byte.
        total_timeout_s: after which every connection is cut, however slowly the server still sends.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        ca_file: str | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
    ) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = _MAX_REDIRECTS
        self.verify = ca_file or True
        self._deadline = _Deadline(total_timeout_s)
        adapter = _GuardedAdapter(policy, self._deadline, self.verify, read_timeout_s)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    @property
    def timed_out(self) -> bool:
        """Whether the connections were cut as the whole took too long."""
        return self._deadline.passed

    def close(self) -> None:
        """Let go of all connections."""
        self._deadline.cancel()
        super().close()

    def rebuild_method(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """A redirected PROPFIND or REPORT stays one (RFC 9110, section 15.4), whatever browsers made of that."""


def asked(session: CalendarSession, ask: Callable[[], T], what: str) -> T:
    """The result of `ask`, with the failures of the network said in our words; `what` begins the sentence.

    The words of the library are left out: they hold the address, and addresses may be secret.

    Raises:
        CalendarError: of one kind or another.
    """
    try:
        return ask()
    except CalendarError:
        raise
    except requests.exceptions.SSLError:
        raise CalendarError(
            f"{what} has a certificate that is not trusted.", "Renew it, or name its authority in calendars.ca_file."
        ) from None
    except requests.exceptions.TooManyRedirects:
        raise CalendarError(f"{what} redirects in a circle.", "Give the address it should lead to.") from None
    except (requests.RequestException, OSError) as error:
        if session.timed_out or isinstance(error, (requests.exceptions.Timeout, TimeoutError)):
            raise CalendarError(f"{what} did not answer in time.", "It is tried again later.") from None
        raise CalendarError(f"{what} cannot be reached.", "It is tried again later; check that it runs.") from None


class _Deadline:
    """Cuts all connections when the time is up: a server that sends a byte now and then would hold us for ever."""

    def __init__(self, total_timeout_s: float) -> None:
        self.passed = False
        self._end_s = time.monotonic() + total_timeout_s
        self._connections: list[HTTPConnection] = []
        self._timer = threading.Timer(total_timeout_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()

    def check(self) -> None:
        """Raise `TimeoutError` when the time is up."""
        if self.passed or time.monotonic() > self._end_s:
            self.passed = True
            raise TimeoutError

    def watch(self, connection: HTTPConnection) -> None:
        self._connections.append(connection)

    def _cut(self) -> None:
        self.passed = True
        for connection in self._connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                continue


class _GuardedAdapter(HTTPAdapter):
    """Every request, redirected or not, passes here."""

    def __init__(self, policy: AddressPolicy, deadline: _Deadline, verify: bool | str, read_timeout_s: float) -> None:
        self._policy, self._deadline = policy, deadline
        self._verify, self._read_timeout_s = verify, read_timeout_s
        self._origin = ""
        self._bytes = 0
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Pools whose connections go to checked addresses."""
        super().init_poolmanager(*args, **options)
        guard = self

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return guard.connect(self)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return guard.connect(self)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

    def connect(self, connection: HTTPConnection) -> socket.socket:
        """A socket to the first address of the connection's host that answers; none but checked ones are tried."""
        problem: OSError | None = None
        for address in self._policy.addresses(connection.host, connection.port)[:_MAX_TRIED]:
            self._deadline.check()
            try:
                made = socket.create_connection((address, connection.port), CONNECT_TIMEOUT_S)
            except OSError as error:
                problem = error
                continue
            self._deadline.watch(connection)
            return made
        raise NewConnectionError(connection, f"no address answers: {problem}")

    def send(self, request: requests.PreparedRequest, *_args: Any, **_options: Any) -> requests.Response:
        """One request; the body of the answer is there, whole and bounded, when it returns."""
        self._deadline.check()
        url = self._policy.check_url(request.url or "")
        self._origin = self._origin or url
        if not self._policy.may_follow(self._origin, url):
            raise CalendarRefused(
                "The calendar's server sends us on to another host.",
                "Give the address on that host, or the operator can add it to calendars.allowed_hosts.",
            )
        timeout = (CONNECT_TIMEOUT_S, self._read_timeout_s)
        response = super().send(request, stream=True, timeout=timeout, verify=self._verify)
        self._take_body(response)
        return response

    def _take_body(self, response: requests.Response) -> None:
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            self._bytes += len(chunk)
            if self._bytes > _MAX_TOTAL_BYTES or len(body) > MAX_BYTES:
                response.close()
                raise too_large()
        if not response.ok or response.is_redirect:
            body.clear()  # error pages: the library would write them to the log
        elif response.request.method in _DAV_METHODS:
            _check_xml(bytes(body))
        response._content = bytes(body)


def _check_xml(body: bytes) -> None:
    """An answer to a CalDAV request is plain XML: anything else the library would write to the log, whole."""
    try:
        tree = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        raise CalendarError(
            "The address answers, but not as a CalDAV server does.", "Copy the CalDAV address from its settings."
        ) from None
    if tree.getroottree().docinfo.internalDTD is not None:
        raise CalendarRefused("The calendar's server sent XML with definitions of its own.", "Ask who runs it.")

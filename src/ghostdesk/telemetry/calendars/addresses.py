"""Which addresses a calendar may be fetched from: a person's setting must not turn ghostdesk against its own network.

Server-side request forgery is kept out twice: an address is checked when it is given, and every connection goes to an
IP address that was checked itself (`telemetry.calendars.web`), so that a name cannot point elsewhere a moment later.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from ghostdesk.telemetry.calendars.errors import CalendarError, CalendarRefused

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]
"""Host and port to IP addresses as text; raises `OSError`."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MAX_CHARS = 2_000


def resolve(host: str, port: int) -> list[str]:
    """All addresses that the system's resolver has for a host."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What the operator allows.

    Args:
        allowed_hosts: hosts that may be reached although they are inside the operator's network, and that a calendar's
            server may send us on to; lower case, without a port.
        resolve: for tests.
    """

    allowed_hosts: Collection[str] = ()
    resolve: Resolve = field(default=resolve)

    def check_url(self, url: str) -> str:
        """The address itself, if it may be fetched as far as can be told without asking the network.

        Raises:
            CalendarRefused: it is no https address (http is for allowed loopback hosts), or holds a user name.
        """
        try:
            parts = urlsplit(url.strip())
            host, _ = parts.hostname or "", parts.port  # a bad port raises here
        except ValueError:
            raise CalendarRefused("The calendar's address is not understood.", "Copy it again as a whole.") from None
        if len(url) > _MAX_CHARS or not host or any(c.isspace() or not c.isprintable() for c in url.strip()):
            raise CalendarRefused("The calendar's address is not understood.", "Copy it again as a whole.")
        if parts.username or parts.password:
            raise CalendarRefused(
                "The calendar's address holds a user name or password.", "Give them apart: addresses are shown."
            )
        if parts.scheme == "http" and self._allowed(host) and _is_loopback_name(host):
            return url.strip()
        if parts.scheme not in ("https", "webcal", "webcals"):
            raise CalendarRefused("The calendar's address does not start with https://.", "Give its https address.")
        return "https://" + url.strip().split("://", 1)[1]

    def addresses(self, host: str, port: int) -> list[str]:
        """IP addresses that a connection to `host` may use.

        Raises:
            CalendarRefused: the host is inside the operator's network (or reserved), and not allowed.
            CalendarError: the host has no address.
        """
        try:
            found = self.resolve(host, port)
        except (OSError, UnicodeError):
            raise CalendarError(
                f"The host {host} is not known.", "Check the address, and this machine's DNS."
            ) from None
        if self._allowed(host):
            return found
        public = [text for text in found if is_public(text)]
        if not public:
            raise CalendarRefused(
                f"The host {host} is inside the operator's network.",
                "If it is the calendar server, the operator can add it to calendars.allowed_hosts.",
            )
        return public

    def may_follow(self, from_url: str, to_url: str) -> bool:
        """Whether a request to one address may go on to another: the same origin, or a host that is allowed."""
        before, after = urlsplit(from_url), urlsplit(to_url)
        if _origin(before) == _origin(after):
            return True
        return after.scheme == "https" and self._allowed(after.hostname or "")

    def _allowed(self, host: str) -> bool:
        return host.lower().rstrip(".") in self.allowed_hosts


def is_public(text: str) -> bool:
    """Whether an IP address is one of the open internet, whichever way it is written."""
    try:
        address: IpAddress = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo is not None:
            return False
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_loopback_name(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

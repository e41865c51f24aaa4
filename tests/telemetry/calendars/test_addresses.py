"""Where a calendar may be fetched from."""

import pytest

from ghostdesk.telemetry.calendars.addresses import AddressPolicy, is_public
from ghostdesk.telemetry.calendars.errors import CalendarError, CalendarRefused

PUBLIC = AddressPolicy()
INSIDE = AddressPolicy(allowed_hosts=frozenset({"127.0.0.1", "caldav.lan", "localhost"}))


@pytest.mark.parametrize(
    "url", ["https://example.org/a.ics", "webcal://example.org/a.ics", " https://example.org:8443/ "]
)
def test_https_is_taken(url: str) -> None:
    assert PUBLIC.check_url(url).startswith("https://example.org")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.ics",
        "http://127.0.0.1:5232/",
        "file:///etc/passwd",
        "ftp://example.org/",
        "https://",
        "example.org",
        "https://alice:pw@example.org/",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "https://example.org/\r\nHost: x",
        "https://[::1",
        "gopher://example.org",
        "https://example.org/" + "a" * 3000,
        "",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(CalendarRefused) as caught:
        PUBLIC.check_url(url)
    assert caught.value.mend and "pw" not in str(caught.value)


def test_plain_http_is_for_allowed_loopback_alone() -> None:
    assert INSIDE.check_url("http://127.0.0.1:5232/")
    assert INSIDE.check_url("http://localhost:5232/")
    for url in ("http://caldav.lan/", "http://127.0.0.2/"):
        with pytest.raises(CalendarRefused):
            INSIDE.check_url(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "240.0.0.1", "nonsense",
    ],
)  # fmt: skip
def test_addresses_inside(address: str) -> None:
    assert not is_public(address)
    policy = AddressPolicy(resolve=lambda _host, _port: [address])
    with pytest.raises(CalendarRefused, match="allowed_hosts"):
        policy.addresses("calendar.example.org", 443)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_addresses_outside(address: str) -> None:
    assert is_public(address)


def test_of_several_addresses_only_the_public_ones_are_used() -> None:
    policy = AddressPolicy(resolve=lambda _host, _port: ["10.0.0.1", "93.184.216.34"])
    assert policy.addresses("example.org", 443) == ["93.184.216.34"]


def test_an_odd_spelling_of_loopback_is_still_loopback() -> None:
    for host in ("2130706433", "0x7f000001", "127.1"):
        with pytest.raises(CalendarError):
            PUBLIC.addresses(host, 443)


def test_unknown_hosts() -> None:
    def nowhere(host: str, port: int) -> list[str]:
        raise OSError

    with pytest.raises(CalendarError, match="not known"):
        AddressPolicy(resolve=nowhere).addresses("example.org", 443)


def test_a_server_may_send_on_to_itself_and_to_allowed_hosts() -> None:
    policy = AddressPolicy(allowed_hosts=frozenset({"p42.example.org"}))
    assert policy.may_follow("https://example.org/a", "https://example.org:443/b")
    assert policy.may_follow("https://example.org/a", "https://p42.example.org/b")
    assert not policy.may_follow("https://example.org/a", "http://p42.example.org/b")
    assert not policy.may_follow("https://example.org/a", "https://example.org:8443/b")
    assert not policy.may_follow("https://example.org/a", "https://other.org/b")

"""A signal over the network: read from a real server, bounded, and never from where it was not allowed."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ghostdesk.control.energy_signal_source import SignalAddress
from ghostdesk.kernel.errors import ConfigError

PAGES = {
    "/good": (200, b"time,price\n2026-01-01T00:00Z,5\n2026-01-01T01:00Z,-2\n"),
    "/gone": (404, b"no"),
    "/page": (200, b"<html>sign in first</html>"),
    "/huge": (200, b"time,price\n" + b"1,2\n" * 2_000_000),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "https://192.0.2.1/other")
            self.end_headers()
            return
        status, body = PAGES[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            return  # whoever asked has had enough

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_signal_is_read_from_an_allowed_address(address: str) -> None:
    assert SignalAddress(f"{address}/good", ["127.0.0.1"]).read().values == (5.0, -2.0)


@pytest.mark.parametrize(
    ("page", "why"),
    [("/gone", "404"), ("/page", "no signal"), ("/huge", "larger|MiB|large"), ("/away", "another host")],
)
def test_what_is_no_signal_is_refused_with_the_reason(address: str, page: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as told:
        SignalAddress(f"{address}{page}", ["127.0.0.1"]).read()
    assert "calendar" not in str(told.value)


def test_hosts_inside_the_network_are_not_asked_unless_allowed(address: str) -> None:
    with pytest.raises(ConfigError):
        SignalAddress(f"{address}/good").read()

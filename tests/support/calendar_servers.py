"""Calendar servers for tests: a real Radicale on loopback, and small servers that answer as told."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

PASSWORD = "correct horse"  # noqa: S105


@dataclass(frozen=True)
class Radicale:
    """A CalDAV server with the account alice."""

    url: str

    @property
    def home(self) -> str:
        return f"{self.url}alice/"

    def request(self, method: str, path: str, body: str = "", **headers: str) -> requests.Response:
        """Ask as alice's own calendar program does."""
        answer = requests.request(
            method, self.home + path, data=body.encode(), headers=headers, auth=("alice", PASSWORD), timeout=20
        )
        assert answer.ok, (method, path, answer.status_code, answer.text)
        return answer

    def make_calendar(self, name: str = "work") -> None:
        self.request("MKCALENDAR", f"{name}/")

    def put(self, uid: str, *lines: str, name: str = "work", more: str = "") -> None:
        """Write an entry; `more` are further VEVENTs of its series."""
        event = "\r\n".join(("BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20261101T000000Z", "SUMMARY:Secret title", *lines))
        text = (
            f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n{event}\r\nEND:VEVENT\r\n{more}END:VCALENDAR\r\n"
        )
        self.request("PUT", f"{name}/{uid}.ics", text, **{"Content-Type": "text/calendar"})

    def delete(self, uid: str, name: str = "work") -> None:
        self.request("DELETE", f"{name}/{uid}.ics")


@contextlib.contextmanager
def radicale(folder: Path) -> Iterator[Radicale]:
    """Start Radicale on a free port of loopback, and stop it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "users").write_text(f"alice:{PASSWORD}\n")
    (folder / "config").write_text(
        f"[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = htpasswd\nhtpasswd_filename = {folder}/users\n"
        f"htpasswd_encryption = plain\ndelay = 0\n[storage]\nfilesystem_folder = {folder}/collections\n"
        "[web]\ntype = none\n[logging]\nlevel = error\n"
    )
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "radicale", "--config", str(folder / "config")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _await_port(port, process)
            yield Radicale(f"http://127.0.0.1:{port}/")
        finally:
            process.terminate()
            process.wait(20)


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "Radicale did not start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("Radicale did not start")


@contextlib.contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A web server that answers every request with `answer`; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle_any(self) -> None:
            with contextlib.suppress(OSError):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer(self)

        do_GET = do_PROPFIND = do_REPORT = do_OPTIONS = handle_any

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

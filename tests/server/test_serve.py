"""Where the server listens, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.server.app import create_app
from ghostdesk.server.guard import local_origins
from ghostdesk.server.serve import bind, is_loopback, serve


def test_a_port_that_is_taken_is_named_with_the_mend() -> None:
    with contextlib.closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            bind("127.0.0.1", port, tls=False)
    assert str(port) in refused.value.cause and "--port" in refused.value.mend


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "desk.example.org", ""])  # noqa: S104
def test_nothing_but_loopback_without_tls(host: str) -> None:
    with pytest.raises(ConfigError, match="tls_certificate"):
        bind(host, 0, tls=False)


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("::", "10.0.0.1", "localhost.example.org", "127.0.0.1.example.org")))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="Cannot listen"):
        bind("192.0.2.1", 0, tls=True)


async def test_a_certificate_that_cannot_be_used_is_named(world: Any, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"cert\.pem"):
        await serve(world.app, "127.0.0.1", world.port, tmp_path / "cert.pem", tmp_path / "key.pem")
    bind("127.0.0.1", world.port, tls=False).close()  # the port was let go


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("not installed: openssl")
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run([*command.split(), *more], check=True, capture_output=True, timeout=30)
    return paths


async def test_with_tls_cookies_are_for_tls_alone(world: Any, certificate: tuple[Path, Path]) -> None:
    app = create_app(
        world.service,
        world.store,
        origins=local_origins("127.0.0.1", world.port, tls=True),
        web_session_life_s=60.0,
        ticket_life_s=20.0,
        clock=world.clock,
    )
    stop, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(app, "127.0.0.1", world.port, *certificate, stop=stop, on_started=started.set))
    await started.wait()
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    base = f"https://localhost:{world.port}"
    async with httpx.AsyncClient(verify=trusted, trust_env=False, base_url=base, headers={"Origin": base}) as client:
        answer = await client.post("/api/session", json={"token": world.token(UserId("ada"))})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-ghostdesk=") and "Secure" in cookie
        assert "strict-transport-security" in answer.headers
        assert (await client.get("/api/me")).status_code == 200
    stop.set()
    await task


async def test_it_serves_until_told_to_stop_and_lets_the_port_go(world: Any) -> None:
    for _ in range(2):
        async with world.served() as url, httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{url}/healthz")
            assert answer.text == "ok\n"
            assert "server" not in answer.headers


async def test_cancelling_it_stops_it(world: Any) -> None:
    started = asyncio.Event()
    task = asyncio.create_task(serve(world.app, "127.0.0.1", world.port, stop=asyncio.Event(), on_started=started.set))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bind("127.0.0.1", world.port, tls=False).close()

"""Serving the application on a port until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Generator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.server.measured_socket import MeasuredWebSocket

GRACE_S = 3.0
"""How long open requests may take to end when the server stops."""
PING_EVERY_S = 20.0
"""How often a quiet WebSocket is asked whether it lives; a half-open one is closed after twice that."""
MAX_MESSAGE_BYTES = 1024 * 1024


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int, *, tls: bool) -> socket.socket:
    """A listening socket; raises `ConfigError` for a host that needs TLS, and for a port or address not to be had."""
    if not is_loopback(host) and not tls:
        raise ConfigError(
            f"Serving on {host} would send desktops over the network in clear.",
            "Set server.tls_certificate and server.tls_key, or serve on 127.0.0.1.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise _port_error(host, port, error) from None
    listener.setblocking(False)
    return listener


async def serve(
    app: FastAPI,
    host: str,
    port: int,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    *,
    listener: socket.socket | None = None,
    stop: asyncio.Event | None = None,
    on_started: Callable[[], None] | None = None,
    ping_every_s: float = PING_EVERY_S,
) -> None:
    """Serve until `stop` is set, or, without one, until SIGINT or SIGTERM; then end streams and requests cleanly.

    Args:
        app: from `create_app`.
        host, port: where; anything but loopback needs a certificate.
        tls_certificate, tls_key: PEM files.
        listener: a socket from `bind`, when the caller wants to know early that the port is free.
        stop: ends serving when set; the caller then handles signals.
        on_started: called once connections are taken.
        ping_every_s: how often quiet WebSockets are asked whether they live.
    """
    tls = tls_certificate is not None and tls_key is not None
    listener = listener if listener is not None else bind(host, port, tls=tls)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws=MeasuredWebSocket,
        ws_per_message_deflate=False,  # RFB is compressed already
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=ping_every_s,
        ws_ping_timeout=ping_every_s,
        lifespan="off",
        log_config=None,
        log_level="warning",  # below that it logs addresses with their queries, and frames
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(GRACE_S),
        timeout_keep_alive=75,
        ssl_certfile=str(tls_certificate) if tls else None,
        ssl_keyfile=str(tls_key) if tls else None,
    )
    with contextlib.closing(listener):
        _load(config)
        server = _Server(config, app, own_signals=stop is None, on_started=on_started)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        watching = [asyncio.create_task(_stop_when(server, stop))] if stop is not None else []
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            server.should_exit = True
            await running
            raise
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


class _Server(uvicorn.Server):
    """Uvicorn's server, but it ends our event streams first, and leaves signals alone when the caller has them."""

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, *, own_signals: bool, on_started: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._stopping: asyncio.Event = app.state.stopping
        self._own_signals = own_signals

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Catch SIGINT and SIGTERM only when nobody else does."""
        if self._own_signals:
            with super().capture_signals():
                yield
        else:
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, then tell the caller."""
        await super().startup(sockets)
        if self._on_started is not None:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking connections and end those that are open."""
        self._stopping.set()
        await super().shutdown(sockets)


async def _stop_when(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


def _load(config: uvicorn.Config) -> None:
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The TLS certificate {config.ssl_certfile} or its key {config.ssl_keyfile} cannot be used: {error}.",
            "Give PEM files that this user can read and that belong together.",
        ) from None


def _port_error(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"Port {port} on {host} is taken by another program.", "Choose another with --port.")
    if error.errno == errno.EACCES:
        return ConfigError(f"Port {port} needs rights that this user lacks.", "Choose one from 1024 up with --port.")
    return ConfigError(f"Cannot listen on {host}:{port}: {error.strerror}.", "Set server.host to an own address.")

"""Uvicorn's WebSocket with a meter on the line: pings that are timed, and moments in which the socket takes no more.

The relay itself is as it was: what is measured comes from callbacks that the transport makes anyway.
"""

from __future__ import annotations

import fcntl
import sys
import termios
from asyncio.transports import BaseTransport
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.server.link_meter import LinkMeter

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

FIRST_PING_S = 0.2
MEASURE_EVERY_S = 5.0


class MeasuredLink:
    """What a stream's handler finds in its socket's state as `link`: set `listener`, and it is told after each ping."""

    def __init__(self) -> None:
        self.meter = LinkMeter()
        self.listener: Callable[[ClientLink], None] | None = None

    def tell(self, now_s: float) -> None:
        """Tell the listener what is known now."""
        link = self.meter.reading(now_s)
        if link is not None and self.listener is not None:
            self.listener(link)


class MeasuredWebSocket(WebSocketsSansIOProtocol):
    """For `uvicorn.Config(ws=...)`. A socket is still closed when a ping stays unanswered for `ws_ping_timeout`."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to measure."""
        super().connection_made(transport)
        self.link = MeasuredLink()
        self._pinged = False

    def handle_connect(self, event: Any) -> None:
        """The application finds the link in its scope's state."""
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # absent when the handshake was refused
        if scope is not None:
            scope["state"]["link"] = self.link

    def send(self, message: ASGISendEvent) -> Coroutine[Any, Any, None]:
        """Count, and send."""
        data = message.get("bytes")
        if isinstance(data, bytes):
            self.link.meter.relayed_bytes += len(data)
        return super().send(message)

    def pause_writing(self) -> None:
        """The socket is full."""
        super().pause_writing()
        meter = self.link.meter
        on_the_way = self.transport.get_write_buffer_size() + self._unacknowledged_bytes()
        meter.full(meter.relayed_bytes - on_the_way, self.loop.time())

    def _unacknowledged_bytes(self) -> int:
        """What the kernel holds of it (tcp(7), SIOCOUTQ): its buffer grows while a line is tried."""
        socket = self.transport.get_extra_info("socket")
        try:
            return int.from_bytes(fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, AttributeError, ValueError):
            return 0

    def resume_writing(self) -> None:
        """It takes more."""
        super().resume_writing()
        self.link.meter.free(self.loop.time())

    def schedule_ping(self) -> None:
        """The first ping at once, then one every few seconds."""
        interval_s = self.ping_interval or MEASURE_EVERY_S
        delay_s = min(MEASURE_EVERY_S, interval_s) if self._pinged else min(FIRST_PING_S, interval_s)
        self._pinged = True
        self.ping_timer = self.loop.call_later(delay_s, self.send_keepalive_ping)

    def handle_pong(self, event: Frame) -> None:
        """A round trip, if it answers our ping."""
        asked = self.pending_ping_payload
        super().handle_pong(event)
        if asked is not None and self.pending_ping_payload is None:
            self.link.meter.round_trip(self.last_ping_rtt)
            self.link.tell(self.loop.time())

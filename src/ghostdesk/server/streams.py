"""Where a stream leads: to a desktop of this process's own control plane, or of the one that plans elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ghostdesk.control.service import DesktopService
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.errors import NotAllowed
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.server.tickets import TicketOffice


@dataclass(frozen=True, slots=True)
class Admitted:
    """A stream that was let in: whose, to which desktop, and the socket to relay to."""

    user: UserId
    ghost: GhostId
    path: str


class StreamHost(Protocol):
    """What the gateway asks. Raises `GhostdeskError` subclasses only."""

    async def admit(self, secret: str, user: UserId, session: bytes) -> Admitted:
        """Use up a ticket; raises `NotAllowed` for one that is not good, and others when its desktop is gone."""
        ...

    async def connecting(self, ghost: GhostId) -> None:
        """A browser is about to shake hands with the desktop: let it run. `left` follows."""
        ...

    async def left(self, ghost: GhostId) -> None:
        """The browser's connection ended."""
        ...

    def measured(self, user: UserId, ghost: GhostId, link: ClientLink) -> None:
        """What the line to a browser is like now."""
        ...

    def revoke(self, session: bytes) -> None:
        """Void the tickets of a web session."""
        ...


class OwnStreams:
    """To the desktops of this process's own control plane."""

    def __init__(self, service: DesktopService, tickets: TicketOffice, clock: Clock) -> None:
        self._service, self._tickets, self._clock = service, tickets, clock

    async def admit(self, secret: str, user: UserId, session: bytes) -> Admitted:
        """See `StreamHost`."""
        ticket = self._tickets.take(secret, user, session, self._clock.now_s())
        if ticket is None:
            raise NotAllowed("This ticket is not good.", "Ask for another.")
        path = self._service.rfb_path(ticket.user, ticket.ghost, ticket.generation)
        return Admitted(ticket.user, ticket.ghost, path)

    async def connecting(self, ghost: GhostId) -> None:
        """See `StreamHost`."""
        await self._service.viewer_connecting(ghost)

    async def left(self, ghost: GhostId) -> None:
        """See `StreamHost`."""
        await self._service.viewer_left(ghost)

    def measured(self, user: UserId, ghost: GhostId, link: ClientLink) -> None:
        """See `StreamHost`."""
        self._service.link_measured(user, ghost, link)

    def revoke(self, session: bytes) -> None:
        """See `StreamHost`."""
        self._tickets.revoke(session)

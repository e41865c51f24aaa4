"""One-use tickets for the stream: short-lived, bound to one user, one ghost, one generation and one web session."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from ghostdesk.kernel.ids import GhostId, UserId


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket stands for. `session` is the digest of the web session that asked for it."""

    user: UserId
    ghost: GhostId
    generation: int
    session: bytes
    expires_s: float


class TicketOffice:
    """Gives out tickets and takes each back once. Kept in memory, as digests: a restart voids them all.

    Args:
        life_s: seconds that a ticket is good for.
        per_user: how many unused ones a user may hold; the oldest goes first.
    """

    def __init__(self, life_s: float, per_user: int = 16) -> None:
        self._life_s = life_s
        self._per_user = per_user
        self._tickets: OrderedDict[bytes, Ticket] = OrderedDict()

    def issue(self, user: UserId, ghost: GhostId, generation: int, session: bytes, now_s: float) -> str:
        """A new ticket's secret."""
        self._forget_old(now_s)
        held = [digest for digest, ticket in self._tickets.items() if ticket.user == user]
        for digest in held[: max(0, len(held) + 1 - self._per_user)]:
            del self._tickets[digest]
        secret = secrets.token_urlsafe(32)
        self._tickets[_digest(secret)] = Ticket(user, ghost, generation, session, now_s + self._life_s)
        return secret

    def take(self, secret: str, user: UserId, session: bytes, now_s: float) -> Ticket | None:
        """The ticket, once; None when it is unknown, used, too old or another's (which uses it up as well)."""
        ticket = self._tickets.pop(_digest(secret), None)
        if ticket is None or ticket.expires_s <= now_s or ticket.user != user or ticket.session != session:
            return None
        return ticket

    def revoke(self, session: bytes) -> None:
        """Void all tickets of a web session."""
        for digest in [digest for digest, ticket in self._tickets.items() if ticket.session == session]:
            del self._tickets[digest]

    def _forget_old(self, now_s: float) -> None:
        while self._tickets and next(iter(self._tickets.values())).expires_s <= now_s:
            self._tickets.popitem(last=False)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(b"ghostdesk-ticket\0" + secret.encode("utf-8", "surrogatepass")).digest()

"""Signing in: one-time links, and the browser session that a link is exchanged for. The store sees digests only."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import NotAllowed, NotFound
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import Store

NEW_LINK = "Ask your operator for a new link; on the server, `ghostdesk sign-in-link` makes one."
FRAGMENT = "sign-in"
_TOKEN_LENGTH = 43  # of secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking. `session` is the digest of their session cookie, so that one session can be told from another."""

    user: UserId
    display_name: str
    role: str
    session: bytes

    @property
    def operator(self) -> bool:
        """Whether they run the service."""
        return self.role == "operator"


class Authenticator(Protocol):
    """Turns a proof into a session, and a session into a person. Raises `NotAllowed`, or `StoreError`."""

    async def sign_in(self, proof: str) -> tuple[Identity, str]:
        """Who the proof stands for, and a new session's cookie value."""
        ...

    async def who(self, cookie: str | None) -> Identity | None:
        """Whose session the cookie is; None when it is none, expired, or the account is disabled."""
        ...

    async def sign_out(self, cookie: str) -> None:
        """End the session at once."""
        ...


def make_sign_in_link(store: Store, user: UserId, base_url: str, life_s: float, now_s: float) -> str:
    """A one-time address for `user`, good for `life_s` seconds.

    The token stands in the fragment, which browsers send to nobody: it reaches no log and no Referer. The page
    posts it to `/api/session`. Raises `NotFound` for unknown users and `NotAllowed` for disabled ones.
    """
    account = store.user(user)
    if account is None:
        raise NotFound(f"There is no user {user!r}.", "Add them first: `ghostdesk user add`.")
    if account.disabled:
        raise NotAllowed(f"The account of {user!r} is disabled.", "Enable it first.")
    token = secrets.token_urlsafe(32)
    store.put_sign_in_link(link_digest(token), user, now_s + life_s)
    store.add_audit(now_s, "operator", "make sign-in link", user, "")
    return f"{base_url.rstrip('/')}/#{FRAGMENT}={token}"


def link_digest(token: str) -> bytes:
    """What the store keeps of a link's token."""
    return hashlib.sha256(b"ghostdesk-sign-in-link\0" + token.encode("utf-8", "surrogatepass")).digest()


def session_digest(cookie: str) -> bytes:
    """What the store keeps of a session's cookie."""
    return hashlib.sha256(b"ghostdesk-web-session\0" + cookie.encode("utf-8", "surrogatepass")).digest()


class LinkAuthenticator:
    """Signs people in by one-time links.

    A session that was found good is remembered for `remember_s`, so that the launch path waits for no database; an
    account that is disabled by another process is therefore shut out within that time.

    Args:
        store: holds the digests.
        clock: tells the time.
        session_life_s: how long a session lasts from its sign-in.
        remember_s: how long an answer of the store may be reused.
    """

    def __init__(self, store: Store, clock: Clock, session_life_s: float, remember_s: float = 2.0) -> None:
        self._store = store
        self._clock = clock
        self._session_life_s = session_life_s
        self._remember_s = remember_s
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    async def sign_in(self, proof: str) -> tuple[Identity, str]:
        """Use up a link; raises `NotAllowed` when it is unknown, used or expired, or the account is disabled."""
        cookie = secrets.token_urlsafe(32)
        identity = await asyncio.to_thread(self._exchange, proof, cookie)
        return identity, cookie

    async def who(self, cookie: str | None) -> Identity | None:
        """Whose session it is."""
        if cookie is None or len(cookie) != _TOKEN_LENGTH:
            return None
        digest, now_s = session_digest(cookie), self._clock.now_s()
        known = self._known.get(digest)
        if known is not None and now_s < known[1]:
            return known[0]
        identity = await asyncio.to_thread(self._look_up, digest, now_s)
        self._known.pop(digest, None)
        if identity is not None:
            self._known[digest] = (identity, now_s + self._remember_s)
            while len(self._known) > 10_000:
                self._known.popitem(last=False)
        return identity

    async def sign_out(self, cookie: str) -> None:
        """End the session."""
        digest = session_digest(cookie)
        identity = await self.who(cookie)
        if identity is not None:
            await asyncio.to_thread(self._end, identity)
        self._known.pop(digest, None)

    def _end(self, identity: Identity) -> None:
        self._store.delete_web_sessions(identity.user, identity.session)
        self._store.add_audit(self._clock.now_s(), identity.user, "sign out", identity.user, "")

    def _exchange(self, proof: str, cookie: str) -> Identity:
        now_s = self._clock.now_s()
        user = self._store.take_sign_in_link(link_digest(proof), now_s)
        account = None if user is None else self._store.user(user)
        if account is None:
            raise NotAllowed("This sign-in link was used already, or is too old.", NEW_LINK)
        if account.disabled:
            self._store.add_audit(now_s, account.user, "sign in", account.user, "refused: the account is disabled")
            raise NotAllowed("This account is disabled.", "Ask your operator.")
        digest = session_digest(cookie)
        self._store.put_web_session(digest, account.user, now_s + self._session_life_s)
        self._store.add_audit(now_s, account.user, "sign in", account.user, "by one-time link")
        return Identity(account.user, account.display_name, account.role, digest)

    def _look_up(self, digest: bytes, now_s: float) -> Identity | None:
        user = self._store.web_session(digest, now_s)
        account = None if user is None else self._store.user(user)
        if account is None or account.disabled:
            return None
        return Identity(account.user, account.display_name, account.role, digest)

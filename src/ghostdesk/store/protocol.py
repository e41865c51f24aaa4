"""The seam between ghostdesk and its database. Methods are synchronous; callers on the event loop use a thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.store.bookings import BookingStore
from ghostdesk.store.personal import PersonalStore
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.importers.protocol import ImportCheckpoint

__all__ = ["Claim", "ImportCheckpoint", "LaunchRecord", "Store", "StoredUser"]


@dataclass(frozen=True, slots=True)
class StoredUser:
    """An account. `role` is "user" or "operator"; a disabled account can do nothing and gets no ghosts.

    `job_role` and `department` are what the operator says of the person ("teacher", "physics"), or empty; people who
    share them lend each other their patterns.
    """

    user: UserId
    display_name: str
    role: str = "user"
    disabled: bool = False
    job_role: str = ""
    department: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who owns a ghost. A ghost has at most one claim ever; `generation` fences whoever comes late."""

    ghost: GhostId
    user: UserId
    generation: int
    state: str
    since_s: float


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """One launch or sign-in as the user met it. `path` says how it was served (shown, cold, warm, built ...)."""

    time_s: float
    user: UserId
    what: str
    path: str
    duration_s: float
    reason: str = ""


class Store(PersonalStore, BookingStore, Protocol):
    """Everything that is kept. Raises `StoreError` with cause and mend when the database cannot serve."""

    # events
    def add_events(self, events: Iterable[UsageEvent]) -> int:
        """Add those that are new (see `UsageEvent.key`), all or none; returns how many were added.

        Events from before their user's deletion, and of sources that the user refused, are passed over.
        """
        ...

    def events(
        self,
        *,
        since_s: float | None = None,
        until_s: float | None = None,
        user: UserId | None = None,
        kinds: Sequence[EventKind] = (),
    ) -> Iterator[UsageEvent]:
        """Events in order of time."""
        ...

    def count_events(self) -> int:
        """How many there are."""
        ...

    def age_out(self, before_s: float) -> int:
        """Delete events and launches from before this time, in short transactions; returns how many events went."""
        ...

    # imports
    def add_import_batch(self, events: Iterable[UsageEvent], checkpoint: ImportCheckpoint) -> int:
        """Add events and move the file's checkpoint in one transaction; returns how many were new."""
        ...

    def import_checkpoint(self, digest: str) -> ImportCheckpoint | None:
        """How far this file was read before."""
        ...

    # users and sign-in
    def put_user(self, user: StoredUser) -> None:
        """Add or change an account."""
        ...

    def user(self, user: UserId) -> StoredUser | None:
        """One account."""
        ...

    def users(self) -> Sequence[StoredUser]:
        """All accounts, by name."""
        ...

    def put_sign_in_link(self, token_digest: bytes, user: UserId, expires_s: float) -> None:
        """Keep the digest of a one-time link."""
        ...

    def take_sign_in_link(self, token_digest: bytes, now_s: float) -> UserId | None:
        """Use up a link: returns its user once, None for unknown, used or expired ones. Atomic."""
        ...

    def put_web_session(self, token_digest: bytes, user: UserId, expires_s: float) -> None:
        """Keep the digest of a browser's session cookie."""
        ...

    def web_session(self, token_digest: bytes, now_s: float) -> UserId | None:
        """Whose session it is, if it has not expired and the account is not disabled."""
        ...

    def delete_web_sessions(self, user: UserId, token_digest: bytes | None = None) -> int:
        """End one session, or all of a user's."""
        ...

    # claims
    def put_claim(self, claim: Claim) -> None:
        """Write a ghost's claim; raises `Conflict` when the ghost has another owner or a later generation."""
        ...

    def claims(self) -> Sequence[Claim]:
        """All claims on ghosts that were not destroyed."""
        ...

    def delete_claim(self, ghost: GhostId) -> None:
        """Forget a destroyed ghost."""
        ...

    # what is shown
    def add_launch(self, record: LaunchRecord) -> None:
        """Remember how a launch or sign-in was served."""
        ...

    def launches(self, limit: int = 50, user: UserId | None = None) -> Sequence[LaunchRecord]:
        """The latest first."""
        ...

    def add_audit(self, time_s: float, actor: str, action: str, subject: str, reason: str) -> None:
        """Append to the audit log."""
        ...

    def check(self) -> None:
        """Raise `StoreError` when the database is damaged, with the name of a copy that was set aside."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...

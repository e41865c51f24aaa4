"""The store in SQL: every call is one transaction. What is peculiar to one database is left to its subclass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict

from sqlalchemy import Connection, delete, func, or_, select

from ghostdesk.kernel.errors import Conflict, StoreError
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.store.event_rows import EventRow, event_of, event_row
from ghostdesk.store.migrations import SqlMigrations
from ghostdesk.store.protocol import Claim, LaunchRecord, StoredUser
from ghostdesk.store.schema import audit, claims, events, imports, launches, sign_in_links, users, web_sessions
from ghostdesk.store.sql_bookings import SqlBookings
from ghostdesk.store.sql_personal import SqlPersonal
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.importers.protocol import ImportCheckpoint

_PAGE_ROWS = 10_000


class SqlStore(SqlPersonal, SqlBookings, SqlMigrations):
    """All of `Store` but opening, checking and closing, over two ways to reach the database."""

    def _taking_in(self, rows: Sequence[EventRow]) -> AbstractContextManager[tuple[Connection, Callable[[], int]]]:
        """A writing transaction, and what inserts those of the rows that are new and permitted, and counts them.

        Args:
            rows: in the order of `EVENT_COLUMNS`. See `event_rows.permitted` for which may be written.
        """
        raise NotImplementedError

    # events

    def add_events(self, new: Iterable[UsageEvent]) -> int:
        """Add those that are new and permitted, all or none; returns how many were added.

        What its user deleted or refused is passed over (see `event_rows.permitted`).
        """
        rows = [event_row(event) for event in new]  # outside the transaction, so that others wait less
        with self._taking_in(rows) as (_, insert):
            return insert()

    def events(
        self,
        *,
        since_s: float | None = None,
        until_s: float | None = None,
        user: UserId | None = None,
        kinds: Sequence[EventKind] = (),
    ) -> Iterator[UsageEvent]:
        """Events with ``since_s <= time_s < until_s`` in order of time.

        They are read page by page, each page in a short transaction of its own: a slow reader holds up nobody, and
        events that arrive meanwhile may or may not be among them.
        """
        query = select(events).order_by(events.c.time_s, events.c.id).limit(_PAGE_ROWS)
        if until_s is not None:
            query = query.where(events.c.time_s < until_s)
        if user is not None:
            query = query.where(events.c.user == user)
        if kinds:
            query = query.where(events.c.kind.in_([kind.value for kind in kinds]))
        page = query if since_s is None else query.where(events.c.time_s >= since_s)
        while rows := self._all(page):
            for row in rows:
                yield event_of(row)
            if len(rows) < _PAGE_ROWS:
                return
            time_s, row_id = rows[-1].time_s, rows[-1].id
            later = or_(events.c.time_s > time_s, events.c.id > row_id)
            page = query.where(events.c.time_s >= time_s, later)

    def age_out(self, before_s: float) -> int:
        """Delete events and launches from before this time; returns how many events went.

        Piece by piece, each in a transaction of its own, so that nobody waits for long.
        """
        gone = 0
        for table in (events, launches):
            while True:
                oldest = select(table.c.id).where(table.c.time_s < before_s).order_by(table.c.time_s).limit(_PAGE_ROWS)
                count = self._execute(delete(table).where(table.c.id.in_(oldest)))
                gone += count if table is events else 0
                if count < _PAGE_ROWS:
                    break
        if gone:
            self._forget_deleted()
        return gone

    def count_events(self) -> int:
        """How many there are."""
        with self._reading() as connection:
            return connection.scalar(select(func.count()).select_from(events)) or 0

    # imports

    def add_import_batch(self, new: Iterable[UsageEvent], checkpoint: ImportCheckpoint) -> int:
        """Add events and move the file's checkpoint in one transaction; returns how many were new.

        A checkpoint never goes back, as two imports of one file may run at once.
        """
        rows = [event_row(event) for event in new]
        values = {column.name: getattr(checkpoint, column.name) for column in imports.c}
        put = self._insert(imports).values(values)
        put = put.on_conflict_do_update(
            index_elements=[imports.c.digest],
            set_={name: put.excluded[name] for name in values},
            where=~imports.c.complete & (imports.c.lines <= put.excluded.lines),
        )
        with self._taking_in(rows) as (connection, insert):
            added = insert()
            connection.execute(put)
            return added

    def import_checkpoint(self, digest: str) -> ImportCheckpoint | None:
        """How far this file was read before."""
        row = self._first(select(imports).where(imports.c.digest == digest))
        return None if row is None else ImportCheckpoint(**row._mapping)

    # users and sign-in

    def put_user(self, user: StoredUser) -> None:
        """Add or change an account."""
        values = asdict(user)
        put = self._insert(users).values(values)
        changed = {name: put.excluded[name] for name in values if name != "user"}
        self._execute(put.on_conflict_do_update(index_elements=[users.c.user], set_=changed))

    def user(self, user: UserId) -> StoredUser | None:
        """One account."""
        row = self._first(select(users).where(users.c.user == user))
        return None if row is None else StoredUser(**row._mapping)

    def users(self) -> Sequence[StoredUser]:
        """All accounts, by name."""
        return [StoredUser(**row._mapping) for row in self._all(select(users).order_by(users.c.user))]

    def put_sign_in_link(self, token_digest: bytes, user: UserId, expires_s: float) -> None:
        """Keep the digest of a one-time link; the account must exist."""
        self._need_user(user)
        self._execute(self._insert(sign_in_links).values(token_digest=token_digest, user=user, expires_s=expires_s))

    def take_sign_in_link(self, token_digest: bytes, now_s: float) -> UserId | None:
        """Use up a link: its user once; None for unknown, used or expired ones, and for disabled accounts. Atomic."""
        enabled = select(users.c.user).where(~users.c.disabled)
        take = delete(sign_in_links).where(sign_in_links.c.token_digest == token_digest)
        with self._writing() as connection:
            for table in (sign_in_links, web_sessions):
                connection.execute(delete(table).where(table.c.expires_s <= now_s))
            taken = connection.execute(take.returning(sign_in_links.c.user)).scalar()
            return connection.scalar(enabled.where(users.c.user == taken)) if taken is not None else None

    def put_web_session(self, token_digest: bytes, user: UserId, expires_s: float) -> None:
        """Keep the digest of a browser's session cookie; the account must exist."""
        self._need_user(user)
        put = self._insert(web_sessions).values(token_digest=token_digest, user=user, expires_s=expires_s)
        self._execute(put)

    def web_session(self, token_digest: bytes, now_s: float) -> UserId | None:
        """Whose session it is, if it has not expired and the account is not disabled."""
        query = select(web_sessions.c.user).join(users, users.c.user == web_sessions.c.user)
        query = query.where(web_sessions.c.token_digest == token_digest, web_sessions.c.expires_s > now_s)
        row = self._first(query.where(~users.c.disabled))
        return None if row is None else UserId(row.user)

    def delete_web_sessions(self, user: UserId, token_digest: bytes | None = None) -> int:
        """End one session, or all of a user's; returns how many ended."""
        gone = delete(web_sessions).where(web_sessions.c.user == user)
        if token_digest is not None:
            gone = gone.where(web_sessions.c.token_digest == token_digest)
        return self._execute(gone)

    # claims

    def put_claim(self, claim: Claim) -> None:
        """Write a ghost's claim, fenced: `Conflict` for another owner, an older generation, or a destroyed ghost."""
        put = self._insert(claims).values(
            ghost=claim.ghost,
            user=claim.user,
            generation=claim.generation,
            state=claim.state,
            since_s=claim.since_s,
            destroyed=False,
        )
        newer = (claims.c.user == put.excluded.user) & (claims.c.generation <= put.excluded.generation)
        changed = {name: put.excluded[name] for name in ("generation", "state", "since_s")}
        put = put.on_conflict_do_update(
            index_elements=[claims.c.ghost], set_=changed, where=newer & ~claims.c.destroyed
        )
        with self._writing() as connection:
            if connection.execute(put, execution_options={"preserve_rowcount": True}).rowcount == 1:
                return
            row = connection.execute(select(claims).where(claims.c.ghost == claim.ghost)).one()
        if row.destroyed:
            raise Conflict(f"Ghost {claim.ghost} was destroyed.", "Take another ghost.")
        raise Conflict(
            f"Ghost {claim.ghost} belongs to {row.user} in generation {row.generation}; "
            f"{claim.user} came with generation {claim.generation}.",
            "Ask for a desktop again.",
        )

    def claims(self) -> Sequence[Claim]:
        """All claims on ghosts that were not destroyed."""
        rows = self._all(select(claims).where(~claims.c.destroyed).order_by(claims.c.ghost))
        return [Claim(GhostId(row.ghost), UserId(row.user), row.generation, row.state, row.since_s) for row in rows]

    def delete_claim(self, ghost: GhostId) -> None:
        """Forget a destroyed ghost; it can never be claimed again."""
        self._execute(claims.update().where(claims.c.ghost == ghost).values(destroyed=True))

    # what is shown

    def add_launch(self, record: LaunchRecord) -> None:
        """Remember how a launch or sign-in was served."""
        self._execute(self._insert(launches).values(**{name: getattr(record, name) for name in _LAUNCH_FIELDS}))

    def launches(self, limit: int = 50, user: UserId | None = None) -> Sequence[LaunchRecord]:
        """The latest first."""
        query = select(launches).order_by(launches.c.time_s.desc(), launches.c.id.desc()).limit(limit)
        if user is not None:
            query = query.where(launches.c.user == user)
        return [LaunchRecord(*(getattr(row, name) for name in _LAUNCH_FIELDS)) for row in self._all(query)]

    def add_audit(self, time_s: float, actor: str, action: str, subject: str, reason: str) -> None:
        """Append to the audit log."""
        values = {"time_s": time_s, "actor": actor, "action": action, "subject": subject, "reason": reason}
        self._execute(self._insert(audit).values(values))

    # helpers

    def _need_user(self, user: UserId) -> None:
        if self.user(user) is None:
            raise StoreError(f"There is no account {user!r}.", "Add the account first.")


_LAUNCH_FIELDS = ("time_s", "user", "what", "path", "duration_s", "reason")

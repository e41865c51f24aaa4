"""Events outlive a database that is away; claims let people in; conflicts do not."""

from pathlib import Path

import pytest

from ghostdesk.control.journal import Journal
from ghostdesk.kernel.errors import Conflict, StoreError
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.store.protocol import Claim
from ghostdesk.store.sqlite import SqliteStore, open_store
from ghostdesk.telemetry.events import EventKind, UsageEvent

ALICE, BOB = UserId("alice"), UserId("bob")


class AwayStore(SqliteStore):
    """A real store that can be told to be away."""

    away = False

    def add_events(self, events):  # type: ignore[no-untyped-def]
        if self.away:
            raise StoreError("The disk is full.", "Free some space.")
        return super().add_events(events)

    def put_claim(self, claim: Claim) -> None:
        if self.away:
            raise StoreError("The disk is full.", "Free some space.")
        super().put_claim(claim)


async def test_events_wait_while_the_store_is_away_and_are_written_after(tmp_path: Path) -> None:
    store = AwayStore(tmp_path / "a.db")
    journal = Journal(store)
    store.away = True
    journal.event(UsageEvent(1.0, EventKind.SIGN_IN, ALICE))
    await journal.flush()
    assert "disk is full" in journal.problem
    await journal.claim(Claim(GhostId("g1"), ALICE, 1, "active", 1.0))
    store.away = False
    await journal.flush()
    assert (store.count_events(), journal.problem) == (1, "")
    await journal.close()
    store.close()


async def test_a_conflict_is_raised(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a.db", now_s=0.0, repair=False)
    journal = Journal(store)
    await journal.claim(Claim(GhostId("g1"), ALICE, 1, "active", 1.0))
    with pytest.raises(Conflict):
        await journal.claim(Claim(GhostId("g1"), BOB, 2, "active", 2.0))
    await journal.close()
    store.close()

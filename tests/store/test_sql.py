"""Every call of the store, on a real database."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.errors import Conflict, StoreError
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.store.event_rows import stored_key
from ghostdesk.store.protocol import Claim, ImportCheckpoint, LaunchRecord, Store, StoredUser
from ghostdesk.store.sql import SqlStore
from ghostdesk.telemetry.events import EventKind, UsageEvent

ADA, BOB = UserId("ada"), UserId("bob")


def event(time_s: float, kind: EventKind = EventKind.APP_FOCUS, user: UserId | None = ADA) -> UsageEvent:
    return UsageEvent(time_s, kind, user, AppId("gimp"), "pc1", 2.5, "word", "csv")


def test_it_satisfies_the_seam(store: SqlStore) -> None:
    seam: Store = store
    assert seam.count_events() == 0


# events


def test_events_come_back_whole_in_order_of_time(store: SqlStore) -> None:
    bare = UsageEvent(2.0, EventKind.SIGN_IN)
    assert store.add_events(e for e in (event(3.0), bare, event(1.0))) == 3
    assert list(store.events()) == [event(1.0), bare, event(3.0)]
    assert store.count_events() == 3


def test_known_events_are_passed_over_and_new_ones_counted(store: SqlStore) -> None:
    assert store.add_events([event(1.0), event(1.0), event(2.0)]) == 2
    assert store.add_events([event(2.0), event(3.0)]) == 1
    assert store.add_events([]) == 0
    assert store.count_events() == 3


def test_filters(store: SqlStore) -> None:
    kinds = (EventKind.APP_FOCUS, EventKind.CPU)
    everything = [event(t, kind, user) for t in (1.0, 2.0, 3.0) for kind in kinds for user in (ADA, BOB, None)]
    store.add_events(everything)
    assert [e.time_s for e in store.events(since_s=2.0, until_s=3.0)] == [2.0] * 6
    assert all(e.user == ADA for e in store.events(user=ADA))
    assert len(list(store.events(user=ADA, kinds=[EventKind.CPU], since_s=2.0))) == 2
    assert set(store.events(kinds=kinds)) == set(everything)


def test_many_events_at_one_moment_are_paged_whole(store: SqlStore) -> None:
    many = [UsageEvent(float(n // 12_000), EventKind.CPU, ADA, value=float(n)) for n in range(25_000)]
    store.add_events(many)
    assert [e.value for e in store.events()] == [e.value for e in many]
    assert len(list(store.events(user=ADA, since_s=1.0))) == 13_000


def test_a_half_read_history_holds_up_nobody(store: SqlStore) -> None:
    store.add_events(event(float(t)) for t in range(20_000))
    reading = store.events()
    next(reading)
    store.add_events([event(1e6)])
    store.delete_personal_data(ADA, None, now_s=2e6)
    assert store.count_events() == 0


def test_all_or_none(store: SqlStore) -> None:
    def failing() -> Iterator[UsageEvent]:
        yield event(1.0)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        store.add_events(failing())
    assert store.count_events() == 0


def test_deleting_a_user_leaves_no_trace_of_theirs_in_the_files(
    store: SqlStore, bytes_of: Callable[[SqlStore], bytes]
) -> None:
    store.add_events([UsageEvent(1.0, EventKind.APP_LAUNCH, ADA, AppId("telltale-app")), event(1.0, user=BOB)])
    store.add_launch(LaunchRecord(1.0, ADA, "telltale-app", "shown", 0.01))
    store.add_launch(LaunchRecord(1.0, BOB, "gimp", "shown", 0.01))
    assert store.delete_personal_data(ADA, None, now_s=2.0) == 1
    assert [e.user for e in store.events()] == [BOB]
    assert [record.user for record in store.launches()] == [BOB]
    assert b"telltale-app" not in bytes_of(store)


@given(st.lists(st.floats(-1e12, 1e13), min_size=1, max_size=20))
@settings(max_examples=50)
def test_stored_keys_are_equal_exactly_when_keys_are(times_s: list[float]) -> None:
    events = [event(t) for t in times_s] + [event(t + 0.0004) for t in times_s]
    keys = {e.key() for e in events}
    assert len({stored_key(e) for e in events}) == len(keys)
    assert all(len(stored_key(e)) == 21 for e in events)


# imports


def checkpoint(lines: int, complete: bool = False) -> ImportCheckpoint:
    return ImportCheckpoint("abc", "log.csv", lines, lines - 1, 1, complete)


def test_a_batch_and_its_checkpoint_are_one(store: SqlStore) -> None:
    assert store.import_checkpoint("abc") is None
    assert store.add_import_batch([event(1.0)], checkpoint(10)) == 1
    assert store.import_checkpoint("abc") == checkpoint(10)
    assert store.add_import_batch([event(1.0), event(2.0)], checkpoint(20)) == 1
    assert store.import_checkpoint("abc") == checkpoint(20)


def test_a_checkpoint_never_goes_back(store: SqlStore) -> None:
    store.add_import_batch([], checkpoint(20))
    store.add_import_batch([], checkpoint(10))
    assert store.import_checkpoint("abc") == checkpoint(20)
    store.add_import_batch([], checkpoint(20, complete=True))
    store.add_import_batch([], checkpoint(30))
    assert store.import_checkpoint("abc") == checkpoint(20, complete=True)


# users and sign-in


def test_accounts(store: SqlStore) -> None:
    assert store.user(ADA) is None
    store.put_user(StoredUser(BOB, "Bob"))
    store.put_user(StoredUser(ADA, "Ada", "operator"))
    store.put_user(StoredUser(BOB, "Bob B.", disabled=True))
    assert store.users() == [StoredUser(ADA, "Ada", "operator"), StoredUser(BOB, "Bob B.", disabled=True)]
    assert store.user(ADA) == StoredUser(ADA, "Ada", "operator")


def test_a_link_works_once_and_not_late(store: SqlStore) -> None:
    store.put_user(StoredUser(ADA, "Ada"))
    store.put_sign_in_link(b"one", ADA, expires_s=100.0)
    store.put_sign_in_link(b"late", ADA, expires_s=10.0)
    assert store.take_sign_in_link(b"late", now_s=10.0) is None
    assert store.take_sign_in_link(b"one", now_s=50.0) == ADA
    assert store.take_sign_in_link(b"one", now_s=50.0) is None
    assert store.take_sign_in_link(b"unknown", now_s=50.0) is None


def test_of_many_who_take_one_link_one_gets_it(store: SqlStore) -> None:
    store.put_user(StoredUser(ADA, "Ada"))
    store.put_sign_in_link(b"one", ADA, expires_s=100.0)
    start = threading.Barrier(8)

    def take(_: int) -> UserId | None:
        start.wait()
        return store.take_sign_in_link(b"one", now_s=50.0)

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(8)))
    assert taken.count(ADA) == 1
    assert taken.count(None) == 7


def test_sessions_end_by_time_by_hand_and_with_the_account(store: SqlStore) -> None:
    store.put_user(StoredUser(ADA, "Ada"))
    for digest in (b"1", b"2", b"3"):
        store.put_web_session(digest, ADA, expires_s=100.0)
    assert store.web_session(b"1", now_s=99.0) == ADA
    assert store.web_session(b"1", now_s=100.0) is None
    assert store.web_session(b"9", now_s=0.0) is None
    assert store.delete_web_sessions(BOB, b"1") == 0
    assert store.delete_web_sessions(ADA, b"1") == 1
    assert store.web_session(b"1", now_s=0.0) is None
    store.put_user(StoredUser(ADA, "Ada", disabled=True))
    assert store.web_session(b"2", now_s=0.0) is None
    assert store.delete_web_sessions(ADA) == 2


def test_a_disabled_account_cannot_use_its_link(store: SqlStore) -> None:
    store.put_user(StoredUser(ADA, "Ada"))
    store.put_sign_in_link(b"one", ADA, expires_s=100.0)
    store.put_user(StoredUser(ADA, "Ada", disabled=True))
    assert store.take_sign_in_link(b"one", now_s=1.0) is None


def test_links_and_sessions_need_an_account(store: SqlStore) -> None:
    with pytest.raises(StoreError, match="no account 'ada'"):
        store.put_sign_in_link(b"one", ADA, 1.0)
    with pytest.raises(StoreError, match="no account 'ada'"):
        store.put_web_session(b"one", ADA, 1.0)


# claims

_fresh = itertools.count()
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from([ADA, BOB]), st.integers(0, 3)), max_size=12
)


@given(operations=OPERATIONS)
@settings(max_examples=40, deadline=None)
def test_claims_are_fenced(operations: list[tuple[str, UserId, int]], shared_store: SqlStore) -> None:
    store, ghost_id = shared_store, GhostId(f"g{next(_fresh)}")
    claim: Claim | None = None
    gone = False
    for time_s, (operation, user, generation) in enumerate(operations):
        if operation == "delete":
            store.delete_claim(ghost_id)
            gone, claim = gone or claim is not None, None
            continue
        wanted = Claim(ghost_id, user, generation, "active", float(time_s))
        if gone or (claim and (claim.user != user or claim.generation > generation)):
            with pytest.raises(Conflict):
                store.put_claim(wanted)
        else:
            store.put_claim(wanted)
            claim = wanted
        assert [c for c in store.claims() if c.ghost == ghost_id] == ([claim] if claim else [])


def test_of_two_owners_at_once_one_wins(open_again: Callable[[], SqlStore]) -> None:
    stores = [open_again() for _ in range(2)]  # as two processes would
    start = threading.Barrier(8)

    def claim(number: int) -> bool:
        start.wait()
        try:
            stores[number % 2].put_claim(Claim(GhostId("g"), UserId(f"u{number}"), 1, "active", 0.0))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(8)))
    assert won.count(True) == 1
    (kept,) = stores[0].claims()
    assert kept.user == f"u{won.index(True)}"
    for store in stores:
        store.close()


def test_what_is_too_old_is_let_go_and_nothing_else(store: SqlStore) -> None:
    store.add_events([event(float(time_s)) for time_s in range(20)])
    store.add_launch(LaunchRecord(3.0, ADA, "gimp", "shown", 0.01))
    store.add_launch(LaunchRecord(15.0, ADA, "gimp", "shown", 0.01))
    assert store.age_out(10.0) == 10
    assert [e.time_s for e in store.events()] == [float(time_s) for time_s in range(10, 20)]
    assert [record.time_s for record in store.launches()] == [15.0]
    assert store.age_out(10.0) == 0


# what is shown


def test_launches_come_latest_first(store: SqlStore) -> None:
    records = [LaunchRecord(float(t), user, "gimp", "shown", 0.01, "why") for t in (1, 2, 3) for user in (ADA, BOB)]
    for record in records:
        store.add_launch(record)
    assert store.launches() == records[::-1]
    assert store.launches(limit=2, user=ADA) == [records[4], records[2]]


def test_the_audit_log_grows(store: SqlStore) -> None:
    store.add_audit(1.0, "ada", "user-added", "bob", "asked")
    store.add_audit(2.0, "ada", "user-disabled", "bob", "left")
    with store._reading() as connection:
        rows = connection.exec_driver_sql("SELECT time_s, actor, action, subject, reason FROM audit").all()
    assert [tuple(row) for row in rows] == [
        (1.0, "ada", "user-added", "bob", "asked"),
        (2.0, "ada", "user-disabled", "bob", "left"),
    ]


def test_threads_that_add_the_same_events_add_them_once(store: SqlStore) -> None:
    events = [event(float(t)) for t in range(2000)]
    with ThreadPoolExecutor(6) as pool:
        added = list(pool.map(lambda start: store.add_events(events[start:] + events[:start]), range(0, 1800, 300)))
    assert sum(added) == store.count_events() == 2000

"""The SQLite file: damage, a full disk, locks, rights, and several users at once."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.store import sqlite
from ghostdesk.store.protocol import Claim, StoredUser
from ghostdesk.store.sqlite import DamagedDatabase, SqliteStore, find_damage, open_store
from ghostdesk.telemetry.events import EventKind, UsageEvent

NOW_S = 1_700_000_000.0
ADA = UserId("ada")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database with some hundred pages."""
    path = tmp_path_factory.mktemp("sound") / "state.db"
    store = open_store(path, now_s=NOW_S)
    store.put_user(StoredUser(ADA, "Ada"))
    store.add_events(some_events(3000))
    store.close()
    return path


def some_events(count: int) -> Iterator[UsageEvent]:
    return (UsageEvent(float(n), EventKind.CPU, ADA, value=n / 7) for n in range(count))


def files(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def test_it_is_for_its_owner_alone_and_in_write_ahead_mode(path: Path) -> None:
    store = open_store(path.parent / "new" / "state.db", now_s=NOW_S)
    store.add_events(some_events(1))
    for entry in store.path.parent.iterdir():
        assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    with store._reading() as connection:
        for pragma, value in (("journal_mode", "wal"), ("foreign_keys", 1), ("busy_timeout", 15_000)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    store.close()
    assert [entry.name for entry in store.path.parent.iterdir()] == ["state.db"]


def test_what_was_written_is_there_after_opening_again(path: Path) -> None:
    for round_ in range(3):
        store = open_store(path, now_s=NOW_S)
        store.put_claim(Claim(GhostId(f"g{round_}"), ADA, 1, "active", NOW_S))
        assert len(store.claims()) == round_ + 1
        store.check()
        store.close()
        store.close()


@pytest.mark.parametrize("harm", ["rubbish", "cut", "page", "header"])
def test_a_damaged_file_is_left_alone_or_set_aside(harm: str, sound: Path, path: Path) -> None:
    data = bytearray(sound.read_bytes())
    if harm == "rubbish":
        data = bytearray(os.urandom(8192))
    elif harm == "cut":
        data = data[: len(data) // 2]
    elif harm == "page":
        data[8 * 4096 : 9 * 4096] = b"\xa5" * 4096
    else:
        data[:16] = b"something else!!"
    path.write_bytes(data)
    with pytest.raises(DamagedDatabase):
        open_store(path, now_s=NOW_S)
    left = files(path.parent)
    assert left.pop("state.db") == bytes(data)
    assert left.pop("state.db-wal", b"") == b""  # SQLite's own work files, with nothing in them
    assert left.keys() <= {"state.db-shm"}
    path.with_name("state.db-wal").write_bytes(b"left over")
    before = files(path.parent)

    with pytest.raises(DamagedDatabase, match="damaged") as caught:
        open_store(path, now_s=NOW_S)
    assert "sets the file aside" in caught.value.mend
    assert all(files(path.parent)[name] == before[name] for name in ("state.db", "state.db-wal"))

    store = open_store(path, now_s=NOW_S, repair=True)
    aside = path.with_name("state.db.corrupt-20231114T221320Z")
    assert store.set_aside == aside
    assert aside.read_bytes() == before["state.db"]
    assert Path(f"{aside}-wal").read_bytes() == b"left over"
    store.add_events(some_events(3))
    store.close()

    again = open_store(path, now_s=NOW_S, repair=True)
    assert again.set_aside is None
    assert again.count_events() == 3
    again.close()


def test_nothing_set_aside_is_ever_overwritten(path: Path) -> None:
    names = set()
    for text in (b"rubbish one " * 99, b"rubbish two " * 99, b"rubbish three " * 99):
        path.write_bytes(text)
        store = open_store(path, now_s=NOW_S, repair=True)
        store.close()
        assert store.set_aside is not None
        assert store.set_aside.read_bytes() == text
        names.add(store.set_aside.name)
    assert len(names) == 3


@given(place=st.floats(0, 1), harm=st.binary(min_size=1, max_size=600), cut=st.none() | st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_no_harm_raises_anything_but_a_store_error(
    place: float, harm: bytes, cut: float | None, sound: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("harmed") / "state.db"
    data = bytearray(sound.read_bytes())
    start = int(place * len(data))
    data[start : start + len(harm)] = harm
    path.write_bytes(data if cut is None else data[: int(cut * len(data))])
    try:
        store = open_store(path, now_s=NOW_S, repair=True)
    except StoreError as error:
        assert error.mend  # the harm made it look like another program's, or newer
        return
    try:
        assert sum(1 for _ in store.events()) <= 3000
        store.add_events(some_events(5))
    except StoreError as error:  # a harmed value that no check of the file can tell from a sound one
        assert error.mend
    store.close()


def test_damage_that_comes_later_is_told(sound: Path, path: Path) -> None:
    path.write_bytes(sound.read_bytes())
    store = SqliteStore(path)
    store.close()
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xa5" * 80 * 4096)
    with pytest.raises(DamagedDatabase, match="damaged"):
        store.check()
    with pytest.raises(DamagedDatabase):
        list(store.events())
    store.close()


def test_a_large_file_is_read_whole_only_after_an_unclean_end(
    sound: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(sound.read_bytes())
    data[40 * 4096 : 41 * 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    assert find_damage(path) is not None
    monkeypatch.setattr(sqlite, "_FULL_CHECK_BYTES", 0)
    assert find_damage(path) is None
    path.with_name("state.db-wal").write_bytes(b"left over")
    assert find_damage(path) is not None


def test_another_programs_database_is_refused_untouched(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        open_store(path, now_s=NOW_S, repair=True)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]
    other.close()
    assert len(path.read_bytes()) == len(before)


def test_a_full_disk_is_told_and_nothing_is_half_written(path: Path) -> None:
    store = open_store(path, now_s=NOW_S)
    store.add_events(some_events(10))
    with store._writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 3}")
    with pytest.raises(StoreError, match="disk is full") as caught:
        store.add_events(some_events(5000))
    assert "Free some space" in caught.value.mend
    assert store.count_events() == 10
    store.check()
    store.put_user(StoredUser(ADA, "Ada"))  # small things still go in
    store.close()


def test_a_database_that_stays_locked_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_S", 0.05)
    store = open_store(path, now_s=NOW_S)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another program"):
        store.put_user(StoredUser(ADA, "Ada"))
    assert store.users() == []  # readers do not wait for a writer
    other.execute("ROLLBACK")
    other.close()
    store.put_user(StoredUser(ADA, "Ada"))
    store.close()


def test_places_where_no_database_can_be(path: Path) -> None:
    path.write_bytes(b"")
    for bad in (path / "state.db", Path("/proc/state.db"), path.parent):
        with pytest.raises(StoreError) as caught:
            open_store(bad, now_s=NOW_S)
        assert caught.value.mend
    open_store(path, now_s=NOW_S).close()  # an empty file is a new database


WRITER = """
import sys
from pathlib import Path
from ghostdesk.store.sqlite import open_store
from ghostdesk.telemetry.events import EventKind, UsageEvent
store = open_store(Path(sys.argv[1]), now_s=0.0)
for batch in range(20):
    store.add_events(UsageEvent(float(n), EventKind.CPU, value=float(batch)) for n in range(500))
"""


def test_an_import_in_another_process_and_claims_go_on_together(path: Path) -> None:
    store = open_store(path, now_s=NOW_S)
    with subprocess.Popen([sys.executable, "-c", WRITER, path]) as process:
        for number in range(100):
            store.put_claim(Claim(GhostId(f"g{number}"), ADA, 1, "active", NOW_S))
    assert process.returncode == 0
    assert (store.count_events(), len(store.claims())) == (10_000, 100)
    store.close()

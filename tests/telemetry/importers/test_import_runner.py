"""Imports end to end, into a real database: idempotent, resumable after kill -9, and clear about what is bad."""

import gzip
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ImportFileError, StoreError
from ghostdesk.store.sqlite import SqliteStore, open_store
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.importers.protocol import ImportCheckpoint
from ghostdesk.telemetry.importers.runner import MAX_BAD_LINES_KEPT, run_import
from ghostdesk.telemetry.importers.usage_csv import UsageCsvImporter

SHARED = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = open_store(tmp_path / "state.db", now_s=0.0)
    yield opened
    opened.close()


def write_log(path: Path, lines: int, bad_every: int = 97) -> Path:
    rng = random.Random(lines)
    with path.open("w") as out:
        out.write("user,time,event,app\n")
        for number in range(lines):
            if number % bad_every == bad_every - 1:
                out.write("ada,never,app-launch,gimp\n")
            else:
                out.write(f"u{rng.randrange(9)},{1_700_000_000 + number},app-focus,app{rng.randrange(20)}\n")
    return path


def test_the_same_file_twice_adds_nothing(store: SqliteStore, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", 1000)
    first = run_import(log, store, batch=64)
    assert (first.new_events, first.duplicate_events, first.bad_total, first.lines) == (990, 0, 10, 1001)
    assert first.importer == "csv"
    assert first.bad_lines[0].line == 98
    again = run_import(log, store)
    assert (again.new_events, again.duplicate_events, again.bad_total) == (0, 990, 10)
    assert again.already_complete
    packed = tmp_path / "other-name.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    other = run_import(packed, store)  # other bytes, the same events
    assert (other.new_events, other.duplicate_events, other.already_complete) == (0, 990, False)
    assert store.count_events() == 990


def test_a_longer_file_adds_what_is_new(store: SqliteStore, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,time,app\nada,1700000000,gimp\n")
    run_import(log, store)
    with log.open("a") as out:
        out.write("ada,1700000001,gimp\n")
    report = run_import(log, store)
    assert (report.new_events, report.duplicate_events) == (1, 1)


def test_another_zone_or_user_is_another_import(store: SqliteStore, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("time,app\n2023-11-14 22:13:20,gimp\n")
    for user, zone in (("ada", "UTC"), ("ada", "Europe/Berlin"), ("bob", "UTC")):
        report = run_import(log, store, user=user, timezone=zone)
        assert report.new_events == 1
    times = [event.time_s for event in store.events()]
    assert times == [1_699_996_400.0, 1_700_000_000.0, 1_700_000_000.0]


def test_progress_ends_at_the_whole_file(store: SqliteStore, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", 5000)
    seen: list[tuple[int, int, int, int]] = []
    run_import(log, store, batch=500, progress=lambda *now: seen.append(now))
    assert len(seen) > 5
    assert seen == sorted(seen)
    size = log.stat().st_size
    assert seen[-1] == (size, size, 4949, 51)


def test_only_bad_lines_still_show_progress_and_few_are_kept(store: SqliteStore, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,time,app\n" + "x\n" * 3000)
    seen: list[int] = []
    report = run_import(log, store, batch=100, progress=lambda _done, _all, _events, bad: seen.append(bad))
    assert report.bad_total == 3000
    assert len(report.bad_lines) == MAX_BAD_LINES_KEPT
    assert len(seen) >= 5


def test_a_long_reason_is_cut(store: SqliteStore, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(f"user,time,app\n{'ü' * 60_000},1700000000,gimp\n")
    assert len(run_import(log, store).bad_lines[0].reason) <= 200


def test_a_file_cut_short_keeps_its_good_lines_and_is_not_complete(store: SqliteStore, tmp_path: Path) -> None:
    whole = gzip.compress(write_log(tmp_path / "log.csv", 20_000).read_bytes())
    log = tmp_path / "log.gz"
    log.write_bytes(whole[: len(whole) // 2])
    report = run_import(log, store)
    assert report.broken is not None
    assert report.new_events > 5000
    again = run_import(log, store)
    assert again.broken is not None
    assert (again.new_events, again.resumed_after_line) == (0, report.lines)
    log.write_bytes(whole)
    healed = run_import(log, store)
    assert healed.broken is None
    assert healed.new_events + healed.duplicate_events == store.count_events() == 20_000 - 206


def test_a_header_alone_is_an_empty_import(store: SqliteStore, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,time,app\n")
    report = run_import(log, store)
    assert (report.new_events, report.lines, report.bad_total, report.broken) == (0, 0, 0, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"timezone": "../etc/passwd"}, "time zone"),
        ({"timezone": "Europe"}, "time zone"),
        ({"timezone": ""}, "time zone"),
        ({"user": "A B"}, "no user id"),
        ({"users": {"PC": "A B"}}, "no user id"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], words: str, store: SqliteStore, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", 3)
    with pytest.raises(ImportFileError, match=words):
        run_import(log, store, **options)  # type: ignore[arg-type]


@given(data=st.binary(max_size=300), header=st.sampled_from([b"", b"user,time,app\n", b'{"buckets": {', b"\x1f\x8b"]))
@settings(max_examples=60)
def test_rubbish_is_an_import_error_or_a_report(
    data: bytes, header: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "rubbish"
    path.write_bytes(header + data)
    try:
        report = run_import(path, MemorySink())
    except ImportFileError as error:
        assert error.mend
    else:
        assert report.new_events >= 0


class MemorySink:
    """An `ImportSink` in memory that can fail at a chosen batch."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.events: dict[bytes, UsageEvent] = {}
        self.checkpoints: dict[str, ImportCheckpoint] = {}
        self.fail_at = fail_at
        self.calls = 0

    def add_import_batch(self, events: list[UsageEvent], checkpoint: ImportCheckpoint) -> int:  # type: ignore[override]
        self.calls += 1
        if self.calls == self.fail_at:
            self.fail_at = None
            raise StoreError("The disk is full.", "Free some space.")
        before = len(self.events)
        self.events.update((event.key(), event) for event in events)
        self.checkpoints[checkpoint.digest] = checkpoint
        return len(self.events) - before

    def import_checkpoint(self, digest: str) -> ImportCheckpoint | None:
        return self.checkpoints.get(digest)


@given(fail_at=st.integers(1, 12), batch=st.integers(1, 60), lines=st.integers(0, 120), bad_every=st.integers(1, 9))
@settings(max_examples=60)
def test_an_import_that_fails_anywhere_and_is_run_again_gives_the_same(
    fail_at: int, batch: int, lines: int, bad_every: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = write_log(tmp_path_factory.getbasetemp() / "log.csv", lines, bad_every)
    whole, broken = MemorySink(), MemorySink(fail_at)
    expected = run_import(log, whole, UsageCsvImporter(), batch=batch)
    try:
        run_import(log, broken, UsageCsvImporter(), batch=batch)
    except StoreError:
        report = run_import(log, broken, UsageCsvImporter(), batch=batch)
        assert (report.bad_total, report.lines) == (expected.bad_total, expected.lines)
        assert report.bad_lines == expected.bad_lines
    assert broken.events == whole.events
    assert broken.checkpoints == whole.checkpoints


KILLED = """
import sys
from pathlib import Path
from ghostdesk.store.sqlite import open_store
from ghostdesk.telemetry.importers.runner import run_import
store = open_store(Path(sys.argv[2]), now_s=0.0)
run_import(Path(sys.argv[1]), store, batch=100, progress=lambda *now: print(now[2], flush=True))
"""


@pytest.mark.parametrize("kill_after", [1, 7])
def test_killed_in_the_middle_and_run_again_gives_the_same(kill_after: int, store: SqliteStore, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", 20_000)
    other = tmp_path / "killed.db"
    process = subprocess.Popen([sys.executable, "-c", KILLED, log, other], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        for _ in range(kill_after):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    killed = open_store(other, now_s=0.0)
    survived = killed.count_events()
    assert 100 * kill_after <= survived < 19_000
    report = run_import(log, killed, batch=100)
    assert report.resumed_after_line >= 100 * kill_after
    assert report.new_events == 19_794 - survived
    assert report.duplicate_events == 0
    run_import(log, store)
    assert list(killed.events()) == list(store.events())
    assert run_import(log, killed) == run_import(log, store)
    killed.close()


def test_a_full_disk_stops_the_import_and_the_next_run_goes_on(store: SqliteStore, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", 5000)
    with store._writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 60}")
    with pytest.raises(StoreError, match="disk is full") as caught:
        run_import(log, store, batch=200)
    assert caught.value.mend
    kept = store.count_events()
    assert kept % 200 == 0
    store.check()
    with store._writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    report = run_import(log, store, batch=200)
    assert report.new_events == 5000 - 51 - kept


REAL = {
    "next-app/windows-pcs.csv.xz": ("csv", 16_983),
    "user-activity/activity.csv.xz": ("csv", 18_088),
}


@pytest.mark.parametrize("name", REAL)
def test_real_logs_have_no_bad_line(name: str, store: SqliteStore) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no real data at {path}")
    report = run_import(path, store)
    assert (report.importer, report.new_events + report.duplicate_events) == REAL[name]
    assert (report.bad_total, report.broken) == (0, None)
    assert store.count_events() == report.new_events

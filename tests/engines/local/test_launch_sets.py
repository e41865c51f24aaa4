"""Launches really recorded, lists really loaded, and hostile entries left alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from ghostdesk.engines.local import launch_sets_touched, page_loader, pagecache
from ghostdesk.engines.local.beneath import NotOpened
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.launch_sets import FRESH_FOR_S, SETTLES_S, LaunchSets
from ghostdesk.engines.local.launch_sets_recorder import LaunchRecorder, can_record
from ghostdesk.engines.local.page_loader import Job, Loaded, Order
from ghostdesk.engines.local.residency import resident_bytes, resident_ranges
from ghostdesk.engines.local.safe_open import open_plain
from ghostdesk.ghosts.commands import Build
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.kernel.resources import MIB, Resources
from ghostdesk.prefetch.launch_set import LaunchSet, Recording, TouchedFile
from ghostdesk.prefetch.plan import LoadLimits, PrefetchWish
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sqlite import open_store

APP = AppId("org.xfce.mousepad")
LOOK = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(*c.execute('select 1 from users')); c.close()"
PAGE = os.sysconf("SC_PAGE_SIZE")
ROOMY = lambda: (1e12, 0.0)  # noqa: E731 - room in bytes, and pressure


@pytest.fixture
def disk_dir() -> Iterator[Path]:
    """A folder on a disk, so that the page cache can be emptied file by file."""
    folder = Path("/var/tmp") / f"gd-pages-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def ghostly(root: None) -> Iterator[int]:
    """A process that has its own mounts of the host's folders, as a ghost's processes have."""
    if problem := can_record():
        pytest.skip(problem)
    script = "for one in /usr /etc; do mount --bind $one $one; done; echo; exec sleep 300"
    with subprocess.Popen(["unshare", "--mount", "sh", "-ec", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        yield process.pid
        process.kill()


def cold_file(path: Path, size: int = 4 * MIB) -> TouchedFile:
    """A file of which nothing is in memory, and its whole range."""
    path.write_bytes(os.urandom(size))
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if resident_bytes(stream.fileno(), 0, size):
            pytest.skip("this file system does not drop pages when asked")
    status = path.stat()
    return TouchedFile(str(path), size, status.st_mtime_ns, ((0, size),))


def entry(file: TouchedFile, *ranges: tuple[int, int]) -> tuple[str, int, int, tuple[tuple[int, int], ...]]:
    return (file.path, file.size_bytes, file.mtime_ns, ranges or file.ranges)


def in_memory(file: TouchedFile) -> list[tuple[int, int]]:
    descriptor = os.open(file.path, os.O_RDONLY)
    try:
        return resident_ranges(descriptor, file.size_bytes)
    finally:
        os.close(descriptor)


def recording(at_s: float = 1.0, ghost: str = "g1", *files: TouchedFile) -> Recording:
    touched = files or (TouchedFile("/usr/bin/env", 10, 1, ((0, 10),)),)
    return Recording(APP, ghost, at_s, 1.0, 0, touched)


# residency and loading


def test_exactly_the_wanted_ranges_come_into_memory(root: None, disk_dir: Path) -> None:
    file = cold_file(disk_dir / "data", 16 * MIB)
    done = Job(Order([entry(file, (MIB, 2 * MIB), (10 * MIB, 10 * MIB + PAGE))], budget_bytes=1e9), ROOMY).run()
    assert (done.read_bytes, done.files, done.skipped, done.stopped) == (MIB + PAGE, 1, {}, "")
    found = in_memory(file)
    assert found[0][0] <= MIB and found[0][1] >= 2 * MIB
    assert any(a <= 10 * MIB < b for a, b in found)
    assert sum(b - a for a, b in found) < 8 * MIB, "the kernel reads ahead a little, not the whole file"
    again = Job(Order([entry(file, (MIB, 2 * MIB))], budget_bytes=1e9), ROOMY).run()
    assert (again.read_bytes, again.resident_bytes, again.files) == (0, MIB, 0), "what is there is not read again"


def test_both_ways_of_asking_what_is_resident_agree(
    root: None, disk_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cold_file(disk_dir / "data")
    with Path(file.path).open("rb") as stream:
        stream.read()  # whole: of what is still being read one way says that it is there, the other that it is not
        os.posix_fadvise(stream.fileno(), MIB, MIB, os.POSIX_FADV_DONTNEED)
        quick = resident_bytes(stream.fileno(), 0, file.size_bytes)
        monkeypatch.setattr("ghostdesk.engines.local.residency._no_cachestat", True)
        assert quick == resident_bytes(stream.fileno(), 0, file.size_bytes) >= MIB
        assert quick == sum(b - a for a, b in resident_ranges(stream.fileno(), file.size_bytes))
        assert resident_bytes(stream.fileno(), 5, 5) == 0
    assert pagecache.resident_share([file]) == pytest.approx(quick / file.size_bytes)
    assert pagecache.resident_share([]) == pagecache.resident_share([TouchedFile("/gone", 1, 1, ((0, 1),))]) == 1.0


def test_hostile_entries_are_left_alone_and_counted(root: None, disk_dir: Path) -> None:
    good = cold_file(disk_dir / "good")
    changed = cold_file(disk_dir / "changed")
    (disk_dir / "link").symlink_to(disk_dir / "good")
    (disk_dir / "way").symlink_to(disk_dir)
    os.mkfifo(disk_dir / "fifo")
    os.mknod(disk_dir / "device", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero never ends
    hostile = ["/gone", *(str(disk_dir / name) for name in ("link", "way/good", "fifo", "device", ".")), "relative"]
    order = Order(
        [*((path, 10, 1, [(0, 1 << 40)]) for path in hostile), (changed.path, changed.size_bytes, 1, changed.ranges),
         entry(good)],
        folders=["/gone", str(disk_dir / "fifo"), str(disk_dir)],
        links=["/gone", str(disk_dir / "link")],
        budget_bytes=1e9,
    )  # fmt: skip
    assert pagecache.prefetch(hostile) == (0, 0), "a template's list is no more trusted"
    done = Job(order, ROOMY).run()
    assert (done.read_bytes, done.files) == (good.size_bytes, 1)
    reasons = {"deleted", "link", "not-a-file", "changed", "bad-name"}
    assert set(done.skipped) <= reasons and sum(done.skipped.values()) == len(hostile) + 1 + 2
    assert done.skipped["changed"] == 1 and done.skipped["link"] == 2


def test_nothing_is_read_beyond_the_budget_or_without_room(root: None, disk_dir: Path) -> None:
    files = [cold_file(disk_dir / f"data{n}") for n in range(3)]
    done = Job(Order([entry(f) for f in files], budget_bytes=5 * MIB), ROOMY).run(threads=1)
    assert done.stopped == "budget" and 4 * MIB <= done.read_bytes <= 5 * MIB
    full = Job(Order([entry(files[2])], budget_bytes=1e9), lambda: (0.0, 0.0)).run()
    assert (full.read_bytes, full.stopped) == (0, "room")
    pressed = Job(Order([entry(files[2])], budget_bytes=1e9, most_pressure=0.2), lambda: (1e12, 0.3)).run()
    assert (pressed.read_bytes, pressed.stopped) == (0, "pressure")
    room, pressure = page_loader.look_at_host(0.0)
    assert room >= 0 and 0 <= pressure <= 1


def test_room_that_vanishes_on_the_way_stops_it(root: None, disk_dir: Path) -> None:
    rooms = iter([1e12, 0.0])
    file = cold_file(disk_dir / "data", 24 * MIB)
    done = Job(Order([entry(file)], budget_bytes=1e9), lambda: (next(rooms), 0.0)).run(threads=1)
    assert done.stopped == "room"
    assert done.read_bytes <= page_loader.LOOK_EVERY_BYTES + page_loader.CHUNK_BYTES


def test_pressure_is_seen_while_a_slow_disk_takes_its_time(root: None, disk_dir: Path) -> None:
    file = cold_file(disk_dir / "data", 16 * MIB)
    pressures = iter([0.0, 0.0])
    order = Order([entry(file)], budget_bytes=1e9, bytes_per_s=0.25 * MIB)
    job = Job(order, lambda: (1e12, next(pressures, 0.5)))
    looking = threading.Thread(target=job.look_every, args=(0.01, lambda: True), daemon=True)
    looking.start()
    assert job.run().stopped == "pressure"
    looking.join(10)
    orphan = Job(order, ROOMY)
    orphan.look_every(0.001, lambda: False)
    assert orphan.run().stopped == "told"


def test_the_loader_ends_when_told_and_says_what_it_did(root: None, disk_dir: Path) -> None:
    file = cold_file(disk_dir / "data", 16 * MIB)
    order = Order([entry(file)], budget_bytes=1e9, bytes_per_s=0.5 * MIB)
    with subprocess.Popen(
        [sys.executable, "-m", "ghostdesk.engines.local.page_loader"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(Path(page_loader.__file__).parents[3])},
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(asdict(order)).encode())
        process.stdin.close()
        deadline_s = time.monotonic() + 20
        while not in_memory(file) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
        process.terminate()
        done = Loaded(**json.loads(process.stdout.read()))
    assert process.returncode == 0
    assert done.stopped == "told" and 0 < done.read_bytes < file.size_bytes


# the files of sets


def test_sets_are_kept_merged_and_due_again(tmp_path: Path) -> None:
    sets = LaunchSets(tmp_path / "launch-sets")
    assert (sets.of(APP), sets.apps(), sets.due(APP, 1.0)) == (None, (), True)
    sets.add(recording(1000.0))
    found = LaunchSets(tmp_path / "launch-sets").of(APP)
    assert found is not None and found.recordings == 1
    assert sets.apps() == (APP,)
    assert not sets.due(APP, 1000.0 + SETTLES_S - 1)
    assert sets.due(APP, 1000.0 + SETTLES_S), "few recordings: the next launch counts, too"
    for number in range(2, 7):
        sets.add(recording(1000.0, f"g{number}"))
    assert not sets.due(APP, 1000.0 + SETTLES_S)
    assert sets.due(APP, 1000.0 + FRESH_FOR_S)
    assert sets.due(APP, 0.0), "a clock that was set back"
    sets.found_changed(APP)
    assert sets.due(APP, 1001.0), "the package was updated"
    sets.add(recording(1002.0, "g9"))
    assert not sets.due(APP, 1003.0)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"schema": "other/1"}', "\0", '{"schema": "ghostdesk.launch-sets/1"}']
)
def test_a_damaged_file_is_recorded_anew(tmp_path: Path, text: str) -> None:
    sets = LaunchSets(tmp_path)
    sets.path(APP).write_text(text)
    assert (sets.of(APP), sets.apps(), sets.due(APP, 1.0)) == (None, (), True)
    sets.add(recording())
    assert sets.of(APP) is not None


def test_a_set_behind_a_link_or_of_another_application_is_not_believed(tmp_path: Path) -> None:
    sets = LaunchSets(tmp_path)
    sets.add(recording())
    sets.path(AppId("other")).write_text(sets.path(APP).read_text())
    sets.path(AppId("linked")).symlink_to(sets.path(APP))
    assert sets.of(AppId("other")) is None and sets.of(AppId("linked")) is None
    assert sets.path(AppId("../../etc/passwd")).parent == tmp_path


def test_a_full_disk_loses_a_recording_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    LaunchSets(blocked / "launch-sets").add_quietly(recording())
    LaunchSets(tmp_path / "gone" / "launch-sets").add_quietly(recording())
    assert caplog.text.count("cannot be kept") == 2
    assert not (tmp_path / "gone").exists(), "a state folder that was removed does not come back"


# recording


def test_a_real_program_is_recorded_by_what_it_opens_maps_and_lists(ghostly: int, tmp_path: Path) -> None:
    sets = LaunchSets(tmp_path)
    recorder = LaunchRecorder(sets, now_s=lambda: 5.0, linger_s=0.1)
    running = [ghostly]
    assert recorder.begin(APP, GhostId("g1"), lambda: running, only_new=False)
    assert not recorder.begin(APP, GhostId("g2"), list, only_new=False), "one at a time"
    time.sleep(0.3)
    program = "import os, time; os.listdir('/usr/share'); open('/etc/os-release').read(); print(1, flush=True)"
    program += "; time.sleep(60)"
    enter = ["nsenter", f"--target={ghostly}", "--mount", "--"]
    with subprocess.Popen([*enter, "/usr/bin/python3", "-I", "-c", program], stdout=subprocess.PIPE) as process:
        running.append(process.pid)
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        recorder.end(GhostId("g1"), 0.25, keep=True)
        assert recorder.settle(20)
        process.kill()
    found = sets.of(APP)
    assert found is not None, recorder.problem
    paths = {file.path: file for file in found.files}
    python = os.path.realpath("/usr/bin/python3")
    assert python in paths and os.path.realpath("/etc/os-release") in paths
    assert 0 < paths[python].touched_bytes <= paths[python].size_bytes == Path(python).stat().st_size
    assert any("libc.so" in path for path in paths)
    assert "/usr/share" in found.folders
    assert not [path for path in paths if not path.startswith(launch_sets_touched.FROM_HOST)]
    assert all(os.path.realpath(path) == path for path in paths)
    assert found.recorded_s == 5.0


def test_a_recording_leaves_our_own_locks_alone(ghostly: int, tmp_path: Path) -> None:
    store = open_store(tmp_path / "ghostdesk.db", now_s=0.0)
    with contextlib.closing(store):
        store.put_user(StoredUser(UserId("ada"), "Ada"))
        log = tmp_path / "ghostdesk.db-wal"
        before = log.stat().st_ino
        recorder = LaunchRecorder(LaunchSets(tmp_path), linger_s=0.0)
        assert recorder.begin(APP, GhostId("g1"), lambda: [ghostly], only_new=False)
        time.sleep(0.3)
        for _ in range(2):  # what the first one opens is heard of before the second one comes
            assert subprocess.check_output([sys.executable, "-c", LOOK, store.path]) == b"(1,)\n"
            time.sleep(0.3)
        recorder.end(GhostId("g1"), 0.1, keep=True)
        assert recorder.settle(20)
        assert log.stat().st_ino == before, "nobody took themselves for its last user and removed it"


def test_a_process_without_mounts_of_its_own_is_not_listened_to(root: None, tmp_path: Path) -> None:
    recorder = LaunchRecorder(LaunchSets(tmp_path))
    recorder.begin(APP, GhostId("g1"), lambda: [os.getpid()], only_new=False)
    assert recorder.settle(20)
    assert "no mounts of its own" in recorder.problem


def test_a_private_file_is_never_opened_by_a_name_that_a_ghost_tells(root: None, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    with pytest.raises(NotOpened, match="private"):
        open_plain(str(secret))


def test_what_was_no_launch_is_not_kept(ghostly: int, tmp_path: Path) -> None:
    sets = LaunchSets(tmp_path)
    recorder = LaunchRecorder(sets, linger_s=0.0)
    recorder.begin(APP, GhostId("g1"), lambda: [ghostly], only_new=False)
    recorder.end(GhostId("another"), 1.0, keep=True)
    recorder.end(GhostId("g1"), 1.0, keep=False)
    assert recorder.settle(20)
    assert sets.of(APP) is None and "no launch" in recorder.problem


def test_the_next_launch_in_a_ghost_ends_the_lingering_of_the_one_before(ghostly: int, tmp_path: Path) -> None:
    recorder = LaunchRecorder(LaunchSets(tmp_path), linger_s=1000.0)
    recorder.begin(APP, GhostId("g1"), lambda: [ghostly], only_new=True)
    recorder.end(GhostId("g1"), 1.0, keep=True)
    recorder.interrupt(GhostId("another"))
    assert not recorder.settle(0.3)
    recorder.interrupt(GhostId("g1"))
    assert recorder.settle(20)


def test_after_a_stop_nothing_is_recorded_or_written(ghostly: int, tmp_path: Path) -> None:
    recorder = LaunchRecorder(LaunchSets(tmp_path / "gone" / "launch-sets"), linger_s=1000.0)
    recorder.begin(APP, GhostId("g1"), lambda: [ghostly], only_new=False)
    recorder.end(GhostId("g1"), 1.0, keep=True)
    recorder.stop()
    assert not (tmp_path / "gone").exists()
    assert not recorder.begin(APP, GhostId("g2"), lambda: [ghostly], only_new=False)


def test_a_name_that_is_another_file_inside_the_ghost_is_left_out(tmp_path: Path) -> None:
    files, left_out = launch_sets_touched.touched_files({"/etc/os-release-gone": (1, 2), "/usr/bin/env": (1, 2)}, {})
    assert files == [] and left_out == {"deleted": 1, "another": 1}
    with pytest.raises(NotOpened):
        open_plain("relative")


# whole


@pytest.mark.desktop
async def test_a_real_ghosts_launch_is_recorded_and_loaded_again(
    engine: LocalEngine, template: DesktopTemplate, inside: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    prefetcher = engine.prefetcher
    assert prefetcher is not None
    if prefetcher.cannot_record:
        pytest.skip(prefetcher.cannot_record)
    assert (await engine.apply(Build(GhostId("g1"), template, Resources()))).error is None
    prefetcher.recorder._linger_s = 0.1
    prefetcher.launch_begins(GhostId("g1"), APP, in_use=True)
    await asyncio.sleep(0.3)
    script = "cat /etc/passwd > own; ls /usr/share/icons > /dev/null; xprop -root > /dev/null; cat own"
    assert (await asyncio.to_thread(inside, "g1", script)).returncode == 0
    prefetcher.launch_ended(GhostId("g1"), 0.5, started=True)
    found = await prefetcher.recorded(APP)
    assert found is not None, prefetcher.recorder.problem
    paths = {file.path for file in found.files}
    assert os.path.realpath("/usr/bin/xprop") in paths, "who had ended when we looked is known by its mounts"
    assert "/usr/share/icons" in found.folders
    assert not [p for p in paths if p.startswith(("/home", "/etc/passwd", "/tmp"))], "a home is not recorded"
    assert os.path.realpath("/usr/bin/Xvnc") not in paths, "what ran before is not the launch's"
    wish = PrefetchWish((APP, AppId("unknown")), None, 1.0, 1e9, "a test")
    done = await prefetcher.load(wish, LoadLimits())
    assert done.stopped in ("", "room", "pressure") and done.skipped == {"unknown-application": 1}
    assert done.read_bytes + done.resident_bytes > 0 or done.stopped
    assert 0.0 <= await prefetcher.resident_share(APP) <= 1.0


async def test_a_load_that_is_cancelled_ends_its_process(root: None, engine: LocalEngine, disk_dir: Path) -> None:
    prefetcher = engine.prefetcher
    assert prefetcher is not None
    file = cold_file(disk_dir / "data", 16 * MIB)
    prefetcher.sets.add(recording(1.0, "g1", file))
    found = prefetcher.sets.of(APP)
    assert isinstance(found, LaunchSet) and found.files == (file,)
    wish = PrefetchWish((APP,), None, 1.0, 1e9, "a test")
    task = asyncio.create_task(prefetcher.load(wish, LoadLimits(bytes_per_s=0.25 * MIB)))
    for _ in range(1000):
        if in_memory(file):
            break
        await asyncio.sleep(0.02)
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    before = sum(b - a for a, b in in_memory(file))
    assert 0 < before < file.size_bytes
    await asyncio.sleep(0.2)
    assert sum(b - a for a, b in in_memory(file)) == before

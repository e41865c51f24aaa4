"""Reading likely files of a home ahead, whatever the home holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import ghostdesk
from ghostdesk.engines.local.beneath import open_home
from ghostdesk.engines.local.home_loader import Order, Report, load
from ghostdesk.engines.local.io_priority import io_class

MIB = 1 << 20


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "small").write_bytes(b"s" * 1000)
    (folder / "large").write_bytes(b"l" * 3 * MIB)
    return folder


def order(home: Path, *files: str, most_bytes: float = 10 * MIB, largest_bytes: float = 4 * MIB) -> Order:
    return Order(str(home), list(files), most_bytes, largest_bytes)


def loaded(wanted: Order) -> Report:
    handle = open_home(wanted.home)
    try:
        return load(handle, wanted)
    finally:
        os.close(handle)


def test_files_are_read_in_their_order(home: Path) -> None:
    report = loaded(order(home, "large", "small"))
    assert report.loaded == [("large", 3 * MIB), ("small", 1000)]
    assert (report.skipped, report.stopped) == ([], "")


def test_the_budget_and_the_largest_size_hold(home: Path) -> None:
    assert loaded(order(home, "large", "small", most_bytes=2000)).skipped == [("large", "budget")]
    assert loaded(order(home, "large", "small", largest_bytes=2000)).skipped == [("large", "too-large")]


def test_a_huge_sparse_file_is_too_large_or_costs_what_it_holds(home: Path) -> None:
    with (home / "sparse").open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(1 << 40)
    assert loaded(order(home, "sparse")).skipped == [("sparse", "too-large")]
    ((_, read_bytes),) = loaded(order(home, "sparse", largest_bytes=float("inf"))).loaded
    assert read_bytes <= MIB


def test_what_is_hostile_or_gone_is_skipped_and_the_rest_is_loaded(home: Path) -> None:
    (home / "link").symlink_to("/etc/hostname")
    os.mkfifo(home / "fifo")
    (home / "folder").mkdir()
    report = loaded(order(home, "link", "fifo", "folder", "gone", "../home/small", "small"))
    reasons = {
        "link": "link",
        "fifo": "not-a-file",
        "folder": "not-a-file",
        "gone": "deleted",
        "../home/small": "outside",
    }
    assert dict(report.skipped) == reasons
    assert report.loaded == [("small", 1000)]


def test_time_that_is_up_and_being_told_end_it(home: Path) -> None:
    handle = open_home(home)
    assert load(handle, replace(order(home, "small"), limit_s=-1.0)).stopped == "time"
    report = load(handle, order(home, "small"), told=lambda: True)
    assert (report.stopped, report.loaded) == ("told", [])
    os.close(handle)


def run(wanted: Order) -> Report:
    done = subprocess.run(
        [sys.executable, "-m", "ghostdesk.engines.local.home_loader"], input=json.dumps(asdict(wanted)).encode(),
        capture_output=True, timeout=30, check=True,
        env={"PYTHONPATH": str(Path(ghostdesk.__file__).parents[1]), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    return Report(**json.loads(done.stdout))


def test_the_program_does_the_same(home: Path) -> None:
    report = run(order(home, "small", "gone"))
    assert (report.loaded, report.skipped) == ([["small", 1000]], [["gone", "deleted"]])
    assert run(replace(order(home), home=str(home / "gone"))).stopped == "no-home"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_program_reads_as_the_homes_owner_and_not_as_root(home: Path) -> None:
    """A hard link of a file that is root's, planted in the home, is not read; the home's folder is closed to others."""
    (home / "planted").write_text("root's")
    (home / "planted").chmod(0o600)
    os.chown(home, 54321, 54321)
    os.chown(home / "small", 54321, 54321)
    home.chmod(0o700)
    report = run(order(home, "planted", "small"))
    assert (report.loaded, report.skipped) == ([["small", 1000]], [["planted", "refused"]])


def test_the_program_works_at_the_lowest_priorities(home: Path) -> None:
    """Read from the process while it waits for its order to be complete."""
    child = subprocess.Popen(
        [sys.executable, "-m", "ghostdesk.engines.local.home_loader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(ghostdesk.__file__).parents[1]), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    try:
        assert child.stdin is not None
        for _ in range(500):
            if os.getpriority(os.PRIO_PROCESS, child.pid) == 19 and io_class(child.pid) in (3, -1):
                break
            time.sleep(0.01)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
        assert io_class(child.pid) in (3, -1)
        out, _ = child.communicate(json.dumps(asdict(order(home, "small"))).encode(), timeout=30)
        assert Report(**json.loads(out)).loaded == [["small", 1000]]
    finally:
        child.kill()
        child.wait()

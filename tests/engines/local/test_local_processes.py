"""Processes: stopped whole, woken exactly, never confused with a successor."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghostdesk.engines.local.mounts import mounted_under, unescape
from ghostdesk.engines.local.processes import (
    continue_all,
    descendants,
    is_alive,
    kill_and_wait,
    read_process,
    send,
    stop_all,
)


@pytest.fixture
def family() -> Iterator["subprocess.Popen[bytes]"]:
    """A shell with two children, one of them stopped already."""
    script = "sleep 100 & sleep 200 & kill -STOP $!; echo up; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        for member in reversed(descendants(process.pid)):
            kill_and_wait(member.pid, member.start_ticks)


def test_stopping_and_waking_a_family(family: "subprocess.Popen[bytes]") -> None:
    def states() -> dict[int, str]:
        return {process.pid: process.state for process in descendants(family.pid) if process.pid != family.pid}

    def settled(wanted: list[str]) -> dict[int, str]:
        """A signal takes effect a moment after it was sent."""
        deadline_s = time.monotonic() + 5
        while sorted(states().values()) != wanted and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert sorted(states().values()) == wanted
        return states()

    children = settled(["S", "T"])
    stopped = stop_all(family.pid)
    assert {pid for pid, _ in stopped} == {pid for pid, state in children.items() if state == "S"}
    settled(["T", "T"])
    continue_all(stopped)
    assert settled(["S", "T"]) == children, "one that was stopped before stays stopped"


def test_a_successor_is_not_hit(family: "subprocess.Popen[bytes]") -> None:
    process = read_process(family.pid)
    assert process is not None
    assert is_alive(process.pid, process.start_ticks)
    assert not is_alive(process.pid, process.start_ticks - 1)
    assert not send(process.pid, process.start_ticks - 1, signal.SIGKILL)
    assert kill_and_wait(process.pid, process.start_ticks - 1)
    assert family.poll() is None
    assert kill_and_wait(process.pid, process.start_ticks)
    assert read_process(process.pid) is None or not is_alive(process.pid, process.start_ticks)
    assert kill_and_wait(0, 0)


def test_mounts_below_a_folder_come_latest_first(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    info = (
        f"1 0 8:1 / {folder} rw - ext4 /dev/sda rw\n"
        f"2 1 8:1 / {folder}/a\\040b rw shared:1 - ext4 /dev/sda rw\n"
        f"3 0 8:1 / {folder}er rw - ext4 /dev/sda rw\n"
    )
    assert mounted_under(folder, info) == [folder / "a b", folder]
    assert unescape("/a\\134b") == "/a\\b"

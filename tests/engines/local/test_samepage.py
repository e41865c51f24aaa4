"""Same-page merging: begun by a launcher, ended from outside, really; the scan, on files in the kernel's stead."""

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ghostdesk.engines.local import samepage
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.launch import rfb_answers
from ghostdesk.ghosts.commands import AttachHome, Build
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import NOTHING

_CODE = """
import select, signal, sys
caught = []
signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
print("up", flush=True)
for line in sys.stdin:
    print("still " + line.strip(), len(caught), flush=True)
"""


@pytest.fixture
def here() -> None:
    if why_not := samepage.problem():
        pytest.skip(why_not)


def start(code: str = _CODE) -> "subprocess.Popen[str]":
    command = [*samepage.LAUNCHER, sys.executable, "-c", code]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def say(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_the_launcher_begins_it_and_it_ends_from_outside(here: None) -> None:
    with start() as process:
        if not samepage.merged_pids([process.pid]):
            process.kill()
            pytest.skip("this kernel forgets it when a program is started (before Linux 6.10)")
        assert say(process, "a") == "still a 0\n"
        assert samepage.end_merging(lambda: [process.pid]) == 1
        assert samepage.merged_pids([process.pid]) == []
        assert say(process, "b") == "still b 0\n", "it waits in its own call again, as if nothing had been"
        process.kill()


def test_a_busy_process_is_met_between_two_instructions(here: None) -> None:
    code = "print('up', flush=True)\nn = 0\nwhile n < 4_000_000: n += 1\nprint(n, flush=True)"
    with start(code) as process:
        for _ in range(20):
            pid = samepage.call_inside(process.pid, 39, ())  # getpid
            assert pid == process.pid
        assert process.stdout is not None
        assert process.stdout.readline() == "4000000\n"


def test_nobody_is_no_trouble() -> None:
    gone = 2**22 - 1
    assert samepage.merged_pids([gone]) == []
    if platform.machine() == "x86_64":
        with pytest.raises(OSError, match=r"."):
            samepage.call_inside(gone, 39, ())


def fake_ksm(folder: Path, run: str = "0") -> Path:
    for name, text in {"run": run, "pages_to_scan": "100", "sleep_millisecs": "200", "full_scans": "7"}.items():
        (folder / name).write_text(text + "\n")
    (folder / "pages_shared").write_text("10\n")
    (folder / "pages_sharing").write_text("30\n")
    return folder


def test_the_scan_stops_and_leaves_the_settings_as_they_were(tmp_path: Path) -> None:
    ksm = fake_ksm(tmp_path)
    done = samepage.scan(threading.Event(), ksm, at_most_s=0.2)
    assert (done.shared_pages, done.saved_pages, done.why_not) == (10, 30, "")
    assert [(ksm / name).read_text() for name in ("run", "pages_to_scan", "sleep_millisecs")] == ["0", "100", "200"]


def test_a_scan_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    ksm = fake_ksm(tmp_path, run="1")
    assert samepage.scan(threading.Event(), ksm).why_not
    assert (ksm / "pages_to_scan").read_text() == "100\n"


def test_a_stop_ends_it_early(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert samepage.scan(stop, fake_ksm(tmp_path)).duration_s < samepage.SCAN_AT_MOST_S / 2


def test_where_it_cannot_be_had_the_reason_is_said(tmp_path: Path) -> None:
    assert samepage.problem(tmp_path) == "the kernel has no KSM"
    if os.access(fake_ksm(tmp_path) / "run", os.W_OK):
        assert "not written for riscv" in samepage.problem(tmp_path, "riscv")
    (told,) = samepage.ability(True, tmp_path / "none")
    assert not told.available and told.mend
    assert samepage.ability(False) == ()


@pytest.mark.desktop
async def test_a_ghost_is_merged_until_it_has_an_owner(
    here: None, engine: LocalEngine, open_dir: Path, template: DesktopTemplate
) -> None:
    merging = LocalEngine(open_dir / "state", open_dir / "run", same_page_merging=True)
    await merging.start()
    ghost = GhostId("g1")
    assert (await merging.apply(Build(ghost, template, NOTHING))).ok
    record = merging._living(ghost)
    pids = merging._builder.processes(record)
    assert record.merging
    if not samepage.merged_pids(pids):
        pytest.skip("this kernel forgets it when a program is started (before Linux 6.10)")
    assert set(samepage.merged_pids(pids)) == set(pids)
    attached = await merging.apply(AttachHome(ghost, UserId("ada")))
    assert attached.ok, attached.error
    assert samepage.merged_pids(merging._builder.processes(record)) == []
    assert not merging._living(ghost).merging
    assert rfb_answers(Path(merging.endpoint(ghost).rfb_path), timeout_s=5)
    await merging.stop(keep_ghosts=True)

"""Same-page merging: begun by a launcher, ended by the agent, really; the scan, on files in the kernel's stead."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ghostdesk
from ghostdesk.engines.local import samepage
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import NOTHING

_CODE = """
import sys
sys.path.insert(0, sys.argv[1])
from ghostdesk.agent.merging import end_merging
print("up", flush=True)
sys.stdin.readline()
print(end_merging(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def here() -> None:
    if why_not := samepage.problem():
        pytest.skip(why_not)


def test_the_launcher_begins_it_and_the_agent_ends_it_for_itself(here: None) -> None:
    command = [*samepage.LAUNCHER, sys.executable, "-c", _CODE, str(Path(ghostdesk.__file__).parents[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "up\n"
        if not samepage.merged_pids([process.pid]):
            process.kill()
            pytest.skip("this kernel forgets it when a program is started (before Linux 6.10)")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "True\n"
        assert samepage.merged_pids([process.pid]) == []
        process.kill()


def test_nobody_is_no_trouble() -> None:
    assert samepage.merged_pids([2**22 - 1]) == []


def fake_ksm(folder: Path, run: str = "0") -> Path:
    for name, text in {"run": run, "pages_to_scan": "100", "sleep_millisecs": "200", "full_scans": "7"}.items():
        (folder / name).write_text(text + "\n")
    (folder / "pages_shared").write_text("10\n")
    (folder / "pages_sharing").write_text("30\n")
    return folder


def test_the_scan_stops_and_leaves_the_settings_as_they_were(tmp_path: Path) -> None:
    ksm = fake_ksm(tmp_path)
    done = samepage.scan(lambda: False, ksm, at_most_s=0.2)
    assert (done.shared_pages, done.saved_pages, done.why_not) == (10, 30, "")
    assert [(ksm / name).read_text() for name in ("run", "pages_to_scan", "sleep_millisecs")] == ["0", "100", "200"]


def test_a_scan_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    ksm = fake_ksm(tmp_path, run="1")
    assert samepage.scan(lambda: False, ksm).why_not
    assert (ksm / "pages_to_scan").read_text() == "100\n"


def test_a_stop_ends_it_early(tmp_path: Path) -> None:
    assert samepage.scan(lambda: True, fake_ksm(tmp_path)).duration_s < samepage.SCAN_AT_MOST_S / 2


def test_a_scan_ends_before_a_ghost_gets_its_owner_and_none_follows(tmp_path: Path) -> None:
    ksm, owned = fake_ksm(tmp_path), []
    merger = samepage.Merger(lambda: bool(owned), ksm)
    found: list[samepage.Scan] = []
    thread = threading.Thread(target=lambda: found.append(merger.scan()))
    thread.start()
    while (ksm / "run").read_text().strip() != "1":
        assert thread.is_alive()
    with merger.binding():
        assert (ksm / "run").read_text().strip() == "0", "it has ended"
        owned.append("ada")
    thread.join()
    assert found[0].why_not == ""
    assert "has an owner" in merger.scan().why_not
    owned.clear()
    merger.close()
    assert merger.scan().duration_s == 0.0


def test_where_it_cannot_be_had_the_reason_is_said(tmp_path: Path) -> None:
    assert samepage.problem(tmp_path) == "the kernel has no KSM"
    if os.access(fake_ksm(tmp_path, "1") / "run", os.W_OK):
        assert "for somebody else" in samepage.problem(tmp_path)
    (told,) = samepage.ability(True, tmp_path / "none")
    assert not told.available and told.mend
    assert samepage.ability(False) == ()


@pytest.mark.desktop
async def test_a_ghost_is_merged_until_one_has_an_owner(
    here: None, engine: LocalEngine, open_dir: Path, template: DesktopTemplate
) -> None:
    merging = LocalEngine(open_dir / "state", open_dir / "run", same_page_merging=True, ghosts_yield=False)
    await merging.start()
    ghost = GhostId("g1")
    assert (await merging.apply(Build(ghost, template, NOTHING))).ok
    record = merging._living(ghost)
    assert record.merging
    if not samepage.merged_pids([record.pid]):
        pytest.skip("this kernel forgets it when a program is started (before Linux 6.10)")
    assert not merging._merged_and_owned()
    attached = await merging.apply(AttachHome(ghost, UserId("ada")))
    assert attached.ok, attached.error
    assert merging._merged_and_owned()
    assert merging._merger.scan().why_not
    assert (await merging.apply(Destroy(ghost))).ok
    assert not merging._merged_and_owned(), "and when it is gone, the next may be merged"
    await merging.stop(keep_ghosts=True)

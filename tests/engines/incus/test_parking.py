"""Parking: a container of a real server on this machine gives its memory to a real zram, and gets it back."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.incus.api import IncusApi
from ghostdesk.engines.incus.engine import IncusEngine
from ghostdesk.engines.incus.parking import group_paths, is_of, parking_ability, payload_of
from ghostdesk.engines.local.launch import rfb_answers
from ghostdesk.engines.local.reclaim import V1Group, V2Group
from ghostdesk.engines.local.zram import zram_swap
from ghostdesk.engines.protocol import PARKING
from ghostdesk.ghosts.commands import Build, CallBackMemory, Freeze, ReclaimMemory, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import MIB, Resources

G = GhostId("g1")


@pytest.fixture
def swap() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        with zram_swap(256 * MIB):
            yield
    except MissingRequirement as error:
        pytest.skip(str(error))


@pytest.mark.desktop
@pytest.mark.usefixtures("swap")
async def test_a_container_here_is_parked_and_wakes(incus_socket: str, open_dir: Path) -> None:
    engine = IncusEngine(open_dir / "state", open_dir / "run", api=IncusApi(incus_socket), storage="desks")
    await engine.start()
    try:
        assert any(ability.name == PARKING and ability.available for ability in engine.abilities())
        template = DesktopTemplate(TemplateId("t"), width_px=800, height_px=600)
        for command in (Build(G, template, Resources()), Freeze(G)):
            assert (await engine.apply(command)).error is None
        parked = await engine.apply(ReclaimMemory(G))
        assert parked.error is None
        reclaimed, left = parked.facts["reclaimed_bytes"], parked.facts["left_bytes"]
        assert isinstance(reclaimed, float) and isinstance(left, float)
        assert reclaimed > 5 * MIB and left < reclaimed / 2, parked.facts
        called = await engine.apply(CallBackMemory(G))
        assert called.error is None and float(called.facts["called_back_bytes"]) > MIB
        assert (await engine.apply(Thaw(G))).error is None
        assert rfb_answers(Path(engine.endpoint(G).rfb_path), 30.0)
    finally:
        await engine.stop(keep_ghosts=False)


@given(st.text(max_size=200))
def test_whatever_a_process_says_of_its_groups_is_read(text: str) -> None:
    for path in group_paths(text).values():
        assert path.startswith("/") and ".." not in path.split("/")


def test_groups_are_the_instance_s_own_or_nobody_s() -> None:
    assert is_of("/lxc.payload.gd-a-g1", "gd-a-g1") and is_of("/x/lxc.payload.desks_gd-a-g1/y", "gd-a-g1")
    assert not is_of("/lxc.payload.gd-a-g12", "gd-a-g1") and not is_of("/lxc.monitor.gd-a-g1", "gd-a-g1")
    assert group_paths("5:memory,x:/a\n0::/b\nrubbish\n1:cpu:relative\n") == {"memory": "/a", "x": "/a", "": "/b"}


@pytest.mark.parametrize(
    ("text", "place", "kind"),
    [
        ("9:memory:/lxc.payload.i\n0::/lxc.payload.i\n", "memory/lxc.payload.i", V1Group),
        ("0::/lxc.payload.i/init.scope\n", "lxc.payload.i/init.scope", V2Group),
        ("0::/lxc.payload.i\n", "unified/lxc.payload.i", V2Group),
    ],
)
def test_the_group_that_counts_memory(text: str, place: str, kind: type, tmp_path: Path) -> None:
    group, proc = tmp_path / "cgroup" / place, tmp_path / "proc" / "7"
    for folder in (group / "inner", proc):
        folder.mkdir(parents=True)
    (group / "memory.stat").write_text("anon 5\n")
    (group / "cgroup.procs").write_text("7\n")
    (group / "inner" / "cgroup.procs").write_text("8\n9\n")
    (proc / "cgroup").write_text(text)
    found = payload_of({"pid": 7}, "i", tmp_path / "cgroup", tmp_path / "proc")
    assert found is not None and found.pids == (7, 8, 9) and found.group == kind(group)
    # A process with that number here is somebody else's when the instance is on another machine.
    assert payload_of({"pid": 7}, "other", tmp_path / "cgroup", tmp_path / "proc") is None
    assert payload_of({"pid": 0}, "i") is None and payload_of({"pid": 6}, "i", tmp_path, tmp_path) is None


def test_what_is_said_of_parking() -> None:
    assert parking_ability(here=True, swap_bytes=1).available
    for missing in (parking_ability(here=True, swap_bytes=0), parking_ability(here=False, swap_bytes=1)):
        assert not missing.available and missing.mend

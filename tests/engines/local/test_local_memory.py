"""Memory pushed out to swap and called back, really, on a zram of our own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghostdesk.engines.local import memory
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.launch import rfb_answers
from ghostdesk.engines.local.zram import swap_is_compressed, zram_swap
from ghostdesk.ghosts.commands import Build, CallBackMemory, Freeze, ReclaimMemory, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import MIB, NOTHING

MAPS = """\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon
00e03000-00e24000 rw-p 00000000 00:00 0           [heap]
7f0000000000-7f0000021000 rw-p 00000000 00:00 0
7f0000030000-7f0000040000 rw-s 00000000 00:01 1234  /dev/shm/x (deleted)
7ffc0000-7ffc2000 r-xp 00000000 00:00 0           [vdso]
"""


@pytest.fixture(scope="module")
def swap() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        with zram_swap(512 * MIB) as device:
            yield device
    except MissingRequirement as error:
        pytest.skip(str(error))


def test_only_private_memory_without_a_file_is_named() -> None:
    assert list(memory.anonymous_ranges(MAPS)) == [(0xE03000, 0x21000), (0x7F0000000000, 0x21000)]


def test_swap_is_summed() -> None:
    text = "Filename Type Size Used Priority\n/dev/zram0 partition 1024 0 100\n/swap file 2048 0 -2\n"
    assert memory.swap_total_bytes(text) == 3072 * 1024
    assert memory.swap_total_bytes("Filename Type Size Used Priority\n") == 0


def test_advice_to_nobody_does_nothing() -> None:
    assert memory.advise(2**22 - 1, memory.MADV_PAGEOUT) == 0


def test_a_process_goes_to_swap_and_back(swap: Path) -> None:
    assert swap_is_compressed()
    code = "import sys; data = bytearray(b'ghost' * 4_000_000); print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert memory.advise(process.pid, memory.MADV_PAGEOUT) > 15 * MIB
        assert memory.swapped_bytes([process.pid]) > 15 * MIB
        assert memory.advise(process.pid, memory.MADV_WILLNEED) > 15 * MIB
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.desktop
@pytest.mark.parametrize("engine", ["auto", "v1", "none"], indirect=True)
async def test_a_ghost_is_parked_and_wakes(swap: Path, engine: LocalEngine, template: DesktopTemplate) -> None:
    ghost = GhostId("g1")
    assert (await engine.apply(Build(ghost, template, NOTHING))).ok
    assert (await engine.apply(Freeze(ghost))).ok
    parked = await engine.apply(ReclaimMemory(ghost))
    assert parked.ok, parked.error
    assert float(parked.facts["reclaimed_bytes"]) > 5 * MIB
    assert (await engine.observe())[0].frozen
    assert float((await engine.apply(CallBackMemory(ghost))).facts["called_back_bytes"]) > 5 * MIB
    assert (await engine.apply(Thaw(ghost))).ok
    assert rfb_answers(Path(engine.endpoint(ghost).rfb_path), timeout_s=10)
    assert next(ability for ability in engine.abilities() if ability.name == "parked in swap").available


def test_zram_leaves_things_as_they_were() -> None:
    if os.geteuid() != 0 or not Path("/sys/block/zram0").exists():
        pytest.skip("needs root and zram")
    used = []
    try:
        with pytest.raises(ValueError, match="body"), zram_swap(64 * MIB) as device:
            used.append(device)
            assert device.name in Path("/proc/swaps").read_text()
            raise ValueError("body")
    except MissingRequirement as error:
        pytest.skip(str(error))
    assert used[0].name not in Path("/proc/swaps").read_text()
    assert (used[0] / "disksize").read_text() == "0\n"

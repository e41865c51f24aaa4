"""Memory pushed out to swap and called back, really, on a zram of our own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local import memory
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.launch import rfb_answers
from ghostdesk.engines.local.zram import swap_is_compressed, zram_swap
from ghostdesk.ghosts.commands import Build, CallBackMemory, Freeze, ReclaimMemory, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import MIB, NOTHING


@pytest.fixture(scope="module")
def swap() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        with zram_swap(512 * MIB) as device:
            yield device
    except MissingRequirement as error:
        pytest.skip(str(error))


def test_swap_is_summed() -> None:
    text = "Filename Type Size Used Priority\n/dev/zram0 partition 1024 8 100\n/swap file file 2048 0 -2\n"
    assert memory.swaps(text) == memory.Swaps(3072 * 1024, 8 * 1024)
    assert memory.swaps(text).free_bytes == 3064 * 1024
    assert memory.swap_total_bytes("Filename Type Size Used Priority\n") == 0


def test_advice_to_nobody_does_nothing() -> None:
    assert memory.advise(2**22 - 1, memory.MADV_PAGEOUT, [(4096, 4096)]) == 0
    assert memory.page_out(2**22 - 1) == 0
    assert memory.call_back(2**22 - 1) == 0


@given(st.lists(st.sampled_from([0, 1 << 62, 1 << 63, 1 << 63 | 1 << 61, 1 << 62 | 1 << 55]), max_size=60))
def test_runs_hold_the_swapped_pages_and_no_other(entries: list[int]) -> None:
    runs = memory.swapped_runs(np.array(entries, dtype=np.uint64))
    pages = [page for first, count in runs for page in range(first, first + count)]
    assert pages == [page for page, entry in enumerate(entries) if entry >> 62 == 1]
    assert all(later[0] > sum(earlier) for earlier, later in pairwise(runs)), "runs are whole"


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 3 << 20)), max_size=20))
def test_parts_hold_every_byte_once_and_fit(ranges: list[tuple[int, int]]) -> None:
    parts = list(memory._parts(ranges))
    assert all(sum(length for _, length in part) <= memory._SCRATCH_BYTES for part in parts)
    joined: list[list[int]] = []
    for start, length in (piece for part in parts for piece in part):
        if joined and sum(joined[-1]) == start and joined[-1][1] < ranges[len(joined) - 1][1]:
            joined[-1][1] += length
        else:
            joined.append([start, length])
    assert [tuple(piece) for piece in joined] == ranges


_CODE = """
import mmap, sys
private = bytearray(b"ghost" * 4_000_000)
shared = mmap.mmap(-1, 4_000_000)
shared[:] = b"picture!" * 500_000
print("up", flush=True)
sys.stdin.read()
assert private == b"ghost" * 4_000_000 and shared[:] == b"picture!" * 500_000
"""


def test_a_process_goes_to_swap_and_back_and_is_what_it_was(swap: Path) -> None:
    assert swap_is_compressed()
    with subprocess.Popen([sys.executable, "-c", _CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        assert memory.page_out(process.pid) > 15 * MIB
        assert memory.swapped_bytes([process.pid]) > 15 * MIB
        assert sum(area.swap_bytes for area in memory.areas_of(process.pid) if area.shmem) > 3 * MIB
        assert memory.call_back(process.pid, lambda: True) < 6 * MIB, "told to stop"
        assert memory.call_back(process.pid) > 14 * MIB
        assert memory.swapped_bytes([process.pid]) < MIB, "mapped again, not only read ahead"
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
    freed, kept = float(parked.facts["reclaimed_bytes"]), float(parked.facts["kept_bytes"])
    assert freed > 10 * MIB
    assert kept < 0.15 * freed, parked.facts
    assert 0 < float(parked.facts["zram_bytes"]) < freed
    assert (await engine.observe())[0].frozen
    assert float((await engine.apply(CallBackMemory(ghost))).facts["called_back_bytes"]) > 0.8 * freed
    assert (await engine.apply(Thaw(ghost))).ok
    assert rfb_answers(Path(engine.endpoint(ghost).rfb_path), timeout_s=10)
    assert next(ability for ability in engine.abilities() if ability.name == "parked in swap").available


def test_zram_leaves_things_as_they_were() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    used = []
    before = sorted(path.name for path in Path("/sys/block").glob("zram*"))
    try:
        with pytest.raises(ValueError, match="body"), zram_swap(64 * MIB) as device:
            used.append(device)
            assert device.name in Path("/proc/swaps").read_text()
            raise ValueError("body")
    except MissingRequirement as error:
        pytest.skip(str(error))
    assert used[0].name not in Path("/proc/swaps").read_text()
    time.sleep(0.1)
    assert used[0].name in before or not used[0].exists(), "one that was made for us is gone again"

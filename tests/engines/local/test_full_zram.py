"""A zram that is too small for a ghost, really: what fits goes out, the rest stays, and the ghost wakes."""

from pathlib import Path

import pytest

from ghostdesk.engines.local import memory
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.launch import rfb_answers
from ghostdesk.engines.local.zram import zram_swap
from ghostdesk.ghosts.commands import Build, Freeze, ReclaimMemory, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import MIB, NOTHING


@pytest.mark.desktop
async def test_a_full_zram_takes_what_fits_and_the_ghost_still_wakes(
    engine: LocalEngine, template: DesktopTemplate
) -> None:
    if memory.swap_total_bytes():
        pytest.skip("this host has other swap, which would take what our small one cannot")
    ghost = GhostId("g1")
    assert (await engine.apply(Build(ghost, template, NOTHING))).ok
    try:
        with zram_swap(16 * MIB):
            assert (await engine.apply(Freeze(ghost))).ok
            parked = await engine.apply(ReclaimMemory(ghost))
            assert parked.ok, parked.error
            assert parked.facts["code"] == "swap-full"
            assert "the swap is full" in str(parked.facts["why"])
            assert 8 * MIB < float(parked.facts["reclaimed_bytes"]) < 20 * MIB
            assert (await engine.observe())[0].alive
            assert (await engine.apply(Thaw(ghost))).ok
            assert rfb_answers(Path(engine.endpoint(ghost).rfb_path), timeout_s=10)
    except MissingRequirement as error:
        pytest.skip(str(error))

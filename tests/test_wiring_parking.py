"""The swap that the settings ask for is there while ghostdesk runs, and gone when it has stopped."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ghostdesk.config import ParkingSettings, Settings, StateSettings
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.engines.local.parking_swap import SwapWish
from ghostdesk.engines.local.zram import zram_swap
from ghostdesk.engines.simulated import SimulatedEngine, SimulatedHost
from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.wiring import Ghostdesk, assemble, open_settings_store, swap_wish


def ghostdesk(folder: Path, parking: ParkingSettings) -> Ghostdesk:
    state = StateSettings(directory=folder / "state", run_directory=folder / "run")
    settings = replace(Settings(), state=state, parking=parking)
    clock = SystemClock()
    engine = SimulatedEngine(SimulatedHost(clock))
    return assemble(settings, open_settings_store(settings), engine=engine, clock=clock)


def test_nothing_is_asked_for_unless_it_is_set_and_desktops_run_here() -> None:
    settings = Settings()
    assert swap_wish(settings) == SwapWish()
    asked = replace(settings, parking=ParkingSettings(zram_bytes=1e9, zram_algorithm="lz4", swap_file_bytes=2e9))
    assert swap_wish(asked) == SwapWish(10**9, "lz4", 100, 2 * 10**9)
    assert swap_wish(replace(asked, engine=replace(settings.engine, name="lxd"))) == SwapWish()


async def test_it_comes_with_the_start_and_goes_with_the_stop(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        with zram_swap(16 * 2**20):
            pass
    except MissingRequirement as error:
        pytest.skip(f"no zram of our own can be had here: {error}")
    before = Path("/proc/swaps").read_text()
    desk = ghostdesk(tmp_path, ParkingSettings(zram_bytes=32e6))
    await desk.start(ticking=False)
    (told,) = desk.swap
    assert told.available, told.detail
    assert len(Path("/proc/swaps").read_text().splitlines()) == len(before.splitlines()) + 1
    await desk.stop(keep_ghosts=True)
    assert len(Path("/proc/swaps").read_text().splitlines()) == len(before.splitlines()) + 1, "parked desktops need it"
    again = ghostdesk(tmp_path, ParkingSettings(zram_bytes=32e6))
    await again.start(ticking=False)
    assert again.swap == (told,), "the same one, found again"
    await again.stop(keep_ghosts=False)
    assert not (tmp_path / "state/swap.json").exists()
    assert len(Path("/proc/swaps").read_text().splitlines()) == len(before.splitlines())


async def test_what_cannot_be_had_is_said_and_ghostdesk_starts(tmp_path: Path) -> None:
    desk = ghostdesk(tmp_path, ParkingSettings(zram_bytes=32e6, zram_algorithm="no-such"))
    await desk.start(ticking=False)
    (told,) = desk.swap
    assert not told.available and told.mend
    await desk.stop(keep_ghosts=False)

"""Swap of our own, really: set up, found again, taken down; and nobody else's is touched."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local import parking_swap, zram
from ghostdesk.engines.local.parking_swap import ParkingSwap, SwapWish
from ghostdesk.engines.local.zram import (
    PREFERRED,
    choose_algorithm,
    in_use_as_swap,
    offered_algorithms,
    reset_zram,
    set_up_zram,
    swap_off,
    swap_uuid,
    zram_swap,
)
from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.resources import GIB, MIB


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        with zram_swap(16 * MIB):
            pass
    except MissingRequirement as error:
        pytest.skip(f"no zram of our own can be had here: {error}")
    yield tmp_path
    assert not ParkingSwap(tmp_path).take_down()
    assert not (tmp_path / "swap.json").exists()


def swaps() -> str:
    return Path("/proc/swaps").read_text()


def test_set_up_found_again_and_taken_down(state: Path) -> None:
    before = swaps()
    (told,) = ParkingSwap(state).set_up(SwapWish(64 * MIB))
    assert told.available, told.detail
    name = json.loads((state / "swap.json").read_text())["zram"]["name"]
    assert f"/dev/{name} " in swaps()
    assert ParkingSwap(state).set_up(SwapWish(64 * MIB)) == (told,), "another control plane on the same folder"
    assert swaps().count("\n") == before.count("\n") + 1
    assert not ParkingSwap(state).take_down()
    assert swaps() == before
    assert not (state / "swap.json").exists()
    assert not ParkingSwap(state).take_down(), "again"


def test_a_file_lies_behind_the_compressed_swap(state: Path) -> None:
    zram_told, file_told = ParkingSwap(state).set_up(SwapWish(32 * MIB, file_bytes=32 * MIB))
    if not file_told.available:
        pytest.skip(file_told.detail)
    file = state / "parking.swap"
    assert zram_told.available and in_use_as_swap(file)
    assert file.stat().st_mode & 0o777 == 0o600
    priorities = {line.split()[0]: int(line.split()[-1]) for line in swaps().splitlines()[1:]}
    assert priorities[str(file)] == parking_swap.FILE_PRIORITY < max(priorities.values())
    assert not ParkingSwap(state).take_down()
    assert not file.exists()


def test_what_became_somebody_elses_is_left_alone(state: Path) -> None:
    ParkingSwap(state).set_up(SwapWish(32 * MIB))
    node = Path("/dev") / json.loads((state / "swap.json").read_text())["zram"]["name"]
    assert not swap_off(node)
    subprocess.run(["mkswap", "-q", node], check=True, capture_output=True)
    subprocess.run(["swapon", node], check=True, capture_output=True)
    theirs = zram.ZramDevice(node.name, 32 * MIB, "", swap_uuid(node), True)
    assert not ParkingSwap(state).take_down()
    assert in_use_as_swap(node), "its header says that it is not the one we made"
    assert not swap_off(node)
    reset_zram(theirs)


def test_an_algorithm_that_the_kernel_has_not_is_said(state: Path) -> None:
    (told,) = ParkingSwap(state).set_up(SwapWish(32 * MIB, "brotli"))
    assert not told.available
    assert "no brotli" in told.detail and "parking.zram_algorithm" in told.mend
    assert not (state / "swap.json").exists()


@pytest.mark.parametrize(
    "wish", [SwapWish(MIB), SwapWish(10**15), SwapWish(file_bytes=10**17)], ids=["tiny", "huge", "disk"]
)
def test_sizes_that_cannot_be_are_refused_with_their_mend(state: Path, wish: SwapWish) -> None:
    before = swaps()
    (told,) = ParkingSwap(state).set_up(wish)
    assert not told.available and told.mend
    assert swaps() == before


def test_nothing_is_wished_and_nothing_is_done(tmp_path: Path) -> None:
    assert ParkingSwap(tmp_path).set_up(SwapWish()) == ()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "null", '{"boot": 1}', '{"boot": "x", "zram": {"name": "zram0"}}', "[]"])
def test_a_broken_record_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "swap.json").write_text(text)
    assert not ParkingSwap(tmp_path).take_down()


def test_a_record_from_before_a_restart_of_the_host_points_to_nothing(tmp_path: Path) -> None:
    record = {"boot": "another", "zram": {"name": "zram0", "size_bytes": GIB, "algorithm": "lz4", "uuid": "u"}}
    record["zram"]["added"] = False  # type: ignore[index]
    (tmp_path / "swap.json").write_text(json.dumps(record))
    before = swaps()
    assert not ParkingSwap(tmp_path).take_down()
    assert swaps() == before
    assert not (tmp_path / "swap.json").exists()


def test_without_the_driver_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(MissingRequirement, match=r"free|mkswap"):
        set_up_zram(64 * MIB, sys=tmp_path)


@given(st.lists(st.sampled_from([*PREFERRED, "842", "deflate"]), unique=True, min_size=1))
def test_the_best_that_is_offered_is_taken(offered: list[str]) -> None:
    chosen = choose_algorithm(offered)
    assert chosen in offered
    ranks = [PREFERRED.index(name) for name in offered if name in PREFERRED]
    assert not ranks or PREFERRED.index(chosen) == min(ranks)
    text = " ".join(f"[{name}]" if name == chosen else name for name in offered)
    assert offered_algorithms(text) == offered
    for name in offered:
        assert choose_algorithm(offered, name) == name

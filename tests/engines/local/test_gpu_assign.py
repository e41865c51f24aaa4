"""Who gets which device: strongest guarantee first, nothing promised twice, a reason for every refusal."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local.gpu import (
    DRM,
    MIG,
    MPS,
    TIME_SLICE,
    WHOLE,
    GpuDevice,
    GpuGrant,
    GpuHolding,
    GpuInventory,
    GpuRefusal,
    GpuWish,
    MigSlice,
    MpsDaemon,
    grant_from_text,
    grant_to_text,
)
from ghostdesk.engines.local.gpu_assign import assign, changes, lost
from ghostdesk.kernel.ids import GhostId

GIB = 2.0**30
BIG = GpuDevice("GPU-big", "nvidia", "nvidia", "Big", memory_bytes=80 * GIB, mig=False)
SMALL = GpuDevice("GPU-small", "nvidia", "nvidia", "Small", memory_bytes=24 * GIB)
SLICED = GpuDevice(
    "GPU-mig",
    "nvidia",
    "nvidia",
    "Sliced",
    memory_bytes=80 * GIB,
    mig=True,
    slices=(MigSlice("MIG-1", "3g", 3 / 7, 40 * GIB), MigSlice("MIG-2", "1g", 1 / 7, 10 * GIB)),
)
AMD = GpuDevice("0000:03:00.0", "amd", "amdgpu", "AMD", memory_bytes=16 * GIB, dmem_region="drm/0000:03:00.0/vram0")
DAEMON = MpsDaemon("/tmp/nvidia-mps", any_user=True)


def held(*grants: GpuGrant) -> list[GpuHolding]:
    return [GpuHolding(GhostId(f"g{number}"), grant) for number, grant in enumerate(grants)]


def given_for(share: float, inventory: GpuInventory, *grants: GpuGrant, memory: float = 0.0) -> GpuGrant:
    grant = assign(GpuWish(share, memory), inventory, held(*grants))
    assert isinstance(grant, GpuGrant), grant
    return grant


def refused(
    share: float, inventory: GpuInventory, *grants: GpuGrant, memory: float = 0.0, sharing: str = "auto"
) -> str:
    refusal = assign(GpuWish(share, memory), inventory, held(*grants), sharing)
    assert isinstance(refusal, GpuRefusal), refusal
    assert refusal.text
    return refusal.code


def test_a_whole_device_is_the_smallest_that_is_enough() -> None:
    both = GpuInventory((BIG, SMALL))
    assert given_for(1.0, both).key == "GPU-small"
    assert given_for(1.0, both, memory=40 * GIB) == GpuGrant("GPU-big", WHOLE, 1.0, 80 * GIB)
    assert given_for(1.0, both, given_for(1.0, both)).key == "GPU-big"


def test_a_part_is_the_smallest_mig_slice_before_any_share() -> None:
    inventory = GpuInventory((BIG, SLICED), DAEMON)
    first = given_for(0.1, inventory)
    assert first == GpuGrant("GPU-mig", MIG, 1 / 7, 10 * GIB, "MIG-2")
    second = given_for(0.1, inventory, first)
    assert second.mig == "MIG-1"
    assert given_for(0.1, inventory, first, second).way == MPS
    assert given_for(0.1, inventory, memory=30 * GIB).mig == "MIG-1"


def test_shares_fill_one_device_before_the_next() -> None:
    inventory = GpuInventory((BIG, SMALL), DAEMON)
    first = given_for(0.3, inventory)
    second = given_for(0.3, inventory, first)
    assert first.key == second.key
    assert first.memory_bytes == pytest.approx(0.3 * (80 if first.key == "GPU-big" else 24) * GIB)
    third = given_for(0.6, inventory, first, second)
    assert third.key != first.key


def test_without_mps_for_every_user_a_share_is_time_sliced_and_says_so() -> None:
    for mps in (None, MpsDaemon("/tmp/nvidia-mps", any_user=False)):
        grant = given_for(0.3, GpuInventory((BIG,), mps))
        assert grant.way == TIME_SLICE
        assert "no share and no memory is guaranteed" in grant.text


def test_drm_devices_carry_their_dmem_region() -> None:
    grant = given_for(0.25, GpuInventory((AMD,)))
    assert (grant.way, grant.memory_bytes, grant.dmem_region) == (DRM, 4 * GIB, "drm/0000:03:00.0/vram0")


@pytest.mark.parametrize(
    ("code", "share", "inventory", "memory"),
    [
        ("no-gpu", 0.5, GpuInventory(problem="none was found"), 0.0),
        ("gpu-bad-wish", 0.0, GpuInventory((BIG,)), 0.0),
        ("gpu-bad-wish", -0.5, GpuInventory((BIG,)), 0.0),
        ("gpu-bad-wish", math.inf, GpuInventory((BIG,)), 0.0),
        ("gpu-bad-wish", math.nan, GpuInventory((BIG,)), 0.0),
        ("gpu-beyond-one", 2.0, GpuInventory((BIG, SMALL)), 0.0),
        ("gpu-memory-beyond", 0.5, GpuInventory((BIG,)), 200 * GIB),
        ("gpu-mig-too-small", 0.6, GpuInventory((SLICED,)), 0.0),
        ("gpu-unusable", 0.5, GpuInventory((GpuDevice("x", "amd", "amdgpu", "AMD", problem="no node"),)), 0.0),
        ("gpu-mig-empty", 0.5, GpuInventory((GpuDevice("x", "nvidia", "nvidia", "N", mig=True),)), 0.0),
    ],
)
def test_each_refusal_has_its_reason(code: str, share: float, inventory: GpuInventory, memory: float) -> None:
    assert refused(share, inventory, memory=memory) == code


def test_settings_can_forbid_sharing_or_all() -> None:
    assert refused(0.5, GpuInventory((BIG,), DAEMON), sharing="whole") == "gpu-not-shared"
    assert refused(0.5, GpuInventory((BIG,)), sharing="off") == "gpu-off"
    assert isinstance(assign(GpuWish(0.1), GpuInventory((SLICED,)), [], "whole"), GpuGrant)


def test_a_full_device_is_full_and_a_gone_one_does_not_count() -> None:
    inventory = GpuInventory((BIG,), DAEMON)
    whole = GpuGrant("GPU-big", WHOLE, 1.0, 80 * GIB)
    assert refused(0.1, inventory, whole) == "gpu-full"
    assert refused(1.0, inventory, GpuGrant("GPU-big", MPS, 0.1, 8 * GIB)) == "gpu-full"
    assert given_for(1.0, inventory, GpuGrant("GPU-gone", WHOLE, 1.0)).key == "GPU-big"


_DEVICES = st.lists(st.sampled_from([BIG, SMALL, SLICED, AMD]), unique=True, max_size=4).map(tuple)
_WISHES = st.lists(
    st.tuples(st.floats(0.01, 1.0), st.sampled_from([0.0, 4 * GIB, 30 * GIB]), st.booleans()), max_size=25
)


@given(_DEVICES, _WISHES, st.sampled_from([None, DAEMON]))
def test_nothing_is_promised_twice_whoever_comes_and_goes(
    devices: tuple[GpuDevice, ...], wishes: list[tuple[float, float, bool]], mps: MpsDaemon | None
) -> None:
    inventory, holdings = GpuInventory(devices, mps), []
    for number, (share, memory, leaves) in enumerate(wishes):
        grant = assign(GpuWish(share, memory), inventory, holdings)
        if isinstance(grant, GpuGrant):
            assert grant.share >= share - 1e-6
            holdings.append(GpuHolding(GhostId(f"g{number}"), grant))
        if leaves and holdings:
            holdings.pop(0)
        for device in devices:
            grants = [holding.grant for holding in holdings if holding.grant.key == device.key]
            slices = [one.mig for one in grants]
            if device.mig:
                assert all(slices) and len(set(slices)) == len(slices)
                continue
            assert sum(one.share for one in grants) <= 1 + 1e-5
            assert sum(one.memory_bytes for one in grants) <= device.memory_bytes + 30
            assert len(grants) == 1 or all(one.way != WHOLE for one in grants)


def test_changes_and_lost_grants_are_told() -> None:
    before, after = GpuInventory((BIG, SLICED)), GpuInventory((SLICED, SMALL), DAEMON)
    assert changes(before, after) == (
        "GPU Big (GPU-big) is gone",
        "GPU Small (GPU-small) appeared",
        "the MPS daemon runs now",
    )
    holdings = held(GpuGrant("GPU-big", WHOLE, 1.0), GpuGrant("GPU-mig", MIG, 1 / 7, mig="MIG-2"))
    assert [holding.grant.key for holding in lost(after, holdings)] == ["GPU-big"]
    assert len(lost(GpuInventory((GpuDevice("GPU-mig", "nvidia", "nvidia", "Sliced", mig=True),)), holdings)) == 2


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "not json", '{"key": "x", "way": "magic", "share": 0.5}', '{"key": 1}']
)
def test_a_record_that_holds_no_grant_gives_none(text: str) -> None:
    assert grant_from_text(text) is None


def test_a_grant_comes_back_from_its_record() -> None:
    grant = GpuGrant("GPU-mig", MIG, 1 / 7, 10 * GIB, "MIG-2")
    assert grant_from_text(grant_to_text(grant)) == grant
    assert grant_to_text(None) == ""

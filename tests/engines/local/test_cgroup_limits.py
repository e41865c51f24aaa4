"""Limits and priorities as the kernel's documents want them written, and what is beyond the machine."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local.cgroup_limits import (
    BlockDevice,
    LimitFile,
    checked,
    v1_limits,
    v1_memory,
    v2_limits,
    v2_memory,
)
from ghostdesk.kernel.resources import MIB, NOTHING, Priority, Resources

SOME = Resources(cpu_cores=1.5, memory_bytes=1000 * MIB, storage_bytes_per_s=5e6)
DISK = BlockDevice(8, 0)


def files(rules: object) -> dict[str, str]:
    assert hasattr(rules, "__iter__")
    return {file.name: file.value for file in rules if isinstance(file, LimitFile)}


def test_a_persons_limits_in_v2() -> None:
    assert files(v2_limits(SOME, DISK, Priority.PERSON, 8)) == {
        "cpu.max": "150000 100000", "cpu.idle": "0", "cpu.weight": "150",
        "io.weight": "default 100", "io.bfq.weight": "100", "io.prio.class": "no-change",
        "io.max": "8:0 rbps=5000000 wbps=5000000",
    }  # fmt: skip
    assert files(v2_memory(SOME)) == {
        "memory.high": str(900 * MIB), "memory.max": str(1000 * MIB), "memory.swap.max": str(1000 * MIB)
    }  # fmt: skip


def test_a_persons_limits_in_v1() -> None:
    assert files(v1_limits(SOME, DISK, Priority.PERSON, 8)) == {
        "cpu.cfs_quota_us": "150000", "cpu.idle": "0", "cpu.shares": "1536",
        "blkio.weight": "500", "blkio.bfq.weight": "100", "blkio.prio.class": "no-change",
        "blkio.throttle.read_bps_device": "8:0 5000000", "blkio.throttle.write_bps_device": "8:0 5000000",
    }  # fmt: skip


def test_without_limits() -> None:
    v2 = files(v2_limits(NOTHING, None, Priority.PERSON, 8)) | files(v2_memory(NOTHING))
    assert (v2["cpu.max"], v2["cpu.weight"], v2["memory.max"]) == ("max 100000", "800", "max")
    assert "io.max" not in v2
    v1 = files(v1_limits(NOTHING, DISK, Priority.PERSON, 8)) | files(v1_memory(NOTHING, 5))
    assert (v1["cpu.cfs_quota_us"], v1["cpu.shares"]) == ("-1", "8192")
    assert (v1["memory.limit_in_bytes"], v1["memory.memsw.limit_in_bytes"]) == ("-1", "-1")
    assert v1["blkio.throttle.read_bps_device"] == "8:0 0"


@pytest.mark.parametrize("rules", [v1_limits, v2_limits])
def test_a_ghost_yields_and_a_claim_lifts_it_with_one_write_a_file(rules: object) -> None:
    assert callable(rules)
    ghost, person = list(rules(SOME, DISK, Priority.GHOST, 8)), list(rules(SOME, DISK, Priority.PERSON, 8))
    lowest = {file.name: file.value for file in ghost}
    assert lowest["cpu.idle"] == "1"
    assert next(file for file in ghost if file.name in {"cpu.weight", "cpu.shares"}).only_without == "cpu.idle"
    assert any(value == "idle" for name, value in lowest.items() if name.endswith("prio.class"))
    names = [file.name for file in person]
    assert len(names) == len(set(names))
    # The kernel refuses a weight while the group is idle.
    assert names.index("cpu.idle") < min(i for i, name in enumerate(names) if name in {"cpu.weight", "cpu.shares"})


@given(before=st.integers(4, 1000), after=st.integers(0, 1000))
def test_v1_memory_and_swap_together_are_never_below_memory_alone(before: int, after: int) -> None:
    """As the kernel checks it after each single write."""
    hard, both = before, 2 * before
    for file in v1_memory(Resources(memory_bytes=after), before):
        value = int(file.value) if int(file.value) >= 0 else 10**18
        if file.name == "memory.limit_in_bytes":
            hard = value
        elif file.name == "memory.memsw.limit_in_bytes":
            both = value
        assert hard <= both


def test_what_is_beyond_the_machine_is_cut_and_said() -> None:
    limits, cut = checked(Resources(64, 1e15, 0, math.inf, 5e6), 8, 1000 * MIB)
    assert limits == Resources(8, 1000 * MIB, 0, 0, 5e6)
    assert cut["cpu"] == "cpu: 64 cores cut to the 8 of this machine"
    assert "cut to the 1000 MiB of this machine" in cut["memory"]
    assert "endless" in checked(Resources(memory_bytes=math.inf), 8, 1000 * MIB)[1]["memory"]
    assert checked(SOME, 8, 1e12) == (SOME, {})
    tiny, cut = checked(Resources(memory_bytes=1), 8, 1e12)
    assert tiny.memory_bytes == 4 * MIB
    assert "raised" in cut["memory"]


def test_limits_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="the network limit -1 is below zero"):
        checked(Resources(network_bytes_per_s=-1), 8, 1e12)

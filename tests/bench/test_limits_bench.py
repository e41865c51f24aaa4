"""How the load's own notes become speeds and the moment from which all of a resource was there."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.bench.desk import BenchError
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.inside import entrances_of, first_process
from ghostdesk.bench.limits import LimitsReport, Loaded, rate_between, ready_at


def steady(begin_s: float, end_s: float, rate: float, done: float = 0.0) -> list[tuple[float, float]]:
    """Notes every 10 ms."""
    count = round((end_s - begin_s) * 100)
    return [(begin_s + i / 100, done + rate * i / 100) for i in range(count + 1)]


def test_speeds_between_two_moments() -> None:
    events = steady(0, 2, 50)
    assert rate_between(events, 0.5, 1.5) == pytest.approx(50)
    assert rate_between(events, 0.503, 1.498) == pytest.approx(50)  # between notes in proportion
    assert rate_between(events, 1, 1) == 0
    assert rate_between([], 0, 1) == 0


def test_ready_is_where_full_speed_begins() -> None:
    """Limited until 1 s, claimed then, a gap of 30 ms, then at full speed."""
    slow = steady(0, 1, 10)
    fast = steady(1.03, 2, 100, done=slow[-1][1])
    assert ready_at(slow + fast, 1.0, 100, 0.05) == pytest.approx(1.03, abs=0.006)
    assert ready_at(slow + fast, 1.5, 100, 0.05) == 1.5  # there already
    assert ready_at(slow, 0.5, 100, 0.05) is None
    assert ready_at([], 0.5, 100, 0.05) is None


@given(st.floats(0.0, 0.5), st.floats(0.0, 0.2))
def test_ready_is_never_before_the_claim_nor_long_before_full_speed(claim_s: float, late_s: float) -> None:
    slow = steady(0, claim_s, 10)
    fast = steady(claim_s + late_s, claim_s + late_s + 1, 100, done=slow[-1][1])
    at_s = ready_at(slow + fast, claim_s, 100, 0.05)
    assert at_s is not None
    assert claim_s <= at_s <= claim_s + late_s + 0.011
    assert at_s >= claim_s + late_s - 0.02


MOUNTS = (
    "31 20 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


def test_a_load_joins_every_group_of_the_ghost() -> None:
    groups = "5:cpu,cpuacct:/g.g1\n4:memory:/g/g1\n3:devices:/\n1:name=systemd:/\n0::/g/g1/desk\n"
    tree = Path("/sys/fs/cgroup")
    assert entrances_of(7, groups, MOUNTS) == [
        tree / "cpu,cpuacct/g.g1/cgroup.procs",
        tree / "memory/g/g1/cgroup.procs",
        tree / "unified/g/g1/desk/cgroup.procs",
    ]
    with pytest.raises(BenchError, match="Process 7 is in no control group"):
        entrances_of(7, "0::/\n", MOUNTS)


def test_ghosts_without_a_uid_of_their_own_cannot_be_loaded() -> None:
    with pytest.raises(BenchError, match="own uid"):
        first_process(os.geteuid())


def test_the_report_sums_up_what_was_seen() -> None:
    here = Provenance("cpu", 2, 1, "Linux", "2026-01-01", "bench")
    rounds = tuple(
        Loaded("cpu", n, 0.2, 0.19, 1.0, "cores", 0.003, 0.001, ready) for n, ready in ((1, 0.01), (2, None))
    )
    report = LimitsReport(here, 2, rounds)
    assert report.resources() == ("cpu",)
    ready = report.of("cpu", lambda each: each.ready_s)
    assert ready is not None
    assert (ready.n, ready.median) == (1, 0.01)
    assert report.of("storage", lambda each: each.lifted) is None

"""Reclaim goes on until the counters say that no more can go; the deciding part alone, and on files that say so."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local.reclaim import (
    PASSES_AT_MOST,
    SETTLED_BYTES,
    SHARED_FILES_BYTES,
    Counters,
    NoGroup,
    V1Group,
    V2Group,
    judge,
    reclaim,
)
from ghostdesk.kernel.resources import GIB, MIB


@dataclass
class FakeGroup:
    """Lets go of `steps` bytes, pass by pass."""

    held_bytes: int
    steps: Sequence[int]
    files_bytes: int = 0
    swap_free_bytes: int = GIB
    asked: list[bool] = field(default_factory=list)

    def counters(self) -> Counters:
        return Counters(self.held_bytes, self.files_bytes, self.files_bytes, 0, self.swap_free_bytes)

    def let_go(self, amount: int) -> None:
        amount = min(amount, self.held_bytes, self.swap_free_bytes)
        self.held_bytes -= amount
        self.swap_free_bytes -= amount

    def reclaim(self, *, files: bool) -> bool:
        self.asked.append(files)
        self.files_bytes = 0 if files else self.files_bytes
        self.let_go(self.steps[len(self.asked) - 1] if len(self.asked) <= len(self.steps) else 0)
        return True


def test_it_is_asked_again_until_all_is_out() -> None:
    group = FakeGroup(100 * MIB, [60 * MIB, 20 * MIB, 50 * MIB])
    done = reclaim(group, [], lambda _: 0)
    assert (done.verdict.code, done.after.anonymous_bytes, done.passes) == ("all", 0, 4)


def test_the_processes_come_first_and_may_be_enough() -> None:
    group = FakeGroup(100 * MIB, [])
    done = reclaim(group, [1, 2], lambda _: group.let_go(50 * MIB) or 0)
    assert done.verdict.code == "all"
    assert not group.asked


def test_the_ghosts_own_page_cache_goes_too() -> None:
    group = FakeGroup(100 * MIB, [], files_bytes=5 * MIB)
    done = reclaim(group, [1], lambda _: group.let_go(100 * MIB) or 0)
    assert (done.verdict.code, done.after.file_bytes, group.asked) == ("all", 0, [True])


def test_a_full_swap_ends_it_with_the_reason() -> None:
    group = FakeGroup(100 * MIB, [100 * MIB] * 9, swap_free_bytes=30 * MIB)
    done = reclaim(group, [], lambda _: 0)
    assert done.verdict.code == "swap-full"
    assert "70.0 MiB stay in RAM" in done.verdict.text


def test_files_that_all_desktops_map_are_not_taken_from_under_them() -> None:
    group = FakeGroup(100 * MIB, [MIB] * 9, files_bytes=SHARED_FILES_BYTES + 1)
    reclaim(group, [], lambda _: 0)
    assert not any(group.asked)


@given(st.integers(0, GIB), st.lists(st.integers(0, GIB), max_size=12), st.integers(0, GIB), st.integers(0, 100 * MIB))
def test_it_ends_and_says_why(held: int, steps: list[int], free: int, files: int) -> None:
    group = FakeGroup(held, steps, files, free)
    done = reclaim(group, [], lambda _: 0)
    assert done.passes <= PASSES_AT_MOST + 1, "one more for the page cache"
    assert group.files_bytes in (0, files) and (files > SHARED_FILES_BYTES or group.files_bytes <= SETTLED_BYTES)
    assert not done.verdict.again
    assert done.verdict.text
    assert done.after.anonymous_bytes <= done.before.anonymous_bytes
    assert (done.verdict.code == "all") == (done.after.anonymous_bytes <= SETTLED_BYTES)


@given(st.integers(0, GIB), st.integers(0, GIB), st.integers(0, GIB), st.integers(1, 20))
def test_no_pass_follows_one_that_brought_nothing(before: int, after: int, free: int, passes: int) -> None:
    verdict = judge(Counters(before), Counters(after, swap_free_bytes=free), passes)
    if verdict.again:
        assert after > SETTLED_BYTES and free >= SETTLED_BYTES and passes < PASSES_AT_MOST
        assert passes == 1 or before - after >= SETTLED_BYTES


def test_v1_counts_shared_memory_once(tmp_path: Path) -> None:
    (tmp_path / "memory.stat").write_text(
        "rss 1\ntotal_cache 900\ntotal_rss 1000\ntotal_shmem 200\ntotal_mapped_file 500\n"
        "total_swap 70\nhierarchical_limit max\n"
    )
    found = V1Group(tmp_path).counters()
    assert (found.anonymous_bytes, found.mapped_file_bytes, found.file_bytes) == (1200, 300, 700)
    assert found.swapped_bytes == 70
    (tmp_path / "memory.force_empty").write_text("")
    assert not V1Group(tmp_path).reclaim(files=False), "it knows no difference"
    assert V1Group(tmp_path).reclaim(files=True)


def test_v2_asks_for_what_is_anonymous_alone_where_files_must_stay(tmp_path: Path) -> None:
    (tmp_path / "memory.stat").write_text("anon 1000\nfile 900\nshmem 200\nfile_mapped 500\n")
    (tmp_path / "memory.swap.current").write_text("70\n")
    (tmp_path / "memory.reclaim").write_text("")
    group = V2Group(tmp_path)
    assert group.counters() == Counters(1200, 300, 700, 70, group.counters().swap_free_bytes)
    assert group.reclaim(files=True)
    assert (tmp_path / "memory.reclaim").read_text() == "1900"
    assert group.reclaim(files=False)
    assert (tmp_path / "memory.reclaim").read_text().startswith("1200 swappiness=max")


@pytest.mark.parametrize("kind", [V1Group, V2Group])
def test_a_group_that_vanished_holds_nothing(tmp_path: Path, kind: type[V1Group | V2Group]) -> None:
    group = kind(tmp_path / "gone")
    assert group.counters().anonymous_bytes == 0
    assert not group.reclaim(files=True)
    assert reclaim(group, [2**22 - 1]).verdict.code == "all"


def test_without_a_group_the_processes_are_counted() -> None:
    import os

    assert NoGroup((os.getpid(),)).counters().anonymous_bytes > MIB
    assert not NoGroup(()).reclaim(files=True)

"""What is loaded within a budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.choose_files import FileBudget, choose_files
from ghostdesk.prefetch.next_files import LikelyFile


def likely(path: str, probability: float, size_bytes: int) -> LikelyFile:
    return LikelyFile(path, AppId("writer"), probability, size_bytes, "recent-file", "opened lately")


def test_what_spares_most_time_per_byte_comes_first() -> None:
    budget = FileBudget(1000, wait_s=0.1, read_bytes_per_s=1e6)
    choice = choose_files([likely("large", 0.6, 900), likely("small", 0.5, 100), likely("tiny", 0.1, 10)], budget)
    assert [one.path for one in choice.files] == ["tiny", "small"]
    assert choice.left_out == (("budget", 1),)
    assert choice.size_bytes == 110
    assert choice.files[1].saved_s == 0.5 * (0.1 + 100 / 1e6)


def test_what_is_unlikely_or_too_large_is_left_out_with_a_reason() -> None:
    budget = FileBudget(1e6, largest_bytes=1000, least_probability=0.2)
    choice = choose_files([likely("a", 0.1, 10), likely("b", 0.9, 2000), likely("c", 0.3, 10)], budget)
    assert [one.path for one in choice.files] == ["c"]
    assert choice.left_out == (("too-large", 1), ("unlikely", 1))
    assert choice.files[0].text == "opened lately, 30% likely in this session"


def test_an_empty_file_costs_nothing() -> None:
    assert [one.path for one in choose_files([likely("empty", 0.5, 0)], FileBudget(0)).files] == ["empty"]


files = st.lists(st.builds(likely, st.text("ab", min_size=1), st.floats(0, 1), st.integers(0, 10_000)), max_size=30)


@given(files, st.floats(0, 30_000), st.integers(0, 10))
def test_no_budget_is_ever_exceeded(found: list[LikelyFile], most_bytes: float, most_files: int) -> None:
    choice = choose_files(found, FileBudget(most_bytes, most_files, largest_bytes=5000))
    assert choice.size_bytes <= most_bytes
    assert len(choice.files) <= most_files
    assert len(choice.files) + sum(count for _, count in choice.left_out) == len(found)

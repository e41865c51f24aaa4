"""Wishes that were not granted: few are listed as they are, many are grouped, none is lost."""

import hypothesis.strategies as st
from hypothesis import given

from ghostdesk.allocator.reasons import Infeasible, Reason, grouped

ENTRIES = st.lists(
    st.builds(
        Infeasible,
        st.sampled_from(("a", "b", "c")),
        st.builds(Reason, st.sampled_from("uvwxyz"), st.just("because")),
        st.sampled_from(("", "desktops", "memory_bytes")),
        st.floats(0, 1e9),
        st.floats(0, 1e9),
    ),
    max_size=60,
)


@given(ENTRIES, st.integers(1, 30))
def test_never_more_than_asked_for_and_every_wish_is_counted(entries: list[Infeasible], most: int) -> None:
    found = grouped(entries, most)
    assert len(found) <= most or len(entries) <= most
    assert len(found) <= max(most, 0) or found == tuple(entries)
    assert sum(entry.count for entry in found) == len(entries)
    assert all(entry.reason.code and entry.reason.text for entry in found)


def test_a_group_names_three_and_counts_the_rest() -> None:
    entries = [
        Infeasible(f"a desktop for u{n}", Reason("department-quota", "the quota is 5"), "desktops", 1, 0)
        for n in range(500)
    ]
    (one,) = grouped(entries, 10)
    assert one.wish == "a desktop for u0, a desktop for u1, a desktop for u2 and 497 more"
    assert (one.count, one.asked, one.reason.code) == (500, 500, "department-quota")


def test_few_stay_as_they_are() -> None:
    entries = (Infeasible("a", Reason("x", "y")), Infeasible("b", Reason("x", "y")))
    assert grouped(entries, 2) == entries

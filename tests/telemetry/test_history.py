"""Histories: sorted, sliced and filtered."""

from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.history import History

EVENTS = st.builds(
    UsageEvent,
    st.floats(0, 100),
    st.sampled_from(EventKind),
    st.sampled_from([None, UserId("ada"), UserId("bob")]),
)


@given(st.lists(EVENTS, max_size=30), st.floats(0, 100), st.floats(0, 100))
def test_it_is_sorted_and_slices_are_half_open(events: list[UsageEvent], start_s: float, end_s: float) -> None:
    history = History.of(events)
    assert [e.time_s for e in history] == sorted(e.time_s for e in events)
    assert list(history.between(start_s, end_s)) == [e for e in history if start_s <= e.time_s < end_s]


@given(st.lists(EVENTS, max_size=30))
def test_filters_keep_the_order(events: list[UsageEvent]) -> None:
    history = History.of(events)
    assert set(history.users()) == {e.user for e in events if e.user}
    assert list(history.of_user(UserId("ada"))) == [e for e in history if e.user == "ada"]
    assert list(history.of_kind(EventKind.CPU)) == [e for e in history if e.kind is EventKind.CPU]
    assert len(history) == len(events)

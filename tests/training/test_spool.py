"""The partitioned sort: nothing lost, each person in order, and one person's flood bounded."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.training.spool import EventSpool

NOW_S = 1.7e9
_EVENTS = st.builds(
    UsageEvent,
    time_s=st.integers(0, 500).map(lambda second: NOW_S - 1000.0 + second),
    kind=st.sampled_from([EventKind.APP_FOCUS, EventKind.CPU, EventKind.SIGN_IN, EventKind.FILE_OPENED]),
    user=st.sampled_from([UserId(f"u{i}") for i in range(90)]),
    app=st.none() | st.sampled_from([AppId("a"), AppId("b")]),
    value=st.none() | st.floats(0, 1e12),
    detail=st.none() | st.sampled_from(["text/plain", "x"]),
    source=st.just("spool"),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_EVENTS, max_size=120))
def test_everyone_gets_their_events_back_in_order(events: list[UsageEvent]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spool = EventSpool(Path(folder), NOW_S)
        for event in events:
            spool.add(event)
        assert spool.finish().events == len(events)
        found = {user: list(own) for user, own in spool.people()}
    expected: dict[UserId, list[UsageEvent]] = {}
    for event in sorted(events, key=lambda one: one.time_s):  # stable: equal times keep their order
        assert event.user is not None
        expected.setdefault(event.user, []).append(event)
    assert found == expected


def test_of_one_persons_flood_the_latest_are_kept_and_others_are_not_touched(tmp_path: Path) -> None:
    spool = EventSpool(tmp_path, NOW_S, most_events=50)
    for second in range(30_000):
        spool.add(UsageEvent(NOW_S - 30_000 + second, EventKind.ACTIVE, UserId("flood")))
        if second % 1000 == 0:
            spool.add(UsageEvent(NOW_S - second, EventKind.ACTIVE, UserId("calm")))
    spool.finish()
    found = {user: [event.time_s for event in own] for user, own in spool.people()}
    assert found[UserId("flood")] == [NOW_S - 50 + i for i in range(50)]
    assert len(found[UserId("calm")]) == 30


def test_wrong_clocks_and_events_of_nobody_are_left_out_and_counted(tmp_path: Path) -> None:
    spool = EventSpool(tmp_path, NOW_S)
    spool.add(UsageEvent(NOW_S + 2 * 86_400, EventKind.ACTIVE, UserId("ada")))
    spool.add(UsageEvent(-5.0, EventKind.ACTIVE, UserId("ada")))
    spool.add(UsageEvent(NOW_S, EventKind.DESKTOP_STATE, None, desktop="pc1", detail="in-use"))
    spool.add(UsageEvent(NOW_S + 3600, EventKind.ACTIVE, UserId("ada")))
    spooled = spool.finish()
    assert (spooled.events, spooled.not_sane, spooled.users) == (1, 2, 1)


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    from ghostdesk.kernel.errors import ConfigError

    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        EventSpool(tmp_path / "file" / "spool", NOW_S)

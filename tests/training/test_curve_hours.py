"""Hourly means out of events: who is kept, which hours, and what odd events do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.training import curve_hours
from ghostdesk.training.curve_hours import HOURS_KEPT, CurveHours
from ghostdesk.training.sources import HistorySource, ReadNotes

ADA, BOB = UserId("ada"), UserId("bob")
HOUR = 3600.0
FIRST = 480_000
NOW_S = (FIRST + 1000) * HOUR


def cpu(user: UserId, hour: float, value: float) -> UsageEvent:
    return UsageEvent((FIRST + hour) * HOUR, EventKind.CPU, user, value=value)


def collected(*events: UsageEvent) -> CurveHours:
    hours = CurveHours(NOW_S)
    for event in events:
        hours.add(event)
    return hours


def test_hours_are_means_of_their_samples_in_any_order() -> None:
    events = [cpu(ADA, 2.5, 4.0), cpu(ADA, 0.1, 1.0), cpu(ADA, 2.1, 2.0), cpu(BOB, 1.0, 7.0)]
    for order in (events, events[::-1]):
        rows, first = collected(*order).hourly("cpu_cores")
        assert first == FIRST
        ada, bob = sorted(rows.tolist(), key=lambda row: np.isnan(row[0]))
        assert ada == pytest.approx([1.0, np.nan, 3.0], nan_ok=True)
        assert bob == pytest.approx([np.nan, 7.0, np.nan], nan_ok=True)


def test_only_whole_desktops_of_people_who_are_there_count() -> None:
    hours = collected(
        UsageEvent(NOW_S, EventKind.CPU, ADA, AppId("mail"), 1.0),
        UsageEvent(NOW_S, EventKind.SIGN_OUT, ADA),
        UsageEvent(NOW_S + 1, EventKind.CPU, ADA, value=1.0),
        UsageEvent(NOW_S, EventKind.CPU, None, value=1.0),
    )
    assert (hours.events, hours.samples) == (4, 0)
    assert hours.hourly("cpu_cores")[0].shape == (0, 0)


def test_a_wrong_clock_does_not_move_everyones_hours() -> None:
    people = [UserId(f"p{n}") for n in range(5)]
    events = [cpu(user, hour, 1.0) for user in people for hour in range(100)]
    hours = collected(*events, cpu(ADA, 990, 1.0), cpu(BOB, 5000, 1.0))
    rows, first = hours.hourly("cpu_cores")
    assert BOB not in hours.people(), "more than a day ahead of the clock"
    assert first == FIRST
    assert (~np.isnan(rows)).sum() == 500


def test_five_weeks_are_kept() -> None:
    rows, first = collected(*(cpu(ADA, hour, 1.0) for hour in range(HOURS_KEPT + 50))).hourly("cpu_cores")
    assert rows.shape == (1, HOURS_KEPT)
    assert first == FIRST + 50


def test_of_many_people_the_same_few_are_kept_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve_hours, "MOST_PEOPLE", 10)
    events = [cpu(UserId(f"p{n}"), 1.0, 1.0) for n in range(40)]
    one, other = collected(*events), collected(*events[::-1])
    assert one.people() == other.people()
    assert len(one.people()) == 10
    assert one.digest() == other.digest() != collected(*events[:3]).digest()


def test_listening_changes_nothing_of_what_is_read() -> None:
    events = [cpu(ADA, 1.0, 1.0), UsageEvent(NOW_S, EventKind.SIGN_IN, BOB)]
    source = HistorySource("a list", lambda: "same", lambda _notes: iter(events))
    hours = CurveHours(NOW_S)
    assert list(hours.listening(source).events(ReadNotes())) == events
    assert (hours.events, hours.samples) == (2, 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([ADA, BOB]), st.integers(-2000, 990), st.floats(0, 1e9)), max_size=40))
def test_what_is_kept_is_what_a_plain_table_would_hold(samples: list[tuple[UserId, int, float]]) -> None:
    hours = collected(*(cpu(user, hour, value) for user, hour, value in sorted(samples, key=lambda s: s[1])))
    rows, first = hours.hourly("cpu_cores")
    if not samples:
        assert rows.size == 0
        return
    latest = {user: max(h for u, h, _ in samples if u == user) for user in (u for u, _, _ in samples)}
    end = 1 + min(max(latest.values()), int(np.median(list(latest.values())) + 14 * 24))
    expected = {}
    for user, last in latest.items():
        plain: dict[int, list[float]] = {}
        for one, hour, value in samples:
            if one == user and max(last, end - 1) - HOURS_KEPT < hour < end:
                plain.setdefault(hour, []).append(value)
        if plain:
            expected[user] = {hour: float(np.mean(values)) for hour, values in plain.items()}
    found = [
        {first - FIRST + place: value for place, value in enumerate(row) if not np.isnan(value)}
        for row in rows.tolist()
    ]
    for own in expected.values():
        assert any(own == pytest.approx(one, rel=1e-5) for one in found)
    assert len(found) == len(expected)

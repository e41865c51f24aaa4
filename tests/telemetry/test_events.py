"""Events: what is refused, and when two are the same."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.telemetry.events import SOURCE_OF, EventKind, UsageEvent

TIMES_S = st.floats(0, 4e9)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_must_be_finite(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        UsageEvent(number, EventKind.ACTIVE)
    with pytest.raises(ValueError, match="finite"):
        UsageEvent(1.0, EventKind.CPU, value=number)


@given(TIMES_S, st.sampled_from(EventKind))
def test_the_same_event_from_two_sources_has_one_key(time_s: float, kind: EventKind) -> None:
    one = UsageEvent(time_s, kind, UserId("ada"), source="agent")
    two = UsageEvent(time_s, kind, UserId("ada"), source="csv")
    assert one.key() == two.key()
    assert len(one.key()) == 16


@given(TIMES_S)
def test_every_field_but_the_source_makes_another_event(time_s: float) -> None:
    base = UsageEvent(time_s, EventKind.APP_FOCUS, UserId("ada"))
    others = [
        UsageEvent(time_s + 0.01, EventKind.APP_FOCUS, UserId("ada")),
        UsageEvent(time_s, EventKind.APP_LAUNCH, UserId("ada")),
        UsageEvent(time_s, EventKind.APP_FOCUS, UserId("bob")),
        UsageEvent(time_s, EventKind.APP_FOCUS, UserId("ada"), AppId("gimp")),
        UsageEvent(time_s, EventKind.APP_FOCUS, UserId("ada"), desktop="gimp"),
        UsageEvent(time_s, EventKind.APP_FOCUS, UserId("ada"), value=1.0),
        UsageEvent(time_s, EventKind.APP_FOCUS, UserId("ada"), detail="gimp"),
    ]
    assert len({event.key() for event in (base, *others)}) == 8


def test_kinds_without_a_source_are_the_services_own() -> None:
    own = {EventKind.SIGN_IN, EventKind.SIGN_OUT, EventKind.DESKTOP_STATE}
    assert set(EventKind) - set(SOURCE_OF) == own

"""Usage curves over any window, what they ask for a ghost, and forgetting a person."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.history import History

ANN, BOB = UserId("ann"), UserId("bob")
DAY_S = 86_400.0
START_S = 1_704_700_800.0  # Monday, 2024-01-08 08:00 UTC


def workdays(user: UserId, days: int, app: str = "mail") -> list[UsageEvent]:
    events = []
    for day in range(days):
        at_s = START_S + day * DAY_S
        if day % 7 < 5:
            events += [
                UsageEvent(at_s, EventKind.SIGN_IN, user),
                UsageEvent(at_s + 60, EventKind.APP_LAUNCH, user, AppId(app)),
                UsageEvent(at_s + 120, EventKind.CPU, user, value=0.5 + 0.1 * (day % 5)),
                UsageEvent(at_s + 120, EventKind.MEMORY, user, value=1e9),
                UsageEvent(at_s + 600, EventKind.APP_LAUNCH, user, AppId("web")),
                UsageEvent(at_s + 7200, EventKind.SIGN_OUT, user),
            ]
    return events


def engine_of(events: list[UsageEvent], now_s: float) -> UserProfileEngine:
    engine = UserProfileEngine()
    engine.fit(History.of(events), now_s)
    return engine


@dataclass
class SomeGhost:
    state: str
    apps: tuple[AppId, ...] = ()


NOW_S = START_S + 28 * DAY_S - 1800.0


@given(st.integers(5, 48 * 60).map(lambda minutes: 60.0 * minutes), st.sampled_from([300.0, 900.0, 3600.0]))
def test_every_window_holds_proper_chances(horizon_s: float, slot_s: float) -> None:
    curve = ENGINE.usage_curve(ANN, NOW_S, horizon_s, slot_s)
    assert len(curve.presence) == len(curve.arrival) == -(-max(horizon_s, slot_s) // slot_s)
    assert all(0.0 <= p <= 1.0 for p in (*curve.arrival, *curve.presence))
    for slot, there in enumerate(curve.presence):
        assert sum(lane[slot] for lane in curve.in_use.values()) <= there + 1e-9
    assert curve.quantiles is not None
    assert set(curve.quantiles.amounts) == {"cpu_cores", "memory_bytes"}
    for slots in curve.quantiles.amounts.values():
        assert len(slots) == len(curve.presence)
        assert all(list(levels) == sorted(levels) for levels in slots)


ENGINE = engine_of(workdays(ANN, 28) + workdays(BOB, 28, "cad"), NOW_S)


def test_two_days_ahead_show_two_mornings() -> None:
    curve = ENGINE.usage_curve(ANN, NOW_S, 48 * 3600.0, 3600.0)
    mornings = [slot for slot, p in enumerate(curve.presence) if p > 0.5]
    assert any(slot < 4 for slot in mornings)
    assert any(24 <= slot < 28 for slot in mornings)
    assert curve.presence[14] < 0.3
    assert curve.in_use[AppId("mail")][1] > curve.in_use.get(AppId("cad"), (0.0,) * 48)[1]


def test_what_a_ghost_needs_follows_its_rung() -> None:
    curve = ENGINE.predict_resource_needs(ANN, NOW_S)
    active = curve.get_requirements_for(SomeGhost("active"))
    warm = curve.get_requirements_for(SomeGhost("warm", (AppId("mail"),)))
    ready = curve.get_requirements_for(SomeGhost("ready"))
    assert active.cpu_cores >= 0.7
    assert warm.memory_bytes == pytest.approx(1e9, rel=0.2)
    assert 0.0 < warm.cpu_cores < active.cpu_cores
    assert ready.memory_bytes <= warm.memory_bytes


def test_a_forgotten_person_is_as_unknown_as_anybody() -> None:
    engine = engine_of(workdays(ANN, 28, "secret") + workdays(BOB, 28, "cad"), NOW_S)
    never = engine_of(workdays(BOB, 28, "cad"), NOW_S)
    engine.predict_resource_needs(ANN, NOW_S)
    engine.forget(ANN)
    assert engine.users() == (BOB,)
    forgotten, unknown = engine.usage_curve(ANN, NOW_S, 7200.0, 300.0), never.usage_curve(ANN, NOW_S, 7200.0, 300.0)
    assert "secret" not in {a.app for a in forgotten.apps} | set(forgotten.in_use)
    assert forgotten.arrival == pytest.approx(unknown.arrival, rel=0.05)
    assert forgotten.resources.as_tuple() == pytest.approx(unknown.resources.as_tuple(), rel=0.01)
    assert forgotten.reasons[0] == unknown.reasons[0]
    bob, same = (one.predict_resource_needs(BOB, NOW_S) for one in (engine, never))
    assert bob.arrival == pytest.approx(same.arrival, rel=0.05)
    engine.forget(UserId("nobody"))
    engine.observe(UsageEvent(NOW_S, EventKind.SIGN_IN, ANN))
    assert engine.users() == (BOB, ANN)

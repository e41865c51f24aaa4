"""What forecasting costs: an event taken in, a tick for everybody, bytes a user. The people are synthetic."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.telemetry.events import EventKind, UsageEvent

START_S = 1_704_067_200.0
DAY_S = 86_400.0
_APPS = tuple(AppId(f"app{n}") for n in range(40))
_DEEP_USERS = 40
_DEEP_EVENTS = 400
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick's forecasts for so many synthetic users.

    Args:
        users: how many.
        slots: steps of each curve.
        tick_s: the median of five ticks.
        new_slot_s: the first tick in a new half hour, when every habit is read anew.
        hot_bytes: of the arrays that a tick reads, a user.
    """

    users: int
    slots: int
    tick_s: float
    new_slot_s: float
    hot_bytes: float


@dataclass(frozen=True, slots=True)
class ForecastCost:
    """All that was measured. `absorb_s` are single events of people with a long past; `curve_s` single curves."""

    absorb_s: tuple[float, ...]
    curve_s: tuple[float, ...]
    person_bytes: float
    ticks: tuple[Tick, ...]
    people: str = "synthetic"


def measure(users: Sequence[int], seed: int, told: Callable[[str], None]) -> ForecastCost:
    """Measure everything; `told` hears what is under way."""
    told("learning the past of a few synthetic people")
    absorb_s, curve_s, person_bytes = _deep(seed)
    ticks = []
    for count in users:
        told(f"{count:,} synthetic users")
        ticks.append(_tick(count, seed))
    return ForecastCost(absorb_s, curve_s, person_bytes, tuple(ticks))


def _deep(seed: int) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Times of single events and curves of people with hundreds of events, and the bytes that such a person takes."""
    rng = np.random.default_rng(seed)
    engine = UserProfileEngine()
    people = [UserId(f"synthetic{n}") for n in range(_DEEP_USERS)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(_DEEP_EVENTS):
        for event in _events(rng, people, START_S + number * 1800.0):
            engine.observe(event)
    person_bytes = (tracemalloc.get_traced_memory()[0] - before) / _DEEP_USERS
    tracemalloc.stop()
    absorb_s, curve_s = [], []
    for number in range(_DEEP_EVENTS, _DEEP_EVENTS + 25):
        now_s = START_S + number * 1800.0
        for event in _events(rng, people, now_s):
            began = time.perf_counter()
            engine.observe(event)
            absorb_s.append(time.perf_counter() - began)
        engine.outlook(now_s + 60.0)
        for user in people[:4]:
            began = time.perf_counter()
            engine.predict_resource_needs(user, now_s + 60.0)
            curve_s.append(time.perf_counter() - began)
    return tuple(absorb_s), tuple(curve_s), person_bytes


def _events(rng: np.random.Generator, people: Sequence[UserId], now_s: float) -> list[UsageEvent]:
    """Each person turns to an application: mostly back to a few of their own."""
    picks = np.minimum(rng.geometric(0.25, len(people)) + rng.integers(0, 3, len(people)), len(_APPS)) - 1
    return [
        UsageEvent(now_s + i * 0.01, EventKind.APP_FOCUS, user, _APPS[(pick * 7 + i) % len(_APPS)])
        for i, (user, pick) in enumerate(zip(people, picks, strict=True))
    ]


def _tick(count: int, seed: int) -> Tick:
    rng = np.random.default_rng(seed)
    engine = UserProfileEngine()
    starts = rng.uniform(7, 19, (count, 3)) * 3600.0 + rng.integers(0, 21, (count, 3)) * DAY_S
    for number, times in enumerate(starts.tolist()):
        user = UserId(f"synthetic{number}")
        for time_s in sorted(times):
            engine.observe(UsageEvent(START_S + time_s, EventKind.SIGN_IN, user))
    now_s = START_S + 28 * DAY_S + 9 * 3600.0
    began = time.perf_counter()
    outlook = engine.outlook(now_s)
    new_slot_s = time.perf_counter() - began
    times_s = []
    for number in range(1, _TICKS + 1):
        began = time.perf_counter()
        engine.outlook(now_s + 5.0 * number)
        times_s.append(time.perf_counter() - began)
    return Tick(count, outlook.arrival.shape[1], float(np.median(times_s)), new_slot_s, engine.hot_bytes() / count)

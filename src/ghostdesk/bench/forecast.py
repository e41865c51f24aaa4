"""What forecasting costs: an event taken in, a tick for everybody, bytes a user. The people are synthetic."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
_SUNDAY_S = START_S + 6 * DAY_S


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick's forecasts for so many synthetic users.

    Args:
        users: how many.
        slots: steps of each curve.
        tick_s: the median of five ticks in which two hundred users come or go.
        new_hour_s: the first tick after an hour is over: the mixture learns the hour, and every hazard is worked out.
        new_week_s: the same where a week is over too, and every habit fades.
        absorb_s: of single events between ticks, the 99 % quantile of a thousand.
        hot_bytes: of the arrays that a tick reads, a user, spare room included.
        peak_bytes: of the whole process so far, at most.
    """

    users: int
    slots: int
    tick_s: float
    new_hour_s: float
    new_week_s: float
    absorb_s: float
    hot_bytes: float
    peak_bytes: int


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
    """One synthetic Sunday night on which everybody comes once and leaves, and the Monday after it."""
    rng = np.random.default_rng(seed)
    engine = UserProfileEngine()
    users = [UserId(f"synthetic{number}") for number in range(count)]
    times_s = np.concatenate((came_s := np.sort(rng.uniform(21.0, 22.0, count)), came_s + 0.5)) * 3600.0 + _SUNDAY_S
    for event in np.argsort(times_s, kind="stable").tolist():
        kind = EventKind.SIGN_IN if event < count else EventKind.SIGN_OUT
        engine.observe(UsageEvent(float(times_s[event]), kind, users[event % count]))
    week_s = _SUNDAY_S + DAY_S
    engine.outlook(week_s + 10.0)
    engine.outlook(week_s + 65.0)
    began = time.perf_counter()
    engine.outlook(week_s + 3665.0)
    new_week_s = time.perf_counter() - began
    began = time.perf_counter()
    engine.outlook(week_s + 2 * 3600.0 + 65.0)
    new_hour_s = time.perf_counter() - began
    ticks_s, absorbed_s, now_s = [], [], week_s + 2 * 3600.0 + 100.0
    for number in range(_TICKS):
        for user in rng.choice(count, min(count, 200), replace=False).tolist():
            now_s += 0.02
            event = UsageEvent(now_s, EventKind.SIGN_OUT if number % 2 else EventKind.SIGN_IN, users[user])
            began = time.perf_counter()
            engine.observe(event)
            absorbed_s.append(time.perf_counter() - began)
        now_s += 1.0
        began = time.perf_counter()
        engine.outlook(now_s)
        ticks_s.append(time.perf_counter() - began)
    return Tick(
        users=count,
        slots=engine.outlook(now_s).arrival.shape[1],
        tick_s=float(np.median(ticks_s)),
        new_hour_s=new_hour_s,
        new_week_s=new_week_s,
        absorb_s=float(np.quantile(absorbed_s, 0.99)),
        hot_bytes=engine.hot_bytes() / count,
        peak_bytes=peak_memory_bytes(),
    )


def peak_memory_bytes() -> int:
    """The most memory that this process has held, from the kernel's own account of it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

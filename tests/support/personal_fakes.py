"""A fake of a person's own data (`control.personal_views.PersonalService`), in memory, with sample people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace

from ghostdesk.control.personal_views import (
    AppCurve,
    CalendarView,
    ConsentView,
    CurveView,
    ModeView,
    PersonalData,
    PlaceView,
    PreparationView,
    ResourceBands,
    mode_view,
)
from ghostdesk.kernel.errors import ConfigError, GhostdeskError, NotFound
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import GIB, MIB, Resources
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.likely_modes import Likely
from ghostdesk.profiles.modes import Mode
from ghostdesk.telemetry.consent import OPT_IN, SOURCE_TEXTS
from ghostdesk.telemetry.events import TelemetrySource

NOW_S = 1_795_509_000.0
HOSTILE = "<img src=x onerror=alert(1)>"
_NORMAL = (-1.96, -1.2816, -0.8416, -0.6745, -0.5244, -0.2533, 0, 0.2533, 0.5244, 0.6745, 0.8416, 1.2816, 1.96)
"""The standard normal's quantiles at `LEVELS`."""


def no_data() -> PersonalData:
    """Somebody new: nothing is stored, what must be chosen is off."""
    consents = tuple(
        ConsentView(source.value, text.label, text.what, source not in OPT_IN, True, 0, None, None)
        for source, text in SOURCE_TEXTS.items()
    )
    return PersonalData(consents, (), (), (), (), ())


def sample_data() -> PersonalData:
    """Somebody of three weeks: events of most sources, one source that the operator has switched off, two modes."""
    empty = no_data()
    first_s, last_s = NOW_S - 21 * 86_400, NOW_S - 300
    consents = tuple(
        replace(c, operator_allows=False, allowed=False)
        if c.source == "camera"
        else replace(c, events=1 + 400 * (8 - i), first_s=first_s, last_s=last_s)
        if c.source in ("applications", "focus", "resources", "mode")
        else c
        for i, c in enumerate(empty.consents)
    )
    editing = Mode(
        "Video editing", (AppId("org.kde.kdenlive"),), ("video/mp4",), Resources(cpu_cores=4, memory_bytes=6 * GIB)
    )
    reading = Mode("Light browsing", (AppId("firefox"), AppId("thunderbird")))
    return PersonalData(
        consents=consents,
        places=(),
        modes=(
            mode_view(editing, False, Likely(editing.name, 0.62, False, "Editing is likely at this hour (62%)")),
            mode_view(reading, True, Likely(reading.name, 0.61, True, "Reading is chosen")),
        ),
        calendars=(),
        prepared=(
            PreparationView(NOW_S - 3600, "a desktop", "you sign in by 08:30 on most Tuesdays"),
            PreparationView(NOW_S - 3500, "Thunderbird, Firefox", "they are the first you start on 9 of 10 mornings"),
        ),
        habits=(
            "You usually come on Monday to Friday between 08:00 and 09:00",
            "Thunderbird is mostly followed by Firefox",
        ),
    )


def sample_curve(horizon_s: float, names: dict[str, str] | None = None) -> CurveView:
    """A smooth made-up day, in slots of 5 minutes (of 15 beyond 12 hours)."""
    slot_s = 300.0 if horizon_s <= 43_200 else 900.0
    slots = int(horizon_s // slot_s)
    hours = [(i * slot_s / 3600) % 24 for i in range(slots)]
    there = [0.02 + 0.9 / (1 + math.exp(-4 * (h - 0.8))) / (1 + math.exp(1.5 * (h - 9))) for h in hours]
    arrival = [0.002 + 0.12 * math.exp(-(((h - 0.8) / 0.35) ** 2)) for h in hours]
    names = names or {"thunderbird": "Thunderbird", "firefox": "Firefox", "org.kde.kdenlive": "Kdenlive"}
    apps = []
    for i, (app, name) in enumerate(names.items()):
        use = tuple(p * (0.85 - 0.25 * i) * (1 + math.sin(h + 2 * i)) / 2 for h, p in zip(hours, there, strict=True))
        apps.append(AppCurve(AppId(app), name, 0.5 / (i + 1), use))

    def bands(middle: float, spread: float) -> ResourceBands:
        rows = tuple(tuple(middle * (1 + 0.4 * math.sin(h)) * math.exp(spread * z) for z in _NORMAL) for h in hours)
        return ResourceBands(LEVELS, rows)

    return CurveView(
        NOW_S,
        slot_s,
        tuple(arrival),
        tuple(there),
        tuple(apps),
        {"cpu_cores": bands(0.6, 0.5), "memory_bytes": bands(900 * MIB, 0.25), "network_bytes_per_s": bands(2e5, 0.8)},
        ("You usually sign in on Tuesdays between 08:00 and 09:00", "In the past 8 weeks you came on 7 of 8 Tuesdays"),
    )


class FakePersonal:
    """Keeps what it is told; `fail` makes every call raise, `calls` says what was asked, for whom."""

    def __init__(self) -> None:
        self.people: dict[UserId, PersonalData] = {}
        self.curves: dict[float, CurveView] = {}
        self.positions: dict[str, tuple[float, float] | None] = {}
        self.located: list[tuple[float, float]] = []
        self.calls: list[tuple[str, UserId]] = []
        self.fail: GhostdeskError | None = None

    def of(self, user: UserId) -> PersonalData:
        return self.people.setdefault(user, no_data())

    def _asked(self, what: str, user: UserId) -> PersonalData:
        self.calls.append((what, user))
        if self.fail is not None:
            raise self.fail
        return self.of(user)

    async def data(self, user: UserId) -> PersonalData:
        return self._asked("data", user)

    async def export(self, user: UserId) -> Iterator[str]:
        return iter((json.dumps({"user": user, **asdict(self._asked("export", user))}),))

    async def set_consent(self, user: UserId, source: TelemetrySource, allowed: bool) -> None:
        data = self._asked("set_consent", user)
        consents = tuple(replace(c, allowed=allowed) if c.source == source.value else c for c in data.consents)
        self.people[user] = replace(data, consents=consents)

    async def delete(self, user: UserId, source: TelemetrySource | None) -> int:
        data = self._asked("delete", user)
        gone = [c for c in data.consents if source is None or c.source == source.value]
        consents = tuple(replace(c, events=0, first_s=None, last_s=None) if c in gone else c for c in data.consents)
        data = no_data() if source is None else replace(data, prepared=())
        self.people[user] = replace(data, consents=consents)
        return sum(c.events for c in gone)

    async def put_place(self, user: UserId, name: str, kind: str, position: tuple[float, float] | None) -> None:
        data = self._asked("put_place", user)
        self.positions[name] = position
        others = tuple(p for p in data.places if p.name != name)
        self.people[user] = replace(data, places=(*others, PlaceView(name, kind, False)))

    async def delete_place(self, user: UserId, name: str) -> None:
        data = self._asked("delete_place", user)
        self.people[user] = replace(data, places=tuple(p for p in data.places if p.name != name))

    async def go_to(self, user: UserId, name: str) -> str:
        data = self._asked("go_to", user)
        self.people[user] = replace(data, places=tuple(replace(p, here=p.name == name) for p in data.places))
        return name

    async def locate(self, user: UserId, latitude: float, longitude: float) -> str | None:
        data = self._asked("locate", user)
        self.located.append((latitude, longitude))
        near = next((p.name for p in data.places if self.positions.get(p.name) == (latitude, longitude)), "travel")
        return await self.go_to(user, near) if data.places else None

    async def put_mode(self, user: UserId, mode: Mode) -> None:
        data = self._asked("put_mode", user)
        others = tuple(m for m in data.modes if m.name != mode.name)
        self.people[user] = replace(data, modes=(*others, mode_view(mode, False, None)))

    async def delete_mode(self, user: UserId, name: str) -> None:
        data = self._asked("delete_mode", user)
        self.people[user] = replace(data, modes=tuple(m for m in data.modes if m.name != name))

    async def choose_mode(self, user: UserId, name: str | None) -> None:
        data = self._asked("choose_mode", user)
        if name is not None and name not in {m.name for m in data.modes}:
            raise NotFound(f"You have no mode {name!r}.", "Define it first.")
        modes: tuple[ModeView, ...] = tuple(replace(m, chosen=m.name == name) for m in data.modes)
        self.people[user] = replace(data, modes=modes)

    async def put_calendar(self, user: UserId, name: str, text: str) -> None:
        data = self._asked("put_calendar", user)
        if "BEGIN:VCALENDAR" not in text:
            raise ConfigError("The file is no calendar.", "Choose the .ics file that your calendar program exports.")
        calendar = CalendarView(name, "file", NOW_S, "", text.count("BEGIN:VEVENT"))
        self.people[user] = replace(data, calendars=(*data.calendars, calendar))

    async def delete_calendar(self, user: UserId, name: str) -> None:
        data = self._asked("delete_calendar", user)
        self.people[user] = replace(data, calendars=tuple(c for c in data.calendars if c.name != name))

    async def usage_curve(self, user: UserId, horizon_s: float) -> CurveView:
        self._asked("usage_curve", user)
        return self.curves.get(horizon_s) or sample_curve(horizon_s)

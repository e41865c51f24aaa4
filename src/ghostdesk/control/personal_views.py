"""What a person may see of their own data, and do with it: the seam that the server's `/api/my` is written against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.forecast import UsageCurve
from ghostdesk.profiles.likely_modes import Likely
from ghostdesk.profiles.location import Place
from ghostdesk.profiles.modes import Mode
from ghostdesk.telemetry.events import TelemetrySource


@dataclass(frozen=True, slots=True)
class ConsentView:
    """One source: what it is, whether it is recorded, and what is stored of it (times in UTC seconds)."""

    source: str
    label: str
    what: str
    allowed: bool
    operator_allows: bool
    events: int
    first_s: float | None
    last_s: float | None


@dataclass(frozen=True, slots=True)
class PlaceView:
    """A place; `here` says whether the person is there. Where it is stays on the server.

    `probability` is how likely they are there at this hour.
    """

    name: str
    kind: str
    here: bool
    probability: float = 0.0


@dataclass(frozen=True, slots=True)
class ModeView:
    """A mode; `probability` is how likely it is to be chosen at this hour, `reason` why it is expected (or empty)."""

    name: str
    apps: tuple[AppId, ...]
    file_types: tuple[str, ...]
    resources: Mapping[str, float]
    chosen: bool
    probability: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CalendarView:
    """A calendar, without anything of its content but the number of its entries."""

    name: str
    kind: str
    synced_s: float | None
    problem: str
    entries: int


@dataclass(frozen=True, slots=True)
class PreparationView:
    """What was prepared, when, and why."""

    time_s: float
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Everything that a person can see of what is stored of them."""

    consents: tuple[ConsentView, ...]
    places: tuple[PlaceView, ...]
    modes: tuple[ModeView, ...]
    calendars: tuple[CalendarView, ...]
    prepared: tuple[PreparationView, ...]
    habits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AppCurve:
    """An application in the usage curve: how likely it is next, and in use in each slot (empty where not forecast)."""

    app: AppId
    name: str
    probability: float
    in_use: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceBands:
    """Quantiles of one resource: ``slots[slot][level]``."""

    levels: tuple[float, ...]
    slots: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class CurveView:
    """A person's usage curve as the page draws it."""

    start_s: float
    slot_s: float
    arrival: tuple[float, ...]
    presence: tuple[float, ...]
    apps: tuple[AppCurve, ...]
    resources: Mapping[str, ResourceBands] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def curve_view(curve: UsageCurve, names: Mapping[AppId, str]) -> CurveView:
    """The curve with the applications' names; an application that is not in the catalogue goes by its id.

    Applications that are in use in some slot without being likely next come behind those that are.
    """
    odds = {a.app: a.probability for a in curve.apps}
    odds |= {app: 0.0 for app in curve.in_use if app not in odds}
    apps = tuple(AppCurve(app, names.get(app, app), odds[app], curve.in_use.get(app, ())) for app in odds)
    quantiles = curve.quantiles
    resources = (
        {}
        if quantiles is None
        else {name: ResourceBands(quantiles.levels, slots) for name, slots in quantiles.amounts.items()}
    )
    return CurveView(curve.start_s, curve.slot_s, curve.arrival, curve.presence, apps, resources, curve.reasons)


def mode_view(mode: Mode, chosen: bool, likely: Likely | None) -> ModeView:
    """A mode as its owner sees it; `likely` is None where it is not known how likely it is."""
    probability, reason = (likely.probability, likely.reason) if likely else (0.0, "")
    return ModeView(mode.name, mode.apps, mode.file_types, asdict(mode.resources), chosen, probability, reason)


class PersonalService(Protocol):
    """A person's own data. Raises `GhostdeskError` subclasses only; `ConfigError` for what they cannot have meant."""

    async def data(self, user: UserId) -> PersonalData:
        """What is stored."""
        ...

    async def export(self, user: UserId) -> Iterator[str]:
        """Everything as one JSON text, in pieces. The iterator reads the database: exhaust it off the event loop."""
        ...

    async def set_consent(self, user: UserId, source: TelemetrySource, allowed: bool) -> None:
        """Switch a source on or off, from now on; raises `NotAllowed` for one that the operator does not allow."""
        ...

    async def delete(self, user: UserId, source: TelemetrySource | None) -> int:
        """Delete what came from one source, or everything, wherever it is; returns how many stored events went."""
        ...

    async def put_place(self, user: UserId, name: str, kind: str, position: tuple[float, float] | None) -> None:
        """Name a place; `position` is latitude and longitude in degrees, kept as a coarse cell."""
        ...

    async def delete_place(self, user: UserId, name: str) -> None:
        """Remove a place and all records of having been there."""
        ...

    async def go_to(self, user: UserId, name: str) -> str:
        """The person says where they are; returns the place."""
        ...

    async def locate(self, user: UserId, latitude: float, longitude: float) -> str | None:
        """The browser says where they are; returns the place, or None when no place is defined."""
        ...

    async def put_mode(self, user: UserId, mode: Mode) -> None:
        """Define a mode."""
        ...

    async def delete_mode(self, user: UserId, name: str) -> None:
        """Remove a mode and all records of its choice."""
        ...

    async def choose_mode(self, user: UserId, name: str | None) -> None:
        """Choose a mode, or leave the one chosen."""
        ...

    async def put_calendar(self, user: UserId, name: str, text: str) -> None:
        """Hand in an iCalendar text; only times are kept."""
        ...

    async def delete_calendar(self, user: UserId, name: str) -> None:
        """Remove a calendar, its entries and its secrets."""
        ...

    async def usage_curve(self, user: UserId, horizon_s: float) -> CurveView:
        """The person's forecast from now on."""
        ...


def place_view(place: Place, here: str | None, likely: Likely | None) -> PlaceView:
    """A place as its owner sees it; `likely` is None where it is not known how likely they are there."""
    return PlaceView(place.name, place.kind, place.name == here, likely.probability if likely else 0.0)

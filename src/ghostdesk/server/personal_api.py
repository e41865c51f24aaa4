"""`/api/my`: what a signed-in person may see of their own data, and do with it. No route takes a user's name."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from ghostdesk.control.personal_views import CurveView, PersonalData
from ghostdesk.control.service import DesktopService
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import ConfigError, NotFound
from ghostdesk.kernel.ids import UserId, app_id
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.modes import Mode
from ghostdesk.server.errors import Refused, TooMany
from ghostdesk.server.identity import Who
from ghostdesk.server.limits import RateLimit
from ghostdesk.telemetry.events import TelemetrySource

MOST_CALENDAR_CHARACTERS = 5 * 1024 * 1024
EXPORT_NAME = "ghostdesk-my-data.json"
_HEAVY_AT_ONCE = 10
_HEAVY_EVERY_S = 3.0
Name = Annotated[str, Field(min_length=1, max_length=120)]
Degrees = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Choice(_Body):
    """Whether a source may be recorded."""

    allowed: bool


class PlaceDefined(_Body):
    """A place; its position is optional, and kept to 0.02 degrees only."""

    kind: Name
    latitude: Degrees | None = None
    longitude: Degrees | None = None


class WhereIAm(_Body):
    """A place by its name, or a position."""

    name: Name | None = None
    latitude: Degrees | None = None
    longitude: Degrees | None = None


class ResourceAmounts(_Body):
    """What a mode takes; zero where nothing is said."""

    cpu_cores: Amount = 0.0
    memory_bytes: Amount = 0.0
    gpu_share: Amount = 0.0
    network_bytes_per_s: Amount = 0.0
    storage_bytes_per_s: Amount = 0.0


class ModeDefined(_Body):
    """A mode of work; applications the most important first."""

    apps: list[Name] = Field(default_factory=list, max_length=64)
    file_types: list[Name] = Field(default_factory=list, max_length=64)
    resources: ResourceAmounts = Field(default_factory=ResourceAmounts)


class ModeChosen(_Body):
    """The mode that is chosen; null leaves it."""

    name: Name | None


class CalendarText(_Body):
    """An iCalendar file's text."""

    text: str = Field(max_length=MOST_CALENDAR_CHARACTERS)


class Deleted(BaseModel):
    """How many stored events went."""

    deleted_events: int


class PlaceNow(BaseModel):
    """Where the person is taken to be; null when they defined no place."""

    place: str | None


def add_personal_routes(router: APIRouter, service: DesktopService, clock: Clock) -> None:
    """All routes under `/my/`, for the router of `/api`."""
    _add_data(router, service, _Heavy(clock))
    _add_places(router, service)
    _add_modes(router, service)
    _add_calendars(router, service, _Heavy(clock))


class _Heavy:
    """Holds each person's heavy requests (exports, deletions, calendars) to what the machine can bear."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limit = RateLimit(_HEAVY_AT_ONCE, _HEAVY_EVERY_S)

    def admit(self, user: UserId) -> None:
        wait_s = self._limit.wait_s(user, self._clock.now_s())
        if wait_s > 0:
            raise TooMany("You asked for this many times in a row.", "Wait a few seconds.", wait_s)


def _add_data(router: APIRouter, service: DesktopService, heavy: _Heavy) -> None:
    @router.get("/my/data", summary="What is stored of you, and why things were prepared for you")
    async def data(who: Who) -> PersonalData:
        return await service.personal.data(who.user)

    @router.put("/my/consents/{source}", status_code=204, summary="Switch a source on or off")
    async def consent(source: str, who: Who, body: Choice) -> None:
        await service.personal.set_consent(who.user, _source(source), body.allowed)

    @router.get("/my/export", summary="Everything that is stored of you, as JSON", response_class=StreamingResponse)
    async def export(who: Who) -> StreamingResponse:
        heavy.admit(who.user)
        pieces = await service.personal.export(who.user)
        first = await asyncio.to_thread(next, pieces, "")  # what fails at once is told as an error, not as a torn file
        headers = {"Content-Disposition": f'attachment; filename="{EXPORT_NAME}"'}
        return StreamingResponse(_rest(first, pieces), media_type="application/json", headers=headers)

    @router.delete("/my/data", summary="Delete what came from one source, or everything")
    async def delete(who: Who, source: Annotated[str, Query(max_length=32)]) -> Deleted:
        heavy.admit(who.user)
        what = None if source == "all" else _source(source)
        return Deleted(deleted_events=await service.personal.delete(who.user, what))

    @router.get("/my/curve", summary="When you are expected, with which applications and resources")
    async def curve(who: Who, hours: Annotated[float, Query(ge=0.1, le=48, allow_inf_nan=False)] = 2.0) -> CurveView:
        return await service.personal.usage_curve(who.user, hours * 3600)


def _add_places(router: APIRouter, service: DesktopService) -> None:
    @router.put("/my/places/{name}", status_code=204, summary="Name a place")
    async def put_place(name: str, who: Who, body: PlaceDefined) -> None:
        with _told():
            position = _position(body.latitude, body.longitude)
            await service.personal.put_place(who.user, name, body.kind, position)

    @router.delete("/my/places/{name}", status_code=204, summary="Remove a place, and that you were there")
    async def delete_place(name: str, who: Who) -> None:
        await service.personal.delete_place(who.user, name)

    @router.post("/my/place", summary="Say where you are, by a place's name or a position")
    async def place(who: Who, body: WhereIAm) -> PlaceNow:
        with _told():
            position = _position(body.latitude, body.longitude)
            if (body.name is None) == (position is None):
                raise ConfigError("Give either a name or a position.")
            if body.name is not None:
                return PlaceNow(place=await service.personal.go_to(who.user, body.name))
            assert position is not None
            return PlaceNow(place=await service.personal.locate(who.user, *position))


def _add_modes(router: APIRouter, service: DesktopService) -> None:
    @router.put("/my/modes/{name}", status_code=204, summary="Define a mode of work")
    async def put_mode(name: str, who: Who, body: ModeDefined) -> None:
        with _told():
            apps = tuple(app_id(app) for app in body.apps)
            resources = Resources(**body.resources.model_dump())
            await service.personal.put_mode(who.user, Mode(name, apps, tuple(body.file_types), resources))

    @router.delete("/my/modes/{name}", status_code=204, summary="Remove a mode, and that you chose it")
    async def delete_mode(name: str, who: Who) -> None:
        await service.personal.delete_mode(who.user, name)

    @router.post("/my/mode", status_code=204, summary="Choose a mode, or leave it with null")
    async def choose_mode(who: Who, body: ModeChosen) -> None:
        await service.personal.choose_mode(who.user, body.name)


def _add_calendars(router: APIRouter, service: DesktopService, heavy: _Heavy) -> None:
    @router.put("/my/calendars/{name}", status_code=204, summary="Hand in an iCalendar file; only times are kept")
    async def put_calendar(name: str, who: Who, body: CalendarText) -> None:
        heavy.admit(who.user)
        with _told():
            await service.personal.put_calendar(who.user, name, body.text)

    @router.delete("/my/calendars/{name}", status_code=204, summary="Remove a calendar")
    async def delete_calendar(name: str, who: Who) -> None:
        await service.personal.delete_calendar(who.user, name)


@contextmanager
def _told() -> Generator[None]:
    """What the person cannot have meant is theirs to mend (422), not the server's fault."""
    try:
        yield
    except ConfigError as error:
        raise Refused(error.cause, error.mend, 422) from None
    except ValueError as error:
        raise Refused(f"{error}.", "", 422) from None


def _position(latitude: float | None, longitude: float | None) -> tuple[float, float] | None:
    if latitude is None and longitude is None:
        return None
    if latitude is None or longitude is None:
        raise ConfigError("A position needs both latitude and longitude.")
    return latitude, longitude


def _source(name: str) -> TelemetrySource:
    try:
        return TelemetrySource(name)
    except ValueError:
        raise NotFound("There is no such source.", "GET /api/my/data lists them.") from None


def _rest(first: str, pieces: Iterator[str]) -> Iterator[str]:
    return chain((first,), pieces)

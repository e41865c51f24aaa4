"""What can happen to a ghost: requests from the plan or a person, and outcomes of commands."""

from __future__ import annotations

from dataclasses import dataclass

from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import AppId, HostId, UserId
from ghostdesk.kernel.resources import NOTHING, Priority, Resources


@dataclass(frozen=True, slots=True)
class CacheRequested:
    """Bring the template's files into the page cache."""

    template: DesktopTemplate
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BuildRequested:
    """Make a generic desktop with minimal limits, or with a person's priority for one that somebody waits for."""

    template: DesktopTemplate
    limits: Resources = NOTHING
    reason: str = ""
    priority: Priority = Priority.GHOST


@dataclass(frozen=True, slots=True)
class BindRequested:
    """Give the ghost to a user who is expected, or at the door."""

    user: UserId
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WarmRequested:
    """Launch these applications, hidden. `freeze` is false while a browser is already looking, hidden."""

    apps: tuple[AppId, ...]
    freeze: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResizeRequested:
    """Change what it may use while it stays on its rung."""

    limits: Resources
    priority: Priority = Priority.GHOST
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ParkRequested:
    """Freeze it and push its memory out."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class WakeRequested:
    """Bring a parked ghost back to its rung before somebody needs it."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ClaimRequested:
    """The user is here: this is their desktop now, with all it may use."""

    user: UserId
    limits: Resources = NOTHING
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """It is needed no more: destroy it."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """Its processes are gone, whatever we thought."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The work called `what` has ended well. After a warming `apps` wait hidden, and `failed_apps` do not; after a
    build the desktop runs on `host`, where the engine has several."""

    what: str
    apps: tuple[AppId, ...] = ()
    failed_apps: tuple[AppId, ...] = ()
    reason: str = ""
    host: HostId | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The command sequence called `what` has failed."""

    what: str
    reason: str = ""


GhostEvent = (
    CacheRequested
    | BuildRequested
    | BindRequested
    | WarmRequested
    | ResizeRequested
    | ParkRequested
    | WakeRequested
    | ClaimRequested
    | ReleaseRequested
    | Lost
    | Done
    | Failed
)

"""What the page and the command line may ask of the control plane: the seam that the server is written against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ghostdesk.control.capacity_views import CapacityView, InfeasibleView
from ghostdesk.control.context_view import ContextView
from ghostdesk.control.energy_view import NO_ENERGY, EnergyView
from ghostdesk.control.personal_views import PersonalService
from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.store.protocol import LaunchRecord


@dataclass(frozen=True, slots=True)
class DesktopHandle:
    """A desktop that a user may look at.

    Args:
        ghost, generation: which one; both are bound into the ticket and checked again when it is used.
        active: whether it has been claimed; a handle that is not active may be preconnected, hidden.
        path: how it was had: "active" (already theirs), "warm", "ready", "parked", "built" (nothing was ready).
        duration_s: how long that took in the control plane.
        reason: why it was ready, or why it was not.
        preconnect: whether the page may connect to it ahead, hidden; false for a line that is too slow for that.
    """

    ghost: GhostId
    generation: int
    active: bool
    path: str
    duration_s: float
    reason: str
    preconnect: bool = True


@dataclass(frozen=True, slots=True)
class AppView:
    """An application that can be started.

    `icon` is a data URL or empty; `state` is "", "hidden", "frozen" or "shown".
    """

    app: AppId
    name: str
    categories: tuple[str, ...] = ()
    icon: str = ""
    state: str = ""
    probability: float = 0.0


@dataclass(frozen=True, slots=True)
class GhostView:
    """One ghost as the status view shows it."""

    ghost: GhostId
    state: str
    owner: UserId | None
    apps: tuple[AppId, ...]
    pending: str | None
    since_s: float
    memory_bytes: int
    cpu_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class ActionView:
    """One line of the plan: what, to which ghost, why, and when it was decided.

    `done` is None while it runs, else "ok" or the error.
    """

    action: str
    subject: str
    reason: str
    done: str | None = None
    time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AbilityView:
    """What this host can and cannot do, with the mend."""

    name: str
    available: bool
    detail: str
    mend: str


@dataclass(frozen=True, slots=True)
class ForecastView:
    """How the forecasts fare: whether they come true as they did before, and which model is behind them.

    Args:
        model: number of the trained model in use; empty where there is none.
        learning: number of a model that is being taken up; empty otherwise.
        problem: why the live model is not in use; empty when it is.
        steps: turns to an application that were forecast and came.
        loss_nats: mean log loss of the latest ones; None without any.
        loss_before_nats: what it was before it rose; None while it did not.
        hit_rate: share of the latest ones at which the first choice was right.
        hit_rate_before: what it was before it fell; None while it did not.
        sign_ins_expected_a_week, sign_ins_came_a_week: at the latest rate.
        half_hours: half hours in which sign-ins were compared.
        drifted: whether something is worse than before, beyond chance.
        words: a sentence for people.
        mend: what helps; empty when nothing is wrong.
    """

    model: str = ""
    learning: str = ""
    problem: str = ""
    steps: int = 0
    loss_nats: float | None = None
    loss_before_nats: float | None = None
    hit_rate: float | None = None
    hit_rate_before: float | None = None
    sign_ins_expected_a_week: float = 0.0
    sign_ins_came_a_week: float = 0.0
    half_hours: int = 0
    drifted: bool = False
    words: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class FilesView:
    """People's own files read ahead, since the start.

    Args:
        loads, files, loaded_bytes: how often, and what was read.
        opens, hits: files that people opened for the first time in a desktop, and those read ahead for it.
    """

    loads: int = 0
    files: int = 0
    loaded_bytes: int = 0
    opens: int = 0
    hits: int = 0


@dataclass(frozen=True, slots=True)
class PrefetchView:
    """What was loaded into the page cache ahead of launches, since the start.

    Args:
        sets: applications whose launches were recorded.
        loading: why something is being loaded now; empty when nothing is.
        last: what the last prefetch was for, and what came of it.
        loads, files, read_bytes, seconds: prefetches, and what they read and took.
        used_bytes, wasted_bytes: what a launch used within the hour, and what none did.
        launches, hits: launches, and those whose application had been loaded within the hour.
        skipped, stopped: entries left out, and prefetches that ended early, by reason.
    """

    sets: int = 0
    loading: str = ""
    last: str = ""
    loads: int = 0
    files: int = 0
    read_bytes: int = 0
    seconds: float = 0.0
    used_bytes: int = 0
    wasted_bytes: int = 0
    launches: int = 0
    hits: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    stopped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatusView:
    """Everything the status view shows at one moment."""

    now_s: float
    ghosts: tuple[GhostView, ...]
    plan: tuple[ActionView, ...]
    infeasible: tuple[InfeasibleView, ...]
    launches: tuple[LaunchRecord, ...]
    abilities: tuple[AbilityView, ...]
    pool_target: int
    pool_reason: str
    problem: str = ""
    """Why the pool cannot be built at present, and when it is tried again; empty when all is well."""
    forecasts: ForecastView = ForecastView()
    context: ContextView = field(default_factory=ContextView)
    capacity: CapacityView = field(default_factory=CapacityView)
    prefetch: PrefetchView = field(default_factory=PrefetchView)
    files: FilesView = FilesView()
    energy: EnergyView = NO_ENERGY
    """What the host draws and has drawn, measured or modelled."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a page must know: "prepared" (preconnect to this), "lost" (your desktop ended), "message"."""

    kind: str
    text: str
    handle: DesktopHandle | None = None


class DesktopService(Protocol):
    """The control plane as the server sees it. Raises `GhostdeskError` subclasses only."""

    @property
    def personal(self) -> PersonalService:
        """People's own data."""
        ...

    async def prepare_desktop(self, user: UserId) -> DesktopHandle | None:
        """The user is at the door: bind a ghost to them if one is at hand. None when nothing can be had at once."""
        ...

    async def open_desktop(self, user: UserId) -> DesktopHandle:
        """The sign-in path: claim their ghost, or any, or build one. The same call twice gives the same desktop."""
        ...

    async def launch(self, user: UserId, app: AppId) -> LaunchRecord:
        """The launch path: show the hidden window, or start the application."""
        ...

    async def catalogue(self, user: UserId) -> Sequence[AppView]:
        """What can be started on the user's desktop, likeliest first."""
        ...

    async def end_session(self, user: UserId) -> None:
        """The user is done: destroy the desktop, keep the home."""
        ...

    def rfb_path(self, user: UserId, ghost: GhostId, generation: int) -> str:
        """The socket to relay to; raises `NotAllowed` unless this user owns this generation of this ghost."""
        ...

    async def viewer_connecting(self, ghost: GhostId) -> None:
        """A browser is about to shake hands with the desktop: let it run."""
        ...

    def link_measured(self, user: UserId, ghost: GhostId, link: ClientLink) -> None:
        """What the line to a browser is like now; told every few seconds while it is connected."""
        ...

    async def viewer_left(self, ghost: GhostId) -> None:
        """The browser's connection ended; the desktop goes on."""
        ...

    def notices(self, user: UserId) -> AsyncIterator[Notice]:
        """What the user's page must know, from now on."""
        ...

    def status(self) -> StatusView:
        """For operators: everything."""
        ...

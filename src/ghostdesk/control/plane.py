"""The control plane whole: what the server asks, answered by the loop; what agents report, kept and learned from."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ghostdesk.control.energy_view import EnergyView
from ghostdesk.control.execute import Executor
from ghostdesk.control.journal import Journal
from ghostdesk.control.links import LinkBook
from ghostdesk.control.loop import ControlLoop, Served
from ghostdesk.control.notices import NoticeBoard
from ghostdesk.control.personal import Personal
from ghostdesk.control.service import AppView, DesktopHandle, FilesView, ForecastView, Notice, PrefetchView, StatusView
from ghostdesk.control.views import status_view
from ghostdesk.engines.protocol import AgentLink, Engine
from ghostdesk.ghosts.commands import Outcome, TellBound
from ghostdesk.ghosts.events import BindRequested, Done, Failed, GhostEvent, Lost
from ghostdesk.ghosts.ghost import LIVE, Ghost, GhostState
from ghostdesk.ghosts.lifecycle import Step
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.errors import AgentError, GhostdeskError, NotAllowed, NotFound
from ghostdesk.kernel.ids import AppId, GhostId, UserId, app_id
from ghostdesk.store.protocol import LaunchRecord
from ghostdesk.telemetry.events import EventKind, UsageEvent

log = logging.getLogger(__name__)
_AGENT_RETURNS_WITHIN_S = 10.0
_PAGE_LAUNCH_ECHO_S = 3.0


class DesktopApps(Protocol):
    """What the agents know of the applications in a desktop."""

    async def catalogue(self, ghost: GhostId) -> Sequence[dict[str, Any]]:
        """Applications that can be started there (see agent.wire)."""
        ...

    async def listing(self, ghost: GhostId) -> Sequence[dict[str, Any]]:
        """Applications that run there, and whether they are hidden."""
        ...


class ControlPlane:
    """Implements `DesktopService` for the server and `AgentEvents` for the agents."""

    def __init__(
        self,
        loop: ControlLoop,
        executor: Executor,
        engine: Engine,
        agents: AgentLink,
        apps: DesktopApps,
        journal: Journal,
        clock: Clock,
        personal: Personal | None = None,
    ) -> None:
        self.loop = loop
        self.executor = executor
        self.engine = engine
        self.agents = agents
        self.apps = apps
        self.journal = journal
        self.clock = clock
        self.board = NoticeBoard()
        self.links = loop.observer.links = LinkBook(clock)
        self.forecasts: Callable[[], ForecastView] = ForecastView
        """How the forecasts fare; the wiring sets it."""
        self.energy: Callable[[], EnergyView] = EnergyView
        """What is drawn; the wiring sets it."""
        self.heard: list[Callable[[UsageEvent], None]] = []
        """Told of every event that is learnt from."""
        self.is_echo: Callable[[UsageEvent], bool] = lambda _event: False
        """Whether an agent reports what we did ourselves; the wiring sets it."""
        self.prefetch: Callable[[], PrefetchView] = PrefetchView
        self.files: Callable[[], FilesView] = FilesView
        """What was loaded ahead of launches; the wiring sets it."""
        self.menu_launch: Callable[[AppId], None] = lambda _app: None
        """Told of applications that people start from their desktops' own menus; the wiring sets it."""
        self.wake = asyncio.Event()
        self.done: dict[tuple[str, str], str] = {}
        self.launches: deque[LaunchRecord] = deque(maxlen=100)
        self.personal = personal if personal is not None else Personal(loop, journal, clock)
        self.personal.links.emit = self.on_user_event
        self.personal.links.forget = self._forget
        self.personal.links.app_names = lambda: {view.app: view.name for view in self._catalogue}
        self._viewers: Counter[GhostId] = Counter()
        self._catalogue: list[AppView] = []
        self._page_launches: dict[tuple[UserId, AppId], float] = {}
        executor.watched = lambda ghost: self._viewers[ghost] > 0
        executor.listeners.append(self._on_change)

    def watched(self) -> frozenset[GhostId]:
        """Ghosts that a browser is connected to."""
        return frozenset(ghost for ghost, count in self._viewers.items() if count > 0)

    # What the server asks: see DesktopService.

    async def prepare_desktop(self, user: UserId) -> DesktopHandle | None:
        served = await self.loop.prepare(user)
        self.wake.set()
        return None if served is None else self._handle(served)

    async def open_desktop(self, user: UserId) -> DesktopHandle:
        served = await self.loop.sign_in(user)
        if served.path != "active":
            now_s = self.clock.now_s()
            self.on_user_event(UsageEvent(now_s, EventKind.SIGN_IN, user, desktop=served.ghost.ghost, source="control"))
            await self._remember(LaunchRecord(now_s, user, "desktop", served.path, served.duration_s, served.why))
        self.wake.set()
        return self._handle(served)

    async def launch(self, user: UserId, app: AppId) -> LaunchRecord:
        self._page_launches[user, app] = self.clock.now_s()
        outcome = await self.loop.launch(user, app)
        path = str(outcome.facts.get("path", "cold"))
        why = "it waited hidden" if path == "shown" else "it ran already" if path == "raised" else "it was not expected"
        record = LaunchRecord(self.clock.now_s(), user, app, path, outcome.duration_s, why)
        await self._remember(record)
        return record

    async def catalogue(self, user: UserId) -> Sequence[AppView]:
        ghost = self.loop.manager.of_user(user)
        active = ghost if ghost is not None and ghost.state is GhostState.ACTIVE else None
        if not self._catalogue:
            await self._read_catalogue(active)
        states: dict[str, str] = {}
        if active is not None:
            try:
                states = {str(a["app"]): str(a["state"]) for a in await self.apps.listing(active.ghost)}
            except GhostdeskError as error:
                log.info("the agent of %s does not say what runs: %s", active.ghost, error)
        curve = self.loop.curve_of(user)
        odds = {a.app: a.probability for a in curve.apps} if curve else {}
        views = [replace(v, state=states.get(v.app, ""), probability=odds.get(v.app, 0.0)) for v in self._catalogue]
        return sorted(views, key=lambda v: (-v.probability, v.name.lower()))

    async def end_session(self, user: UserId) -> None:
        ghost = self.loop.manager.of_user(user)
        if ghost is None:
            return
        if ghost.state is GhostState.ACTIVE:
            now_s = self.clock.now_s()
            self.on_user_event(UsageEvent(now_s, EventKind.SIGN_OUT, user, desktop=ghost.ghost, source="control"))
        await self.loop.end_session(user, f"{user} ended the session")
        self.wake.set()

    def rfb_path(self, user: UserId, ghost: GhostId, generation: int) -> str:
        found = self.loop.manager.get(ghost)
        if found.owner != user or found.generation != generation or found.state not in LIVE:
            raise NotAllowed("This ticket is for a desktop that is not yours any more.", "Open the desktop again.")
        return self.engine.endpoint(ghost).rfb_path

    async def viewer_connecting(self, ghost: GhostId) -> None:
        self._viewers[ghost] += 1
        await self.executor.thaw(ghost)

    def link_measured(self, user: UserId, ghost: GhostId, link: ClientLink) -> None:
        self.links.measured(user, ghost, link)

    async def viewer_left(self, ghost: GhostId) -> None:
        self._viewers[ghost] -= 1
        if self._viewers[ghost] > 0:
            return
        del self._viewers[ghost]
        try:
            if self.loop.manager.get(ghost).state is GhostState.WARM:
                await self.executor.freeze(ghost)
        except NotFound:
            return

    def notices(self, user: UserId) -> AsyncIterator[Notice]:
        return self.board.follow(user)

    def status(self) -> StatusView:
        now_s = self.clock.now_s()
        view = status_view(
            self.loop,
            self.engine,
            self.journal,
            tuple(self.launches),
            self.done,
            now_s,
            self.forecasts(),
            self.energy(),
        )
        return replace(view, prefetch=self.prefetch(), files=self.files())

    # What agents report: see AgentEvents.

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        """Learn from it and keep it, under the name of the ghost's owner.

        Only a claimed desktop tells of a person: what a ghost does while it is warmed would teach us our own deeds.
        """
        try:
            found = self.loop.manager.get(ghost)
        except NotFound:
            return
        owner = found.owner
        if owner is None or found.state is not GhostState.ACTIVE:
            return
        known = replace(event, user=owner, desktop=ghost)
        if self.is_echo(known):
            return
        self.on_user_event(known)
        if known.kind is EventKind.APP_LAUNCH and known.app is not None:
            asked_s = self._page_launches.pop((owner, known.app), float("-inf"))
            if known.time_s - asked_s > _PAGE_LAUNCH_ECHO_S:
                record = LaunchRecord(
                    known.time_s,
                    owner,
                    known.app,
                    known.detail or "cold",
                    known.value or 0.0,
                    "from the desktop's menu",
                )
                self.executor.spawn(self._remember(record))
                if record.path == "cold":
                    self.menu_launch(known.app)

    def on_agent_lost(self, ghost: GhostId) -> None:
        """The desktop restarts its agent; one that does not come back is replaced, unless somebody works in it."""
        self.executor.spawn(self._await_return(ghost))

    def on_user_event(self, event: UsageEvent) -> None:
        """Learn from one event and keep it, unless its user refused its source or deleted that time."""
        if not self.personal.book.admits(event):
            return
        self.loop.profiles.observe(event)
        if event.user is not None:
            self.loop.stir(event.user)
        self.journal.event(event)
        for listener in self.heard:
            listener(event)
        if event.kind is EventKind.MODE:
            self.wake.set()  # a mode that is chosen holds at once

    async def _await_return(self, ghost: GhostId) -> None:
        try:
            await self.agents.wait_connected(ghost, _AGENT_RETURNS_WITHIN_S)
            found = self.loop.manager.get(ghost)
            if found.owner is not None:
                await self.agents.apply(TellBound(ghost, found.owner))
        except NotFound:
            return
        except AgentError:
            await self._agent_gone(ghost)

    async def _agent_gone(self, ghost: GhostId) -> None:
        try:
            found = self.loop.manager.get(ghost)
        except NotFound:
            return
        if found.state is GhostState.ACTIVE and found.owner is not None:
            text = (
                "The helper inside your desktop stopped. Your windows are safe; applications start from the menu only."
            )
            self.board.post(found.owner, Notice("message", text))
        elif found.state is not GhostState.DRAINING and not await self._rests(ghost):
            await self.executor.carry_out(ghost, Lost("its agent died and did not come back"))

    async def _rests(self, ghost: GhostId) -> bool:
        """Whether it is parked as an image: it has no agent until it is woken."""
        return any(seen.ghost == ghost and seen.resting for seen in await self.engine.observe())

    async def _read_catalogue(self, active: Ghost | None) -> None:
        frozen = {g.ghost for g in self.loop.observer.seen.values() if g.frozen}
        awake = [g for g in self.loop.manager if g.state in LIVE and g.pending is None and g.ghost not in frozen]
        for ghost in [active] if active else awake:
            try:
                found = await self.apps.catalogue(ghost.ghost)
            except GhostdeskError as error:
                log.info("the agent of %s gives no catalogue: %s", ghost.ghost, error)
                continue
            self._catalogue = [
                AppView(app_id(a["id"]), str(a["name"]), tuple(a.get("categories", ())), str(a.get("icon", "")))
                for a in found
            ]
            return

    async def _remember(self, record: LaunchRecord) -> None:
        if not self.personal.keeps_launch(record):
            return
        self.launches.appendleft(record)
        await self.journal.launch(record)

    def _handle(self, served: Served) -> DesktopHandle:
        ghost = served.ghost
        active = ghost.state is GhostState.ACTIVE
        return DesktopHandle(
            ghost.ghost,
            ghost.generation,
            active,
            served.path,
            served.duration_s,
            served.why,
            self._may_preconnect(ghost),
        )

    def _may_preconnect(self, ghost: Ghost) -> bool:
        line = self.links.of(ghost.owner) if ghost.owner is not None else None
        return ghost.state is GhostState.ACTIVE or line is None or not line.verdict.slow

    def _forget(self, user: UserId) -> None:
        """Drop what is remembered here of a user who deleted their data, and plan anew."""
        kept = [record for record in self.launches if record.user != user]
        self.launches = deque(kept, maxlen=self.launches.maxlen)
        self._page_launches = {key: time_s for key, time_s in self._page_launches.items() if key[0] != user}
        self.board.forget(user)
        self.links.forget(user)
        self.loop.admission.forget(user)
        self.wake.set()

    def _on_change(self, step: Step, event: GhostEvent, _outcomes: Sequence[Outcome]) -> None:
        ghost = step.ghost
        self.personal.note_preparation(ghost, event)
        self.done[ghost.ghost, type(event).__name__] = "ok" if not isinstance(event, Failed) else event.reason
        while len(self.done) > 500:
            self.done.pop(next(iter(self.done)))
        again = isinstance(event, Failed) and event.what == "destroy"  # it ended before; its owner was told
        ended = isinstance(event, Lost | Failed) and not again and ghost.state is GhostState.DRAINING
        if ended and ghost.owner is not None:
            handle = DesktopHandle(ghost.ghost, ghost.generation, False, "lost", 0.0, event.reason)
            self.board.post(ghost.owner, Notice("lost", f"Your desktop ended: {event.reason}.", handle))
            self.wake.set()
        if isinstance(event, Done) and event.what == "bind" and ghost.owner is not None:
            handle = DesktopHandle(
                ghost.ghost, ghost.generation, False, "ready", 0.0, ghost.reason, self._may_preconnect(ghost)
            )
            self.board.post(ghost.owner, Notice("prepared", "Your desktop is ready.", handle))
        if isinstance(event, BindRequested) or (isinstance(event, Done) and event.what in ("build", "bind", "destroy")):
            self.wake.set()

    def remember(self, records: Sequence[LaunchRecord]) -> None:
        """Show what an earlier control plane served, latest first."""
        self.launches.extend(records)

    async def flush_every(self, period_s: float) -> None:
        """Write collected events to the store for ever."""
        while True:
            await self.clock.sleep(period_s)
            await self.journal.flush()

"""One ghostdesk, put together: started, followed, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.config import Settings, capacity_rules
from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.control.calendar_sync import CalendarSync
from ghostdesk.control.capacity_feed import CapacityFeed
from ghostdesk.control.curve_feed import CurveFeed
from ghostdesk.control.energy_feed import EnergyFeed
from ghostdesk.control.energy_signal_source import signal_source
from ghostdesk.control.execute import Executor
from ghostdesk.control.journal import Journal
from ghostdesk.control.launch_watch import LaunchWatch
from ghostdesk.control.loop import ControlLoop
from ghostdesk.control.model_feed import ModelFeed
from ghostdesk.control.observe import HostObserver
from ghostdesk.control.personal import Personal
from ghostdesk.control.plane import ControlPlane
from ghostdesk.control.prefetch_feed import PrefetchFeed, prefetcher_of
from ghostdesk.control.profile_feed import ProfileFeed
from ghostdesk.control.recover import Recovered, recover
from ghostdesk.control.retention import age_out_every
from ghostdesk.control.supply import Supply
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.control.user_files import Links as UserFileLinks
from ghostdesk.control.user_files import UserFiles
from ghostdesk.engines.prefetcher import Prefetcher
from ghostdesk.engines.protocol import Ability, AgentEvents, Engine, HasHomeFiles
from ghostdesk.evaluate.arrivals_events import history_of_events
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import GhostdeskError, ImportFileError
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.prefetch.choose_files import FileBudget
from ghostdesk.prefetch.plan import LoadLimits
from ghostdesk.replay.history import sessions_of
from ghostdesk.replay.learning import teach
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.history import History
from ghostdesk.training.curves import curves_folder
from ghostdesk.training.live import LiveCurves, LiveModels
from ghostdesk.training.run import discard_work, models_folder
from ghostdesk.transition.handover import SeamlessTransition
from ghostdesk.wiring.host import file_histories, load_engine, make_profiles, parking_swap, recent_history
from ghostdesk.wiring.rules import (
    calendar_options,
    chosen_policy,
    gate_rules,
    host_power_model,
    link_rules,
    pool_policy,
    swap_wish,
)

log = logging.getLogger(__name__)
REMEMBERED_LAUNCHES = 5000
"""Launches and sign-ins after which the service target is corrected again when the control plane starts."""
_SHOWN_LAUNCHES = 50
_ELIGIBLE_FOR_S = 2.0
_FLUSH_EVERY_S = 1.0
_FEED_EVERY_S = 60.0
_CAPACITY_EVERY_S = 5.0
_FOLLOW_EVERY_S = 3.0
"""How soon a consent, a deletion or a new model from the command line holds in the running service."""


class _Relay(AgentEvents):
    """Stands between hub and plane, which need each other."""

    def __init__(self) -> None:
        self.target: AgentEvents | None = None

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        if self.target is not None:
            self.target.on_usage(ghost, event)

    def on_agent_lost(self, ghost: GhostId) -> None:
        if self.target is not None:
            self.target.on_agent_lost(ghost)


class _Eligible:
    """Accounts that may sign in, read from the store now and then: never on the launch path."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._read_s = float("-inf")
        self._users: frozenset[UserId] = frozenset()

    def __call__(self) -> frozenset[UserId]:
        if self._clock.now_s() - self._read_s > _ELIGIBLE_FOR_S:
            with contextlib.suppress(GhostdeskError):
                self._users = frozenset(u.user for u in self._store.users() if not u.disabled)
                self._read_s = self._clock.now_s()
        return self._users


@dataclass
class Ghostdesk:
    """One ghostdesk, put together."""

    settings: Settings
    store: Store
    engine: Engine
    hub: AgentHub
    plane: ControlPlane
    loop: ControlLoop
    executor: Executor
    journal: Journal
    clock: Clock
    feed: ProfileFeed
    models: ModelFeed
    curves: CurveFeed
    user_files: UserFiles
    capacity: CapacityFeed
    prefetch: PrefetchFeed
    energy: EnergyFeed
    recovered: Recovered = field(default_factory=Recovered)
    swap: tuple[Ability, ...] = ()
    """What became of the swap that the settings ask for."""
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def start(self, on_step: Callable[[str], None] = lambda _text: None, *, ticking: bool = True) -> None:
        """Prepare the host, take over what still runs, learn from history, and (if `ticking`) start the loop."""
        on_step("preparing the host")
        self.swap = await asyncio.to_thread(parking_swap(self.settings).set_up, swap_wish(self.settings))
        await self.engine.start()
        await self.plane.personal.load()
        await asyncio.to_thread(self.capacity.begin)
        on_step("looking for desktops that still run")
        self.recovered = await recover(
            self.loop.manager, self.engine, self.hub, self.executor, self.journal, self.clock
        )
        with contextlib.suppress(GhostdeskError):
            launches = await self.journal.run(lambda: self.store.launches(REMEMBERED_LAUNCHES))
            self.plane.remember(launches[:_SHOWN_LAUNCHES])
            self.loop.recall(launch.path for launch in reversed(launches) if launch.what == "desktop")
        self.user_files.resume(self.loop.manager)
        on_step("learning from history")
        await asyncio.to_thread(self._fit)
        followers = [
            self.plane.flush_every(_FLUSH_EVERY_S),
            self.plane.personal.follow_every(_FOLLOW_EVERY_S),
            self.feed.follow_every(_FEED_EVERY_S),
            self.capacity.follow_every(_CAPACITY_EVERY_S),
            self.models.follow_every(_FOLLOW_EVERY_S),
            self.curves.follow_every(_FOLLOW_EVERY_S),
            self.user_files.follow_every(),
            self.energy.follow_every(),
            age_out_every(self.store.age_out, self.journal, self.clock, self.settings.telemetry.retention_days),
        ]
        if ticking:
            followers.insert(0, self.loop.run(self.settings.forecast.tick_s, self.plane.wake))
        self._tasks += [asyncio.create_task(follower) for follower in followers]

    def _fit(self) -> None:
        now_s = self.clock.now_s()
        try:
            events = recent_history(self.store, now_s)
        except GhostdeskError as error:
            log.warning("history cannot be read (%s); ghostdesk starts without it", error)
            events = History()
        self.feed.begin()
        self.loop.profiles.fit(events, now_s)
        if self.loop.feed is not None:
            with contextlib.suppress(ImportFileError):  # nobody ever came: there is nothing to learn
                told = history_of_events(events, ZoneInfo(self.settings.forecast.timezone), "the store")
                sessions = sessions_of(told.rows, named=True)
                teach(self.loop.feed, sessions, now_s, self.loop.supply.lead_time)
            for ghost in self.loop.manager:
                if ghost.state is GhostState.ACTIVE and ghost.owner is not None:
                    self.loop.feed.resumed(ghost.owner)
            self.loop.feed.others_left(now_s)

    def ready_ghosts(self) -> int:
        """How many generic ghosts wait."""
        return sum(1 for g in self.loop.manager if g.state is GhostState.READY and g.owner is None)

    async def stop(self, *, keep_ghosts: bool) -> None:
        """Stop the loop; unless `keep_ghosts`, leave no process, mount, cgroup or socket behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.executor.cancel()
        self.user_files.cancel()
        await self.prefetch.stop()
        await self.executor.settle()
        for ghost in list(self.loop.manager):
            await self.hub.disconnect(ghost.ghost)
        await self.engine.stop(keep_ghosts=keep_ghosts)
        if not keep_ghosts and (left := await asyncio.to_thread(parking_swap(self.settings).take_down)):
            log.warning("swap of ours is still there (%s); `ghostdesk clean` tries again", left)
        if not keep_ghosts:
            for claim in await self.journal.run(self.store.claims):
                await self.journal.quietly(lambda gone=claim.ghost: self.store.delete_claim(gone))  # type: ignore[misc]
        await self.journal.close()


def _user_files(settings: Settings, engine: Engine, clock: Clock, loop: ControlLoop, plane: ControlPlane) -> UserFiles:
    """Users' likely files beside their ghosts, tied to the loop, the agents' events and the consents."""
    chosen, personal = settings.prefetch, plane.personal
    budget = FileBudget(
        chosen.file_budget_bytes,
        largest_bytes=chosen.largest_file_bytes,
        least_probability=chosen.least_file_probability,
    )
    engine_files = engine.home_files() if chosen.files and isinstance(engine, HasHomeFiles) else None
    user_files = UserFiles(engine_files, file_histories(settings), clock, ZoneInfo(settings.forecast.timezone), budget)

    def chances(user: UserId) -> dict[AppId, float]:
        curve = loop.curve_of(user)
        return {one.app: one.probability for one in curve.apps} if curve is not None else {}

    def spare_bytes() -> float:
        seen, gate = loop.observer.conditions, loop.observer.gate
        if seen is None:
            return float("inf")
        return 0.0 if gate.most_at_once == 0 else seen.memory_available_bytes * chosen.file_memory_share

    user_files.links = UserFileLinks(personal.book.keeps, chances, spare_bytes, personal.note_prepared)
    personal.file_names.kept = user_files
    loop.executor.listeners.append(user_files.on_change)
    plane.heard.append(user_files.on_event)
    plane.is_echo = user_files.is_echo
    plane.files = lambda: user_files.tally
    return user_files


def _energy(settings: Settings, clock: Clock, loop: ControlLoop, plane: ControlPlane) -> EnergyFeed:
    """The account of energy, tied to what is read of the host, the plan and the status."""
    chosen = settings.energy
    ca_file = str(chosen.signal_ca_file) if chosen.signal_ca_file else None
    source = signal_source(chosen.signal, chosen.signal_allowed_hosts, ca_file)
    model = host_power_model(settings)

    def held() -> list[tuple[GhostState, float]]:
        waiting = (one for one in loop.manager if one.state is not GhostState.ACTIVE)
        seen = ((one.state, loop.observer.seen.get(one.ghost)) for one in waiting)
        return [(state, float(one.memory_bytes)) for state, one in seen if one is not None]

    feed = EnergyFeed(model, lambda: loop.observer.conditions, clock, source, chosen.signal_every_s, held)
    loop.at_this_price, plane.energy = feed.under, feed.view
    return feed


def _prefetch(settings: Settings, prefetcher: Callable[[], Prefetcher | None], clock: Clock) -> PrefetchFeed:
    """What loads applications' files ahead of launches."""
    ahead = settings.prefetch
    limits = LoadLimits(ahead.bytes_per_s, ahead.reserve_bytes)
    within_s = settings.pool.warm_lead_s
    return PrefetchFeed(prefetcher, clock, budget_bytes=ahead.budget_bytes, limits=limits, within_s=within_s)


def _calendars(settings: Settings, store: Store, personal: Personal) -> CalendarSync:
    """People's calendars, with their secrets, and what deleting one's data takes along."""
    secrets = SecretFiles(settings.state.directory / "secrets")
    sync = CalendarSync(store, secrets, calendar_options(settings))
    personal.links.secrets, personal.links.read_calendar = secrets, sync.add_text
    personal.links.discard_work = lambda: discard_work(settings.state.directory)
    return sync


def assemble(
    settings: Settings,
    store: Store,
    *,
    engine: Engine | None = None,
    clock: Clock | None = None,
    plane_type: type[ControlPlane] = ControlPlane,
) -> Ghostdesk:
    """Put one ghostdesk together; nothing runs yet. Benchmarks give a `plane_type` of their own."""
    clock = clock or SystemClock()
    engine = engine or load_engine(settings)
    relay = _Relay()
    telemetry = settings.telemetry
    hub = AgentHub(relay, clock=clock, sources=telemetry.sources, sample_every_s=telemetry.sample_every_s)
    manager, journal, policy = GhostDesktopManager(), Journal(store), pool_policy(settings)
    prefetcher = prefetcher_of(engine, wanted=settings.prefetch.applications)
    prefetch = _prefetch(settings, prefetcher, clock)
    agents = LaunchWatch(hub, prefetcher, manager, prefetch.launched)
    executor = Executor(manager, engine, agents, journal, clock)
    supply = Supply(manager, executor, clock)
    forecast = settings.forecast
    models = LiveModels(models_folder(settings.state.directory))
    stamp, served = models.stamp(), models.load()
    curves = LiveCurves(curves_folder(settings.state.directory))
    curve_stamp = curves.stamp()
    profiles = make_profiles(settings, served)
    watched: list[Callable[[], frozenset[GhostId]]] = []
    observer = HostObserver(
        engine,
        memory_share=settings.pool.memory_share,
        watched=lambda: watched[0]() if watched else frozenset(),
        rules=gate_rules(settings),
    )
    capacity = CapacityFeed(store, capacity_rules(settings), clock)
    loop = ControlLoop(
        manager, profiles, ResourceAllocator(), SeamlessTransition(), executor, agents, observer, supply, policy, clock,
        horizon_s=forecast.horizon_s, eligible=_Eligible(store, clock), feed=chosen_policy(settings, clock),
        rules=capacity,
    )  # fmt: skip
    personal = Personal(loop, journal, clock, sources=telemetry.sources, timezone=forecast.timezone)
    loop.on_wishes = prefetch.follow
    plane = plane_type(loop, executor, engine, hub, hub, journal, clock, personal)
    plane.prefetch = prefetch.view
    plane.menu_launch = prefetch.launched
    hub.sources_of, personal.links.retell = personal.sources_of, hub.retell
    personal.links.ways = profiles.ways
    sync = _calendars(settings, store, personal)
    user_files = _user_files(settings, engine, clock, loop, plane)
    watched.append(plane.watched)
    plane.links.rules = link_rules(settings)
    relay.target = plane
    feed = ProfileFeed(store, profiles, sync, clock, telemetry.sources)
    follower = ModelFeed(
        models, profiles, lambda now_s: recent_history(store, now_s), journal.flush, clock, served, stamp
    )
    plane.forecasts = follower.view
    curve_feed = CurveFeed(curves, profiles, clock, curve_stamp)
    energy = _energy(settings, clock, loop, plane)
    return Ghostdesk(
        settings, store, engine, hub, plane, loop, executor, journal, clock, feed, follower, curve_feed, user_files,
        capacity, prefetch, energy,
    )  # fmt: skip

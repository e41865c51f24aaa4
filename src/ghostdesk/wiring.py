"""Putting the parts together: which engine, store, clock and predictors this ghostdesk runs with."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ghostdesk.allocator.conditions_gate import Band, GateRules
from ghostdesk.allocator.energy_model import HOST_TYPES, HostPowerModel
from ghostdesk.allocator.links import LinkRules
from ghostdesk.allocator.plan import PoolPolicy
from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.allocator.policies.choosing import chosen_setting
from ghostdesk.config import PowerSettings, Settings, capacity_rules
from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.control.calendar_sync import CalendarOptions, CalendarSync
from ghostdesk.control.capacity_feed import CapacityFeed
from ghostdesk.control.curve_feed import CurveFeed
from ghostdesk.control.energy_feed import EnergyFeed
from ghostdesk.control.energy_signal_source import signal_source
from ghostdesk.control.execute import Executor
from ghostdesk.control.journal import Journal
from ghostdesk.control.launch_watch import LaunchWatch
from ghostdesk.control.loop import ControlLoop
from ghostdesk.control.model_feed import ModelFeed, ServedModel
from ghostdesk.control.observe import HostObserver
from ghostdesk.control.personal import Personal
from ghostdesk.control.plane import ControlPlane
from ghostdesk.control.policy_feed import PolicyFeed
from ghostdesk.control.prefetch_feed import PrefetchFeed, prefetcher_of
from ghostdesk.control.profile_feed import ProfileFeed
from ghostdesk.control.recover import Recovered, recover
from ghostdesk.control.retention import age_out_every
from ghostdesk.control.supply import Supply
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.control.turn import Turn
from ghostdesk.control.user_files import Links as UserFileLinks
from ghostdesk.control.user_files import UserFiles
from ghostdesk.engines.local.parking_swap import ParkingSwap, SwapWish
from ghostdesk.engines.local.power_meter import power_options
from ghostdesk.engines.local.remote_homes import RemoteHomes, RemoteSource
from ghostdesk.engines.protocol import Ability, AgentEvents, Engine, HasHomeFiles
from ghostdesk.evaluate.arrivals_events import history_of_events
from ghostdesk.ghosts.ghost import DesktopTemplate, GhostState
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import ConfigError, GhostdeskError, ImportFileError
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId, app_id
from ghostdesk.kernel.resources import Resources
from ghostdesk.prefetch.choose_files import FileBudget
from ghostdesk.prefetch.plan import LoadLimits
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.replay.history import sessions_of
from ghostdesk.replay.learning import teach
from ghostdesk.store.file_histories import FileHistories
from ghostdesk.store.protocol import Store
from ghostdesk.store.sqlite import open_store
from ghostdesk.telemetry.calendars.addresses import AddressPolicy
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.history import History
from ghostdesk.training.curves import curves_folder
from ghostdesk.training.live import LiveCurves, LiveModels
from ghostdesk.training.run import discard_work, models_folder
from ghostdesk.transition.handover import SeamlessTransition

log = logging.getLogger(__name__)
HISTORY_WEEKS = 17
REMEMBERED_LAUNCHES = 5000
"""Launches and sign-ins after which the service target is corrected again when the control plane starts."""
_SHOWN_LAUNCHES = 50
_ELIGIBLE_FOR_S = 2.0
_FLUSH_EVERY_S = 1.0
_FEED_EVERY_S = 60.0
_CAPACITY_EVERY_S = 5.0
_FOLLOW_EVERY_S = 3.0
"""How soon a consent, a deletion or a new model from the command line holds in the running service."""


def calendar_options(settings: Settings) -> CalendarOptions:
    """How calendars are read under these settings."""
    chosen = settings.calendars
    return CalendarOptions(
        timezone=settings.forecast.timezone,
        policy=AddressPolicy(frozenset(host.lower() for host in chosen.allowed_hosts)),
        ca_file=str(chosen.ca_file) if chosen.ca_file else None,
        sync_every_s=chosen.sync_every_s,
        operator_sources=settings.telemetry.sources,
    )


def make_profiles(settings: Settings, served: ServedModel | None = None) -> UserProfileEngine:
    """The profile engine, with the trained models where they can be used; `served` where it is read already."""
    forecast = settings.forecast
    model = served or LiveModels(models_folder(settings.state.directory)).load()
    curves = LiveCurves(curves_folder(settings.state.directory)).load()
    for problem in (model.problem, curves.problem):
        if problem:
            log.warning("%s", problem)
    return UserProfileEngine(
        forecast.timezone, forecast.horizon_s, forecast.slot_s, model.trained, curves.models, judged=model.judged
    )


def recent_history(store: Store, now_s: float) -> History:
    """What forecasts are learnt from."""
    return History.of(store.events(since_s=now_s - HISTORY_WEEKS * 7 * 86_400))


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


def remote_source(settings: Settings) -> RemoteSource:
    """Where homes are on a server; raises `ConfigError` for what is no such place."""
    return RemoteSource.parse(settings.homes.remote, settings.homes.options, settings.homes.cache_bytes)


def forget_copies(settings: Settings, user: UserId) -> None:
    """Have copies of a person's files that an engine keeps of a remote home removed: when nobody uses them any more."""
    RemoteHomes(RemoteSource("rclone", "{user}"), settings.state.directory / "remote-cache").forget(user, in_use=True)


def load_engine(settings: Settings) -> Engine:
    """The engine that the settings name, found by its entry point; raises `ConfigError` for an unknown one."""
    found = {point.name: point for point in entry_points(group="ghostdesk.engines")}
    point = found.get(settings.engine.name)
    if point is None or settings.engine.name == "simulated":
        known = ", ".join(sorted(set(found) - {"simulated"}))
        raise ConfigError(f"There is no engine {settings.engine.name!r}.", f"Engines here: {known}.")
    found_engine = point.load()
    if hasattr(found_engine, "from_settings"):
        made: Engine = found_engine.from_settings(
            settings.engine, settings.state.directory, settings.state.run_directory
        )
        return made
    engine: Engine = found_engine(
        settings.state.directory,
        settings.state.run_directory,
        cgroup_mode=settings.engine.cgroup_mode,
        build_timeout_s=settings.engine.build_timeout_s,
        network=settings.engine.network,
        **_local_options(settings),
    )
    return engine


def parking_swap(settings: Settings) -> ParkingSwap:
    """The swap that is ours on this host."""
    return ParkingSwap(settings.state.directory)


def swap_wish(settings: Settings) -> SwapWish:
    """What of it the operator asked for: nothing, unless desktops run on this host."""
    if settings.engine.name != "local":
        return SwapWish()
    parking = settings.parking
    return SwapWish(
        int(parking.zram_bytes), parking.zram_algorithm, parking.zram_priority, int(parking.swap_file_bytes)
    )


def _local_options(settings: Settings) -> dict[str, Any]:
    """What only some engines know: those that do not are not told, unless it is set."""
    sharing = settings.engine.gpu_sharing
    options = {
        "pin_cores": settings.engine.pin_cores,
        "same_page_merging": settings.parking.same_page_merging,
        "remote_homes": remote_source(settings) if settings.homes.remote else None,
        "gpu_sharing": sharing if sharing != "auto" else "",
        "power": power_options(**asdict(settings.power)) if settings.power != PowerSettings() else None,
    }
    told = {name: value for name, value in options.items() if value}
    return told if settings.engine.ghosts_yield else told | {"ghosts_yield": False}


def store_path(settings: Settings) -> Path:
    """Where the embedded database is."""
    return settings.state.directory / "ghostdesk.db"


def file_histories(settings: Settings) -> FileHistories:
    """Where the names of files that people opened are kept."""
    return FileHistories(settings.state.directory / "file-history")


def open_settings_store(settings: Settings, *, repair: bool = False) -> Store:
    """Open the database, making its folder; see `store.sqlite.open_store` for `repair` and errors."""
    if settings.state.database:
        from ghostdesk.store.postgres import PostgresStore

        return PostgresStore(settings.state.database)
    path = store_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    except OSError as error:
        raise ConfigError(
            f"{path.parent} cannot be made: {error.strerror}.", "Set state.directory to a folder you can write to."
        ) from None
    return open_store(path, now_s=time.time(), repair=repair)


def planner_turn(store: Store) -> Turn | None:
    """The right to plan, where the database is shared; None where it is a file of this machine's own."""
    make: Callable[[], Turn] | None = getattr(store, "planner_turn", None)
    return None if make is None else make()


@contextlib.contextmanager
def sole_control_plane(run_dir: Path) -> Iterator[None]:
    """Hold the lock that says that one control plane runs on these folders; raises `ConfigError` when another does."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        if (
            (found := run_dir.lstat()).st_uid != os.geteuid()
            or not stat.S_ISDIR(found.st_mode)
            or found.st_mode & 0o022
        ):
            raise ConfigError(
                f"{run_dir} is not ours alone: somebody else made it, or may write to it.",
                "Remove it, or set state.run_directory to a folder of your own.",
            )
        handle = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{run_dir} cannot be used: {error.strerror}.", "Set state.run_directory to a folder you can write to."
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(
            f"Another ghostdesk already runs with {run_dir}.",
            "Stop it, or give this one its own state.directory, state.run_directory and server.port.",
        ) from None
    try:
        yield
    finally:
        os.close(handle)


def pool_policy(settings: Settings) -> PoolPolicy:
    """The allocator's policy from the settings."""
    engine, pool = settings.engine, settings.pool
    template = DesktopTemplate(
        TemplateId("generic"),
        engine.width_px,
        engine.height_px,
        tuple(app_id(app) for app in engine.apps),
        engine.network,
    )
    return PoolPolicy(
        template=template,
        floor=pool.floor,
        ceiling=max(pool.ceiling, pool.floor),
        target_hit_rate=pool.target_hit_rate,
        warm_threshold=pool.warm_threshold,
        warm_lead_s=pool.warm_lead_s,
        warm_apps=pool.warm_apps,
        active_app_threshold=pool.active_app_threshold,
        park_after_s=pool.park_after_s,
        ghost_limits=Resources(
            cpu_cores=pool.ghost_cpu_cores,
            memory_bytes=pool.ghost_memory_bytes,
            gpu_share=pool.gpu_share,
            network_bytes_per_s=pool.ghost_network_bytes_per_s,
            storage_bytes_per_s=pool.ghost_storage_bytes_per_s,
        ),
        active_limits=Resources(
            cpu_cores=pool.active_cpu_cores,
            memory_bytes=pool.active_memory_bytes,
            gpu_share=pool.gpu_share,
            network_bytes_per_s=pool.active_network_bytes_per_s,
            storage_bytes_per_s=pool.active_storage_bytes_per_s,
        ),
        in_steps=pool.prewarm_in_steps,
        forecast_only=settings.forecast.forecast_only,
    )


def gate_rules(settings: Settings) -> GateRules:
    """When warming is held back; raises `ConfigError` for levels that do not rise."""
    chosen = settings.context
    bands = {}
    for name in ("cpu_pressure", "memory_pressure", "io_pressure", "memory_in_use", "swap_in_use", "disk_in_use"):
        try:
            bands[name] = Band(*getattr(chosen, name))
        except ValueError as error:
            raise ConfigError(
                f"context.{name}: {error}.", "Give three rising levels: as usual below, slow from, paused from."
            ) from None
    if not (0.0 <= chosen.dwell_s < math.inf and 0.0 <= chosen.fault_hold_s < math.inf):
        raise ConfigError("context.dwell_s and context.fault_hold_s must be 0 or more.", "Give seconds, such as 30.")
    return GateRules(
        cpu=bands["cpu_pressure"],
        memory=bands["memory_pressure"],
        io=bands["io_pressure"],
        memory_use=bands["memory_in_use"],
        swap=bands["swap_in_use"],
        disk=bands["disk_in_use"],
        dwell_s=chosen.dwell_s,
        fault_hold_s=chosen.fault_hold_s,
        watch=chosen.warming_gate,
    )


def link_rules(settings: Settings) -> LinkRules:
    """What a line to a browser must do; raises `ConfigError` for amounts that are no amounts."""
    picture_bytes, budget_s = settings.context.preconnect_picture_bytes, settings.context.preconnect_budget_s
    if not (0.0 <= picture_bytes < math.inf and budget_s > 0.0):
        raise ConfigError(
            "context.preconnect_picture_bytes must be 0 or more, and context.preconnect_budget_s above 0.",
            "Give bytes, such as 200000, and seconds, such as 2.",
        )
    return LinkRules(picture_bytes, budget_s)


def chosen_policy(settings: Settings, clock: Clock) -> PolicyFeed | None:
    """The policy that the settings name, none where they name none; raises `ConfigError` for an unknown one."""
    if not settings.pool.policy:
        return None
    try:
        _, setting = chosen_setting(settings.pool.policy)
    except ConfigError as error:
        raise ConfigError(f"pool.policy: {error.cause}", error.mend) from None
    return PolicyFeed(setting.make(), clock, zone=ZoneInfo(settings.forecast.timezone))


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
        if ticking:
            self._tasks.append(asyncio.create_task(self.loop.run(self.settings.forecast.tick_s, self.plane.wake)))
        self._tasks.append(asyncio.create_task(self.plane.flush_every(_FLUSH_EVERY_S)))
        self._tasks.append(asyncio.create_task(self.plane.personal.follow_every(_FOLLOW_EVERY_S)))
        self._tasks.append(asyncio.create_task(self.feed.follow_every(_FEED_EVERY_S)))
        self._tasks.append(asyncio.create_task(self.capacity.follow_every(_CAPACITY_EVERY_S)))
        self._tasks.append(asyncio.create_task(self.models.follow_every(_FOLLOW_EVERY_S)))
        self._tasks.append(asyncio.create_task(self.curves.follow_every(_FOLLOW_EVERY_S)))
        self._tasks.append(asyncio.create_task(self.user_files.follow_every()))
        self._tasks.append(asyncio.create_task(self.energy.follow_every()))
        retention_days = self.settings.telemetry.retention_days
        self._tasks.append(
            asyncio.create_task(age_out_every(self.store.age_out, self.journal, self.clock, retention_days))
        )

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


def host_power_model(settings: Settings) -> HostPowerModel:
    """The model that answers where no sensor does; raises `ConfigError` for watts that cannot be."""
    chosen = settings.energy
    assumed = HOST_TYPES.get(chosen.host_type)
    if assumed is None:
        raise ConfigError(f"energy.host_type {chosen.host_type!r} is not known.", f"Known: {', '.join(HOST_TYPES)}.")
    every = {
        "idle_w": settings.power.idle_w,
        "busy_w": settings.power.busy_w,
        "suspended_w": chosen.suspended_w,
        "wake_time_s": chosen.wake_time_s,
    }
    told: dict[str, Any] = {name: value for name, value in every.items() if value > 0.0}
    if told:
        told["source"] = "given in the settings"
    if "suspended_w" not in told:  # nothing draws more asleep than idle
        told["suspended_w"] = min(assumed.suspended_w, told.get("idle_w", assumed.idle_w))
    try:
        return replace(assumed, **told)
    except ValueError as error:
        raise ConfigError(f"[energy]: {error}.", "Give suspended_w <= power.idle_w <= power.busy_w.") from None


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
    ahead, prefetcher = settings.prefetch, prefetcher_of(engine, wanted=settings.prefetch.applications)
    prefetch = PrefetchFeed(
        prefetcher, clock, budget_bytes=ahead.budget_bytes, limits=LoadLimits(ahead.bytes_per_s, ahead.reserve_bytes),
        within_s=settings.pool.warm_lead_s,
    )  # fmt: skip
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
    secrets = SecretFiles(settings.state.directory / "secrets")
    sync = CalendarSync(store, secrets, calendar_options(settings))
    personal.links.ways = profiles.ways
    personal.links.secrets, personal.links.read_calendar = secrets, sync.add_text
    personal.links.discard_work = lambda: discard_work(settings.state.directory)
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
        settings,
        store,
        engine,
        hub,
        plane,
        loop,
        executor,
        journal,
        clock,
        feed,
        follower,
        curve_feed,
        user_files,
        capacity,
        prefetch,
        energy,
    )

"""The host that a simulated engine pretends to have: its figures, its desktops, and the faults that tests inject.

Every figure here is an assumption that can be set, never a measurement; what simulated engines return says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import log

from ghostdesk.engines.protocol import Endpoint
from ghostdesk.ghosts.commands import Build, Command
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import BuildFailed, EngineError, GhostdeskError, InsufficientCapacity, MissingRequirement
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.kernel.resources import GIB, MIB, NOTHING, Resources

SIMULATED: dict[str, float | str] = {"simulated": "yes"}
"""In the facts of every simulated outcome, so that no table takes it for a measurement."""
Conditions = HostConditions | Callable[[float], HostConditions]
ANY_AMOUNT_BYTES = 1e15
"""A host with so much memory has room for whatever is built; nobody adds up."""


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a thing takes: lognormal, given its median in seconds and the standard deviation of its logarithm."""

    median_s: float
    spread: float = 0.0

    def draw_s(self, generator: random.Random) -> float:
        """One duration."""
        if self.median_s <= 0:
            return 0.0
        return generator.lognormvariate(log(self.median_s), self.spread)


@dataclass(frozen=True, slots=True)
class SimulatedFigures:
    """What things take and hold in the simulation. Keys of `durations` are command names, and "cold" for a cold launch.

    Args:
        durations: time of each command; one that is not named takes no time.
        ready_bytes: memory of a booted desktop.
        app_bytes: what each launched application adds.
        parked_share: share of a desktop's memory that stays resident when it was reclaimed.
        idle_cpu_cores: CPU of a desktop that runs and is not frozen.
    """

    durations: dict[str, Duration] = field(
        default_factory=lambda: {
            "CacheTemplate": Duration(1.0, 0.3),
            "Build": Duration(0.6, 0.35),
            "AttachHome": Duration(0.002, 0.2),
            "SetLimits": Duration(0.002, 0.2),
            "Freeze": Duration(0.002, 0.3),
            "Thaw": Duration(0.002, 0.3),
            "ReclaimMemory": Duration(0.1, 0.5),
            "CallBackMemory": Duration(0.05, 0.5),
            "Destroy": Duration(0.05, 0.3),
            "ShowApp": Duration(0.009, 0.3),
            "HideApp": Duration(0.01, 0.3),
            "cold": Duration(1.2, 0.4),
        }
    )
    ready_bytes: int = 40 * MIB
    app_bytes: int = 150 * MIB
    parked_share: float = 0.1
    idle_cpu_cores: float = 0.0003


@dataclass
class SimulatedDesktop:
    """One pretended desktop. `apps` maps an application to "hidden" or "shown"."""

    ghost: GhostId
    template: str
    limits: Resources = NOTHING
    alive: bool = True
    frozen: bool = False
    reclaimed: bool = False
    owner: UserId | None = None
    bound: UserId | None = None
    agent_alive: bool = True
    apps: dict[AppId, str] = field(default_factory=dict)
    running_since_s: float = 0.0
    cpu_s: float = 0.0


class SimulatedHost:
    """What outlives an engine: hand one host to several engines to play a restart of the control plane.

    Args:
        clock: whose time passes while commands run.
        seed: the same seed, ghosts and commands give the same durations, whatever runs beside them.
        capacity: what the host has; a build that does not fit fails with `InsufficientCapacity`.
        apps: applications that can be started; empty for any.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 0,
        figures: SimulatedFigures | None = None,
        capacity: Resources | None = None,
        apps: frozenset[AppId] = frozenset(),
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.figures = figures or SimulatedFigures()
        self.capacity = capacity or Resources(cpu_cores=16.0, memory_bytes=32.0 * GIB)
        self.apps = apps
        self.desktops: dict[GhostId, SimulatedDesktop] = {}
        self.missing: dict[str, str] = {}
        self.conditions: Conditions = HostConditions(0.0)
        """What the host is like: a reading, or what gives one at a time (for replays of what a real host was like)."""
        self._refusals: dict[str, list[GhostdeskError]] = {}
        self._draws: dict[str, int] = {}
        self._locks: dict[GhostId, asyncio.Lock] = {}
        self._endpoints: dict[GhostId, Endpoint] = {}

    # Faults, for tests.

    def fail(self, command: type, times: int = 1, error: GhostdeskError | None = None) -> None:
        """Let the next `times` commands of this type fail after their usual time; by default as a desktop would."""
        name = command.__name__
        kind = BuildFailed if command is Build else EngineError
        told = error or kind(f"{name} failed: this fault was injected into the simulation.")
        self._refusals.setdefault(name, []).extend([told] * times)

    def take_away(self, name: str, mend: str = "Give it back with give_back().") -> None:
        """Let a requirement be missing: starts and builds fail with `MissingRequirement` until it is given back."""
        self.missing[name] = mend

    def give_back(self, name: str) -> None:
        """The requirement is there again."""
        self.missing.pop(name, None)

    def vanish(self, ghost: GhostId) -> None:
        """The desktop is gone without a trace, as after a reboot of its host."""
        self.desktops.pop(ghost, None)

    def kill(self, ghost: GhostId) -> None:
        """The desktop's first process dies; what is left of it is still observed, not alive."""
        if desktop := self.desktops.get(ghost):
            desktop.alive = desktop.agent_alive = False

    def conditions_now(self) -> HostConditions:
        """The reading that was set, at the present time; memory and disk that were not set are there, and all free."""
        now_s = self.clock.now_s()
        told = self.conditions(now_s) if callable(self.conditions) else self.conditions
        whole = self.capacity.memory_bytes
        if not told.memory_bytes:
            told = replace(told, memory_bytes=whole, memory_available_bytes=whole)
        if not told.disk_bytes:
            told = replace(told, disk_bytes=whole, disk_free_bytes=whole)
        return replace(told, time_s=now_s, problems=(*told.problems, "this host is simulated"))

    # What engines and agents share.

    def lock(self, ghost: GhostId) -> asyncio.Lock:
        """One command at a time a ghost; ghosts do not wait for each other."""
        lock = self._locks.get(ghost)
        if lock is None:
            lock = self._locks[ghost] = asyncio.Lock()
        return lock

    def duration_s(self, ghost: GhostId, name: str) -> float:
        """How long the next `name` on this ghost takes."""
        spread = self.figures.durations.get(name)
        if spread is None:
            return 0.0
        if spread.spread == 0.0:
            return max(spread.median_s, 0.0)
        key = f"{self.seed}/{ghost}/{name}"
        self._draws[key] = number = self._draws.get(key, 0) + 1
        return spread.draw_s(random.Random(f"{key}/{number}"))  # noqa: S311  (a simulation, nothing secret)

    def forget(self, ghost: GhostId) -> None:
        """Drop what is kept of a desktop that was destroyed: ids are used once."""
        self.desktops.pop(ghost, None)
        self._locks.pop(ghost, None)
        self._endpoints.pop(ghost, None)
        for name in self.figures.durations:
            self._draws.pop(f"{self.seed}/{ghost}/{name}", None)

    def instant(self, command: Command) -> bool:
        """Whether the command takes no time, and no fault waits for it."""
        name = type(command).__name__
        return name not in self.figures.durations and name not in self._refusals

    def refusal(self, command: Command) -> GhostdeskError | None:
        """The injected fault that this command meets, used up."""
        waiting = self._refusals.get(type(command).__name__)
        return waiting.pop(0) if waiting else None

    def check_requirements(self) -> None:
        """Raise `MissingRequirement` for what was taken away."""
        for name, mend in self.missing.items():
            raise MissingRequirement(f"{name} is missing (simulated).", mend)

    def check_room(self) -> None:
        """Raise `InsufficientCapacity` when another desktop does not fit."""
        if self.capacity.memory_bytes >= ANY_AMOUNT_BYTES:
            return
        held = sum(self.memory_bytes(one) for one in self.desktops.values())
        if held + self.figures.ready_bytes > self.capacity.memory_bytes:
            raise InsufficientCapacity(
                f"The simulated host holds {held / MIB:.0f} MiB of {self.capacity.memory_bytes / MIB:.0f} MiB.",
                "Destroy or park a desktop, or give the simulated host more memory.",
            )

    def memory_bytes(self, desktop: SimulatedDesktop) -> int:
        """What the desktop holds by the simulation's figures."""
        if not desktop.alive:
            return 0
        whole = self.figures.ready_bytes + len(desktop.apps) * self.figures.app_bytes
        return int(whole * self.figures.parked_share) if desktop.reclaimed else whole

    def cpu_s(self, desktop: SimulatedDesktop) -> float:
        """CPU seconds so far by the simulation's figures."""
        if desktop.frozen or not desktop.alive:
            return desktop.cpu_s
        return desktop.cpu_s + (self.clock.now_s() - desktop.running_since_s) * self.figures.idle_cpu_cores

    def set_frozen(self, desktop: SimulatedDesktop, frozen: bool) -> None:
        """Freeze or thaw, keeping the count of CPU seconds."""
        desktop.cpu_s = self.cpu_s(desktop)
        desktop.running_since_s = self.clock.now_s()
        desktop.frozen = frozen
        desktop.reclaimed = desktop.reclaimed and frozen

    def endpoint(self, ghost: GhostId) -> Endpoint:
        """Paths that lead nowhere, and a credential that stays the same for a ghost."""
        known = self._endpoints.get(ghost)
        if known is not None:
            return known
        token = hashlib.blake2b(f"{self.seed}/{ghost}".encode(), digest_size=16).hexdigest()
        known = Endpoint(f"/simulated/{ghost}/rfb", f"/simulated/{ghost}/agent", token, 65_534)
        self._endpoints[ghost] = known
        return known

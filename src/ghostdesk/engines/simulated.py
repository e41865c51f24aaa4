"""An engine that only pretends, in virtual time: for tests of the control plane and for replay.

Nothing real is started. Durations, memory and CPU follow `SimulatedFigures`, and everything that comes back says that
it is simulated. Faults are injected through the host: `SimulatedHost.fail`, `take_away`, `vanish`, `kill`, and
`SimulatedAgents.die`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import assert_never

from ghostdesk.engines.protocol import PARKING, Ability, Endpoint, ObservedGhost
from ghostdesk.engines.simulated_agents import SimulatedAgents
from ghostdesk.engines.simulated_host import (
    SIMULATED,
    Duration,
    SimulatedDesktop,
    SimulatedFigures,
    SimulatedHost,
)
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CacheTemplate,
    CallBackMemory,
    Destroy,
    EngineCommand,
    Freeze,
    Outcome,
    ReclaimMemory,
    SetLimits,
    Thaw,
)
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import Conflict, EngineError, GhostdeskError, NotFound
from ghostdesk.kernel.ids import GhostId, TemplateId, ghost_id
from ghostdesk.kernel.resources import Resources

__all__ = [
    "SIMULATED_TEMPLATE",
    "Duration",
    "SimulatedAgents",
    "SimulatedEngine",
    "SimulatedFigures",
    "SimulatedHost",
]

SIMULATED_TEMPLATE = DesktopTemplate(TemplateId("simulated"))


class SimulatedEngine:
    """An `Engine` over a `SimulatedHost`; a second engine over the same host finds the first one's desktops."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host

    async def start(self) -> None:
        """Raises `MissingRequirement` for what was taken away from the host."""
        self._host.check_requirements()

    async def observe(self) -> Sequence[ObservedGhost]:
        """Every simulated desktop, in the order in which they were built."""
        host = self._host
        return [
            ObservedGhost(
                one.ghost, one.alive, one.frozen, one.owner, one.template, host.memory_bytes(one), host.cpu_s(one)
            )
            for one in host.desktops.values()
        ]

    async def apply(self, command: EngineCommand) -> Outcome:
        """Let the command's time pass, then let it take effect; failures come back in the outcome."""
        start_s = self._host.clock.now_s()
        error: GhostdeskError | None = None
        lock = self._host.lock(command.ghost)
        try:
            if isinstance(command, SetLimits | Freeze | Thaw) and self._host.instant(command) and not lock.locked():
                self._change(self._living(command.ghost), command)  # nothing can come between
            else:
                # Pages come back beside whatever else happens, as on a real host.
                async with contextlib.nullcontext() if isinstance(command, CallBackMemory) else lock:
                    await self._carry_out(command)
        except GhostdeskError as raised:
            error = raised
        except ValueError as raised:  # a name that is none
            error = EngineError(f"{raised}.", "Give another id.")
        return Outcome(command, error, self._host.clock.now_s() - start_s, dict(SIMULATED))

    def endpoint(self, ghost: GhostId) -> Endpoint:
        """Where the desktop would answer; raises `NotFound`."""
        if ghost not in self._host.desktops:
            raise NotFound(f"There is no simulated desktop {ghost}.", "It was destroyed, or never built.")
        return self._host.endpoint(ghost)

    def abilities(self) -> Sequence[Ability]:
        """That all this is simulated, and what was taken away."""
        simulated = Ability("simulated", True, "no desktop is real: durations and memory are assumed figures")
        gone = [
            Ability(name, False, f"{name} is missing (simulated)", mend) for name, mend in self._host.missing.items()
        ]
        parking = [] if PARKING in self._host.missing else [Ability(PARKING, True, "simulated swap")]
        return [simulated, *gone, *parking]

    def capacity(self) -> Resources:
        """What the simulated host was given."""
        return self._host.capacity

    async def conditions(self) -> HostConditions:
        """What the host was set to; calm by itself. Every reading says that it is simulated."""
        return self._host.conditions_now()

    async def stop(self, *, keep_ghosts: bool) -> None:
        """Leave the host; with `keep_ghosts` false every simulated desktop is gone."""
        if not keep_ghosts:
            self._host.desktops.clear()

    async def _carry_out(self, command: EngineCommand) -> None:
        match command:
            case Build():
                await self._build(command)
            case CacheTemplate():
                await self._spend(command)
            case Destroy(ghost):
                if ghost in self._host.desktops:
                    await self._spend(command)
                    self._host.forget(ghost)
            case AttachHome() | SetLimits() | Freeze() | Thaw() | ReclaimMemory() | CallBackMemory():
                self._living(command.ghost)
                await self._spend(command)
                self._change(self._living(command.ghost), command)
            case _:
                assert_never(command)

    async def _build(self, command: Build) -> None:
        present = self._host.desktops.get(command.ghost)
        if present is not None and present.alive:
            return
        ghost_id(command.ghost)
        self._host.check_requirements()
        self._host.check_room()
        await self._spend(command)
        self._host.check_room()  # builds that ran beside this one may have taken the room
        self._host.desktops[command.ghost] = SimulatedDesktop(
            command.ghost,
            command.template.template,
            limits=command.limits,
            running_since_s=self._host.clock.now_s(),
        )

    def _change(
        self,
        desktop: SimulatedDesktop,
        command: AttachHome | SetLimits | Freeze | Thaw | ReclaimMemory | CallBackMemory,
    ) -> None:
        match command:
            case AttachHome(ghost, user):
                if not user or user[0] in ".-" or "/" in user:  # replays name people in their own way
                    raise ValueError(f"{user!r} is no user id")
                if desktop.owner not in (None, user):
                    raise Conflict(
                        f"Simulated desktop {ghost} already holds another user's home.", "Take another ghost."
                    )
                desktop.owner = user
            case SetLimits(_, limits):
                desktop.limits = limits
            case Freeze():
                self._host.set_frozen(desktop, True)
            case Thaw():
                self._host.set_frozen(desktop, False)
            case ReclaimMemory(ghost):
                if not desktop.frozen:
                    raise EngineError(
                        f"Simulated desktop {ghost} is not frozen.", "Freeze it before its memory is reclaimed."
                    )
                desktop.reclaimed = True
            case CallBackMemory():
                desktop.reclaimed = False

    async def _spend(self, command: EngineCommand) -> None:
        duration_s = self._host.duration_s(command.ghost, type(command).__name__)
        if duration_s > 0:
            await self._host.clock.sleep(duration_s)
        if refusal := self._host.refusal(command):
            raise refusal

    def _living(self, ghost: GhostId) -> SimulatedDesktop:
        desktop = self._host.desktops.get(ghost)
        if desktop is None:
            raise NotFound(f"There is no simulated desktop {ghost}.", "It was destroyed, or never built.")
        if not desktop.alive:
            raise EngineError(f"Simulated desktop {ghost} has died.", "Destroy it and build another.")
        return desktop

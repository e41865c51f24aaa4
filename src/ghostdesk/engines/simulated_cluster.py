"""Many pretended hosts behind one engine, as a cluster's API shows them: it places desktops, and hosts can be lost.

Like a real cluster's list, `observe` still names the desktops of a host that does not answer, as not alive. Some of
them really died with it; those of a host that was only cut off run on, and are there again when it comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.engines.protocol import ObservedGhost
from ghostdesk.engines.simulated import SimulatedEngine
from ghostdesk.engines.simulated_agents import SimulatedAgents
from ghostdesk.engines.simulated_host import SIMULATED, SimulatedDesktop, SimulatedFigures, SimulatedHost
from ghostdesk.ghosts.commands import Build, EngineCommand, Outcome
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import EngineError, InsufficientCapacity
from ghostdesk.kernel.ids import GhostId, HostId, UserId
from ghostdesk.kernel.resources import Resources

UNREACHABLE_S = 10.0
"""How long a command to a host that does not answer takes to fail."""
_NO_ROOM = -1
_CORES_A_HOST = 64.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A desktop as it really is, whatever the cluster's list says.

    Args:
        ghost: its id.
        host: number of its host.
        alive: whether its processes run, reachable or not.
        owner: whose home is attached.
        frozen: whether it is frozen.
        reachable: whether its host answers.
    """

    ghost: GhostId
    host: int
    alive: bool
    owner: UserId | None = None
    frozen: bool = False
    reachable: bool = True


class SimulatedCluster(SimulatedHost):
    """The hosts of one cluster, which outlive an engine.

    Args:
        clock: whose time passes while commands run.
        hosts: how many.
        desktops_a_host: how many desktops each has room for; being built counts.
        host_memory_bytes: memory of each.
        seed, figures: see `SimulatedHost`.
    """

    def __init__(
        self,
        clock: Clock,
        hosts: int,
        *,
        desktops_a_host: int,
        host_memory_bytes: float,
        seed: int = 0,
        figures: SimulatedFigures | None = None,
    ) -> None:
        super().__init__(clock, seed=seed, figures=figures)
        self.hosts, self.desktops_a_host = hosts, desktops_a_host
        self.where: dict[GhostId, int] = {}
        self.away: dict[int, bool] = {}
        """Hosts that do not answer, and whether their desktops died."""
        self._host_memory_bytes = host_memory_bytes
        self._room = np.full(hosts, desktops_a_host, np.int64)
        self._open = self._room.copy()
        """What is left on each host that answers; -1 for the others."""
        self._measure()

    def check_room(self) -> None:
        """Room is looked for host by host; see `place`."""

    def place(self, ghost: GhostId) -> int:
        """Take room for a desktop on the emptiest host that answers; raises `InsufficientCapacity`."""
        if ghost in self.where:
            return self.where[ghost]
        host = int(self._open.argmax())
        if self._open[host] <= 0:
            raise InsufficientCapacity(
                f"None of {self.hosts - len(self.away)} simulated hosts has room for another desktop.",
                "Destroy a desktop, or give the simulation more hosts.",
            )
        self.where[ghost] = host
        self._room[host] -= 1
        self._open[host] -= 1
        return host

    def give_up(self, ghost: GhostId) -> None:
        """Give the room of a desktop back."""
        host = self.where.pop(ghost, None)
        if host is not None:
            self._room[host] += 1
            self._open[host] = _NO_ROOM if host in self.away else self._room[host]

    def forget(self, ghost: GhostId) -> None:
        """Drop what is kept of a desktop that was destroyed."""
        super().forget(ghost)
        self.give_up(ghost)

    def vanish(self, ghost: GhostId) -> None:
        """The desktop is gone without a trace."""
        super().vanish(ghost)
        self.give_up(ghost)

    def lose(self, host: int, *, dies: bool) -> None:
        """The host does not answer any more; with `dies` its desktops ended with it."""
        self.away[host] = dies or self.away.get(host, False)
        self._open[host] = _NO_ROOM
        if dies:
            for ghost in self.on_host(host):
                self.kill(ghost)
        self._measure()

    def bring_back(self, host: int) -> None:
        """The host answers again: with what is left of its desktops, or with all that ran on."""
        self.away.pop(host, None)
        self._open[host] = self._room[host]
        self._measure()

    def on_host(self, host: int) -> list[GhostId]:
        """Its desktops."""
        return [ghost for ghost, at in self.where.items() if at == host and ghost in self.desktops]

    def reachable(self, ghost: GhostId) -> bool:
        """Whether the host of this desktop answers; true for one that is nowhere."""
        return not self.away or self.where.get(ghost) not in self.away

    def instances(self) -> list[Instance]:
        """Every desktop as it really is."""
        away, where = self.away, self.where
        return [
            Instance(g, where[g], one.alive, one.owner, one.frozen, where[g] not in away)
            for g, one in self.desktops.items()
        ]

    def populate(self, desktops: Iterable[tuple[GhostId, UserId]]) -> None:
        """Let desktops run that a control plane before this one built and handed over."""
        now_s = self.clock.now_s()
        for ghost, user in desktops:
            self.place(ghost)
            self.desktops[ghost] = SimulatedDesktop(ghost, "simulated", owner=user, bound=user, running_since_s=now_s)

    def _measure(self) -> None:
        count = self.hosts - len(self.away)
        self.capacity = Resources(cpu_cores=count * _CORES_A_HOST, memory_bytes=count * self._host_memory_bytes)


class SimulatedClusterEngine(SimulatedEngine):
    """An `Engine` over a `SimulatedCluster`."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        super().__init__(cluster)
        self._cluster = cluster

    async def observe(self) -> Sequence[ObservedGhost]:
        """The cluster's list: one call, whichever hosts answer."""
        cluster = self._cluster
        away, where, names = cluster.away, cluster.where, [host_name(n) for n in range(cluster.hosts)]
        return [
            ObservedGhost(
                one.ghost,
                one.alive and where[one.ghost] not in away,
                one.frozen,
                one.owner,
                one.template,
                cluster.memory_bytes(one),
                host=names[where[one.ghost]],
            )
            for one in cluster.desktops.values()
        ]

    async def apply(self, command: EngineCommand) -> Outcome:
        """Carry it out; a command to a host that does not answer fails after `UNREACHABLE_S`."""
        start_s = self._cluster.clock.now_s()
        if not self._cluster.reachable(command.ghost):
            await self._cluster.clock.sleep(UNREACHABLE_S)
            if not self._cluster.reachable(command.ghost):
                return Outcome(command, self._no_answer(command.ghost), UNREACHABLE_S, dict(SIMULATED))
        outcome = await super().apply(command)
        duration_s = self._cluster.clock.now_s() - start_s
        facts = dict(SIMULATED)
        if isinstance(command, Build) and outcome.ok:
            facts["location"] = host_name(self._cluster.where[command.ghost])
        return Outcome(command, outcome.error, duration_s, facts)

    async def _build(self, command: Build) -> None:
        cluster = self._cluster
        present = cluster.desktops.get(command.ghost)
        if present is not None and present.alive:
            return
        cluster.place(command.ghost)
        try:
            await super()._build(command)
        finally:
            if command.ghost not in cluster.desktops:
                cluster.give_up(command.ghost)

    async def _spend(self, command: EngineCommand) -> None:
        await super()._spend(command)
        if not self._cluster.reachable(command.ghost):
            raise self._no_answer(command.ghost)

    def _no_answer(self, ghost: GhostId) -> EngineError:
        name = host_name(self._cluster.where[ghost])
        return EngineError(f"Simulated host {name} does not answer.", "It is tried again until the host is back.")


class SimulatedClusterAgents(SimulatedAgents):
    """Agents that answer as long as their host does."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        super().__init__(cluster)
        self._cluster = cluster

    def _answers(self, ghost: GhostId) -> bool:
        return super()._answers(ghost) and self._cluster.reachable(ghost)


def host_name(number: int) -> HostId:
    """How a host is called."""
    return HostId(f"simulated-{number}")

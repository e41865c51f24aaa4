"""The host as the engine sees it: which ghosts are gone, what is used, what there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ghostdesk.allocator.plan import Context, PoolPolicy
from ghostdesk.control.supply import Supply
from ghostdesk.engines.protocol import PARKING, Engine, ObservedGhost
from ghostdesk.ghosts.ghost import LIVE
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Resources


class HostObserver:
    """Reads the engine once a tick and keeps what it saw."""

    def __init__(self, engine: Engine, *, memory_share: float, watched: Callable[[], frozenset[GhostId]]) -> None:
        self._engine = engine
        self._memory_share = memory_share
        self._watched = watched
        self.seen: dict[GhostId, ObservedGhost] = {}

    @property
    def capacity(self) -> Resources:
        """What the host has in all."""
        return self._engine.capacity()

    async def read(self) -> Sequence[ObservedGhost]:
        """Look again."""
        found = await self._engine.observe()
        self.seen = {g.ghost: g for g in found}
        return found

    async def find_lost(self, manager: GhostDesktopManager) -> list[tuple[GhostId, str]]:
        """Ghosts that should run and do not, each with the reason."""
        live_before = {g.ghost for g in manager if g.state in LIVE}
        await self.read()
        lost = []
        for ghost in manager:
            if ghost.ghost not in live_before or ghost.state not in LIVE:
                continue
            seen = self.seen.get(ghost.ghost)
            if seen is None:
                lost.append((ghost.ghost, "its desktop is gone from the host"))
            elif not seen.alive:
                lost.append((ghost.ghost, "its first process ended"))
        return lost

    def context(self, supply: Supply, policy: PoolPolicy, now_s: float) -> Context:
        """What the plan must know of the host."""
        capacity = self._engine.capacity()
        used_bytes = sum(max(float(g.memory_bytes), policy.ghost_memory_bytes) for g in self.seen.values())
        lead = supply.lead_time
        return Context(
            capacity=Resources(
                capacity.cpu_cores,
                capacity.memory_bytes * self._memory_share,
                capacity.gpu_share,
                capacity.network_bytes_per_s,
                capacity.storage_bytes_per_s,
            ),
            used=Resources(memory_bytes=used_bytes),
            build_time_s=lead.mean_s,
            build_spread=lead.spread,
            can_park=any(a.name == PARKING and a.available for a in self._engine.abilities()),
            build_blocked=supply.backoff.blocked(now_s),
            watched=self._watched(),
        )

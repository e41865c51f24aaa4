"""The host as the engine sees it: which ghosts are gone, what is used, what there is, and how it fares."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from ghostdesk.allocator.conditions_gate import GateRules, WarmingGate
from ghostdesk.allocator.links import DEFAULT_LINK_RULES
from ghostdesk.allocator.plan import Context, PoolPolicy
from ghostdesk.control.links import LinkBook
from ghostdesk.control.supply import Supply
from ghostdesk.engines.protocol import PARKING, Engine, ObservedGhost
from ghostdesk.ghosts.ghost import LIVE, GhostState
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import NOTHING, Resources

log = logging.getLogger(__name__)
_CHANGES = 20
_ABILITIES_FOR_S = 30.0
STRAY_AFTER_S = 60.0
"""A desktop that nobody knows of is removed after so long: a build that came after it was given up leaves one. Until
then it may be somebody's test, or the work of a control plane that has just gone."""


class HostObserver:
    """Reads the engine once a tick and keeps what it saw.

    Args:
        memory_share: share of the host's memory that ghosts and desktops may hold together.
        watched: ghosts that a browser is connected to.
        every_s: ticks that follow a reading sooner than this go by what was seen then; 0 reads at every tick.
        rules: when warming is slowed down and paused.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        memory_share: float,
        watched: Callable[[], frozenset[GhostId]],
        every_s: float = 0.0,
        rules: GateRules | None = None,
    ) -> None:
        self._engine = engine
        self._memory_share = memory_share
        self._watched = watched
        self._every_s = every_s
        self._read_s = float("-inf")
        self._read_bytes = 0.0
        self._can_park, self._abilities_s = False, float("-inf")
        self._whole, self._share = NOTHING, NOTHING
        self.seen: dict[GhostId, ObservedGhost] = {}
        self.links: LinkBook | None = None
        self.conditions: HostConditions | None = None
        self.gate = WarmingGate(rules or GateRules())
        self.changes: deque[tuple[float, str]] = deque(maxlen=_CHANGES)
        """When the gate moved, and how, latest first."""
        self.held_bytes: dict[GhostId, float] = {}
        """Memory of each ghost and desktop at the last reading."""
        self._strays: dict[GhostId, float] = {}
        self.frozen_in_use: list[GhostId] = []
        """Desktops that somebody works in and that were frozen at the last reading: by a call whose answer never came,
        and which was carried out after the person had come."""

    @property
    def capacity(self) -> Resources:
        """What the host has in all."""
        return self._engine.capacity()

    async def read(self, *, abilities: bool = True) -> Sequence[ObservedGhost]:
        """Look again; what the host can do changes seldom, and costs files and counters to find out."""
        found = await self._engine.observe()
        self.seen = {g.ghost: g for g in found}
        self.held_bytes = {g.ghost: float(g.memory_bytes) for g in found}
        if abilities:
            self._can_park = any(a.name == PARKING and a.available for a in self._engine.abilities())
        return found

    async def find_lost(self, manager: GhostDesktopManager, now_s: float) -> list[tuple[GhostId, str]]:
        """Ghosts that should run and do not, each with the reason."""
        if self._recent(now_s):
            self.frozen_in_use = []
            return []
        self._read_s = now_s
        known_before, self.frozen_in_use = manager.ids(), []
        live_before = {g.ghost for g in manager if g.state in LIVE}
        stale = not self._abilities_s <= now_s < self._abilities_s + _ABILITIES_FOR_S
        await self.read(abilities=stale)
        self._abilities_s = now_s if stale else self._abilities_s
        await self._look(now_s)
        unknown = self.seen.keys() - known_before
        self._strays = {ghost: self._strays.get(ghost, now_s) for ghost in unknown if ghost not in manager}
        lost = []
        for ghost in manager:
            if ghost.ghost not in live_before or ghost.state not in LIVE:
                continue
            seen = self.seen.get(ghost.ghost)
            if seen is None:
                lost.append((ghost.ghost, "its desktop is gone from the host"))
            elif not seen.alive:
                lost.append((ghost.ghost, "its first process ended"))
            elif seen.frozen and ghost.state is GhostState.ACTIVE and ghost.pending is None:
                self.frozen_in_use.append(ghost.ghost)
        return lost

    def strays(self, now_s: float) -> list[ObservedGhost]:
        """Desktops of ours that were seen for `STRAY_AFTER_S` and that nobody knows of."""
        due = [ghost for ghost, since_s in self._strays.items() if now_s - since_s >= STRAY_AFTER_S]
        return [self.seen[ghost] for ghost in due if ghost in self.seen]

    async def _look(self, now_s: float) -> None:
        """How the host fares. An engine that cannot tell stops nothing: what was seen last counts for a while."""
        try:
            self.conditions = await self._engine.conditions()
        except (GhostdeskError, OSError) as error:
            log.warning("the host's conditions cannot be read: %s", error)
            self.conditions = None
        self.gate = self.gate.observe(self.conditions, now_s)
        if self.gate.change:
            log.info("%s", self.gate.change)
            self.changes.appendleft((now_s, self.gate.change))

    def context(self, supply: Supply, policy: PoolPolicy, now_s: float, ghosts: int) -> Context:
        """What the plan must know of the host. Of `ghosts`, those that were not there at the last reading count with
        the policy's `ghost_memory_bytes`."""
        if self._read_s == now_s or not self._recent(now_s):
            self._read_bytes = sum(max(float(g.memory_bytes), policy.ghost_memory_bytes) for g in self.seen.values())
        used_bytes = self._read_bytes
        if self._recent(now_s):
            used_bytes += (ghosts - len(self.seen)) * policy.ghost_memory_bytes
        lead = supply.lead_time
        return Context(
            capacity=self.our_share(),
            used=Resources(memory_bytes=used_bytes),
            build_time_s=lead.mean_s,
            build_spread=lead.spread,
            can_park=self._can_park,
            build_blocked=supply.backoff.blocked(now_s),
            watched=self._watched(),
            conditions=self.conditions,
            gate=self.gate,
            held_bytes=self.held_bytes,
            links=self.links.by_user() if self.links is not None else {},
            link_rules=self.links.rules if self.links is not None else DEFAULT_LINK_RULES,
        )

    def our_share(self) -> Resources:
        """What of the host is ours; worked out anew when the host has changed."""
        whole = self._engine.capacity()
        if whole is not self._whole:
            self._whole, self._share = whole, replace(whole, memory_bytes=whole.memory_bytes * self._memory_share)
        return self._share

    def _recent(self, now_s: float) -> bool:
        """Whether the last reading still holds; a clock that was set back makes it void."""
        return self._read_s <= now_s < self._read_s + self._every_s

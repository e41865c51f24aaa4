"""What is read of a server or cluster, again and again: our instances, what they use, and what the machines have."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ghostdesk.engines.incus.api import IncusApi, instance_path
from ghostdesk.engines.incus.members import ALONE, Member, capacity_of, conditions_of, members_of
from ghostdesk.engines.incus.render import ALIVE, POOL, observed
from ghostdesk.engines.incus.states import READ_AT_ONCE, Readings, usage_of
from ghostdesk.engines.protocol import ObservedGhost
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.resources import Resources

_MACHINES_EVERY_S = 5.0


class Fleet:
    """Reads the server; changes nothing.

    Args:
        api: the server.
        pool: tells our instances from others'.
        group: the cluster group that ghosts are placed in; empty for all members.
        storage: the storage pool of their disks.
    """

    def __init__(self, api: IncusApi, pool: str, group: str, storage: str) -> None:
        self._api, self._pool, self._group, self._storage = api, pool, group, storage
        self._readings = Readings()
        self._reading: asyncio.Task[None] | None = None
        self._clustered = False
        self.members: tuple[Member, ...] = ()
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._troubles: list[str] = []
        self._read_s = float("-inf")

    async def start(self, told: Mapping[str, Any]) -> None:
        """Learn which machines there are, from what the server tells of itself; raises what the API raises."""
        self._clustered = bool((told.get("environment") or {}).get("server_clustered"))
        self.look_again()
        await self._read_machines()
        if not self._resources:
            await self._api.get("/1.0/resources")  # says why

    async def instances(self) -> list[dict[str, Any]]:
        """Our instances without their state, one call for the whole cluster."""
        found = await self._api.get("/1.0/instances", recursion="1")
        return [one for one in found if (one.get("config") or {}).get(POOL) == self._pool]

    async def observe(self) -> Sequence[ObservedGhost]:
        """Every instance of ours, alive or not, on every member; what they use is read beside, and may be older."""
        listed = await self.instances()
        living = {str(one["name"]) for one in listed if one.get("status") in ALIVE}
        self._readings = self._readings.kept(living)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_states(living))
        seen = [observed(one, self._pool, self._readings.usage(str(one["name"]))) for one in listed]
        return [ghost for ghost in seen if ghost is not None]

    async def _read_states(self, living: set[str]) -> None:
        slots = asyncio.Semaphore(READ_AT_ONCE)

        async def read(name: str) -> None:
            async with slots:
                # One that is gone is told of by the next list; a server in trouble by the next tick.
                with contextlib.suppress(GhostdeskError, ValueError, TypeError, AttributeError):
                    state = await self._api.get(instance_path(name, "/state"))
                    self._readings = self._readings.noted(name, usage_of(state, time.monotonic()))

        await asyncio.gather(*(read(name) for name in self._readings.next_round(living, time.monotonic())))

    def capacity(self) -> Resources:
        """What the members that are there have together, as last read."""
        return capacity_of(self._resources)

    async def conditions(self) -> HostConditions:
        """Memory and disk of all members, as far as the API tells; nothing is raised."""
        await self._read_machines()
        return conditions_of(self.members, self._resources, self._troubles, time.time())

    def look_again(self) -> None:
        """The server said something that does not fit what was read: the next reading is a new one."""
        self._read_s = float("-inf")

    async def _read_machines(self) -> None:
        if time.monotonic() - self._read_s < _MACHINES_EVERY_S:
            return
        self._read_s = time.monotonic()
        self._troubles = []
        if self._clustered:
            try:
                self.members = members_of(await self._api.get("/1.0/cluster/members", recursion="1"), self._group)
            except GhostdeskError as error:
                self._troubles.append(str(error))
        else:
            self.members = (Member(ALONE),)
        there = [member.name for member in self.members if member.online]
        answers = await asyncio.gather(*(self._resources_of(name) for name in there))
        self._resources = {name: told for name, told in zip(there, answers, strict=True) if told}

    async def _resources_of(self, member: str) -> Mapping[str, Any]:
        """One machine's; empty, with the trouble noted, when it does not answer."""
        place = {"target": member} if member else {}
        try:
            told: dict[str, Any] = await self._api.get("/1.0/resources", **place)
            pool = await self._api.get(f"/1.0/storage-pools/{quote(self._storage, safe='')}/resources", **place)
            float(told["cpu"]["total"]), float(told["memory"]["total"]), float(told["memory"]["used"])
            return {**told, "pool": pool.get("space") or {}}
        except (GhostdeskError, KeyError, TypeError, ValueError, AttributeError) as error:
            self._troubles.append(f"{member or 'the server'} does not tell what it has: {error}")
            return {}

    async def stop(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None

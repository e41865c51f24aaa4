"""What is read of a server or cluster, again and again: our instances, what they use, and what the machines have.

A list of all instances costs LXD some 20 ms of processor time each, so a large fleet's takes seconds. A tick does not
wait for it: it goes by the last list (begun at the tick before), while the next is made. What we changed since that
list was begun is read instance by instance, so that nothing is taken for lost that has just been built. In a small
fleet each tick waits for a list of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ghostdesk.engines.incus.api import IncusApi, instance_path
from ghostdesk.engines.incus.latest import Latest
from ghostdesk.engines.incus.members import ALONE, Member, capacity_of, conditions_of, members_of
from ghostdesk.engines.incus.render import ALIVE, POOL, observed
from ghostdesk.engines.incus.states import READ_AT_ONCE, Readings, usage_of
from ghostdesk.engines.protocol import ObservedGhost
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import GhostdeskError, NotFound
from ghostdesk.kernel.resources import Resources

LARGE = 40
"""Instances from which a tick goes by the last list."""
_LIST_WITHIN_S, _LIST_OLDEST_S = 0.25, 60.0
_MACHINES_WITHIN_S, _MACHINES_OLDEST_S, _MACHINES_EVERY_S = 0.1, 60.0, 5.0
Instance = Mapping[str, Any]


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
        self._lists: Latest[list[Instance]] = Latest(self._list, within_s=_LIST_WITHIN_S, oldest_s=_LIST_OLDEST_S)
        self._machines: Latest[HostConditions] = Latest(
            self._read_machines, within_s=_MACHINES_WITHIN_S, oldest_s=_MACHINES_OLDEST_S
        )
        self._changed: dict[str, float] = {}
        self._readings = Readings()
        self._reading: asyncio.Task[None] | None = None
        self._clustered = False
        self._anew = True
        self._members: tuple[Member, ...] = ()
        self._resources: dict[str, Mapping[str, Any]] = {}

    async def start(self, told: Mapping[str, Any]) -> None:
        """Learn which machines there are, from what the server tells of itself; raises what the API raises."""
        self._clustered = bool((told.get("environment") or {}).get("server_clustered"))
        await self._machines.new()
        if not self._resources:
            await self._api.get("/1.0/resources")  # says why

    def changed(self, name: str) -> None:
        """We changed this instance: a list that was begun before does not tell how it is."""
        self._changed[name] = time.monotonic()

    async def instances_now(self) -> list[Instance]:
        """Our instances without their state, on all members."""
        return (await self._lists.new()).value

    async def instances(self) -> list[Instance]:
        """The same; in a large fleet those that we did not change as of a moment ago, see above."""
        last = self._lists.last
        answer = await (self._lists.soon() if last and len(last.value) >= LARGE else self._lists.new())
        self._changed = {name: at_s for name, at_s in self._changed.items() if at_s >= answer.begun_s}
        if not self._changed:
            return answer.value
        names = sorted(self._changed)
        anew = await asyncio.gather(*(self._one(name) for name in names))
        found = {str(one["name"]): one for one in answer.value} | dict(zip(names, anew, strict=True))
        return [one for one in found.values() if one is not None]

    async def _list(self) -> list[Instance]:
        found = await self._api.get("/1.0/instances", within_s=_LIST_OLDEST_S, recursion="1")
        return [one for one in found if self._is_ours(one)]

    async def _one(self, name: str) -> Instance | None:
        try:
            one: Instance = await self._api.get(instance_path(name))
        except NotFound:
            return None
        return one if self._is_ours(one) else None

    def _is_ours(self, one: Instance) -> bool:
        return (one.get("config") or {}).get(POOL) == self._pool

    def observed(self, listed: Sequence[Instance]) -> Sequence[ObservedGhost]:
        """What was listed, as ghosts; what they use is read beside, and may be older."""
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
        last = self._machines.last
        if self._anew or last is None:
            return (await self._machines.new()).value
        if time.monotonic() - last.begun_s < _MACHINES_EVERY_S:
            return last.value
        return (await self._machines.soon()).value

    def look_again(self) -> None:
        """The server said something that does not fit what was read: the next reading of the machines is a new one."""
        self._anew = True

    async def _read_machines(self) -> HostConditions:
        self._anew = False
        troubles: list[str] = []
        if self._clustered:
            try:
                self._members = members_of(await self._api.get("/1.0/cluster/members", recursion="1"), self._group)
            except GhostdeskError as error:
                troubles.append(str(error))
        else:
            self._members = (Member(ALONE),)
        there = [member.name for member in self._members if member.online]
        answers = await asyncio.gather(*(self._resources_of(name, troubles) for name in there))
        self._resources = {name: told for name, told in zip(there, answers, strict=True) if told}
        return conditions_of(self._members, self._resources, troubles, time.time())

    async def _resources_of(self, member: str, troubles: list[str]) -> Mapping[str, Any]:
        """One machine's; empty, with the trouble noted, when it does not answer."""
        place: dict[str, Any] = {"target": member} if member else {}
        try:
            told: dict[str, Any] = await self._api.get("/1.0/resources", **place)
            pool = await self._api.get(f"/1.0/storage-pools/{quote(self._storage, safe='')}/resources", **place)
            float(told["cpu"]["total"]), float(told["memory"]["total"]), float(told["memory"]["used"])
            return {**told, "pool": pool.get("space") or {}}
        except (GhostdeskError, KeyError, TypeError, ValueError, AttributeError) as error:
            troubles.append(f"{member or 'the server'} does not tell what it has: {error}")
            return {}

    async def stop(self) -> None:
        """Read no more."""
        await self._lists.stop()
        await self._machines.stop()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None

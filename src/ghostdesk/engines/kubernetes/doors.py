"""The ways to each ghost's pod, and the sockets of this machine that lead there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ghostdesk.engines.kubernetes.api import KubernetesApi
from ghostdesk.engines.kubernetes.errors import Unreachable
from ghostdesk.engines.kubernetes.identity import Identity
from ghostdesk.engines.kubernetes.relay import ANSWER_WITHIN_S, Dial, ForwardStream, Relay, Stream, TcpStream, say
from ghostdesk.engines.kubernetes.render import POD_PORT, PodPlan
from ghostdesk.kernel.ids import GhostId

AGENT_WITHIN_S = 15.0
_CONNECT_S = 5.0


class Doors:
    """Knows how pods are reached.

    Args:
        run_dir: a folder a ghost is made in it.
    """

    def __init__(self, api: KubernetesApi, plan: PodPlan, run_dir: Path, identity: Identity) -> None:
        self._api, self._plan, self._run_dir, self._identity = api, plan, run_dir, identity
        self._relays: dict[GhostId, Relay] = {}
        self._pods: dict[GhostId, str] = {}

    def of(self, ghost: GhostId) -> Relay | None:
        """The ghost's sockets, if it has some."""
        return self._relays.get(ghost)

    def ghosts(self) -> list[GhostId]:
        """All ghosts that have sockets here."""
        return list(self._relays)

    def token(self, ghost: GhostId) -> str:
        """The ghost's credential."""
        return self._identity.token(ghost)

    def dial(self, pod: Mapping[str, Any], ghost: GhostId) -> Dial:
        """How this pod is reached."""
        name, token = str(pod["metadata"]["name"]), self.token(ghost)

        async def dial(word: str) -> Stream:
            stream = await self._connect(pod, name)
            # The agent is awaited for as long as it takes: it may start late.
            return await say(stream, token, word, None if word == "agent" else ANSWER_WITHIN_S)

        return dial

    async def _connect(self, pod: Mapping[str, Any], name: str) -> Stream:
        if self._plan.transport == "port-forward":
            return ForwardStream(await self._api.forward(self._plan.namespace, name, POD_PORT))
        address = str((pod.get("status") or {}).get("podIP") or "")
        if not address:
            raise Unreachable(f"Pod {name} has no address yet.")
        try:
            async with asyncio.timeout(_CONNECT_S):
                return TcpStream(*await asyncio.open_connection(address, POD_PORT))
        except (OSError, TimeoutError) as error:
            raise Unreachable(
                f"Pod {name} cannot be reached at {address}: {str(error) or 'too late'}.",
                "Does ghostdesk run in the cluster, as a pod that the network policy lets in?",
            ) from None

    async def say(self, pod: Mapping[str, Any], ghost: GhostId, word: str) -> None:
        """Have the pod do something; raises `Unreachable`."""
        stream = await self.dial(pod, ghost)(word)
        await stream.close()

    async def open(self, ghost: GhostId, pod: Mapping[str, Any]) -> None:
        """Have sockets for this ghost, which lead to this pod."""
        uid = str(pod["metadata"]["uid"])
        relay = self._relays.get(ghost)
        if relay is None:
            relay = self._relays[ghost] = Relay(self._run_dir / ghost, self.dial(pod, ghost))
            self._pods[ghost] = uid
            await relay.start()
            return
        if self._pods[ghost] != uid:
            await self.switch(ghost, pod)
        await relay.mend()

    async def switch(self, ghost: GhostId, pod: Mapping[str, Any]) -> bool:
        """The ghost's sockets lead to this pod from now on; returns whether its agent is there already."""
        relay = self._relays.get(ghost)
        if relay is None:
            await self.open(ghost, pod)
            return False
        self._pods[ghost] = str(pod["metadata"]["uid"])
        return await relay.switch(self.dial(pod, ghost), AGENT_WITHIN_S)

    async def close(self, ghost: GhostId, *, remove: bool) -> None:
        """The ghost's sockets are gone; with `remove`, its folder too."""
        relay = self._relays.pop(ghost, None)
        self._pods.pop(ghost, None)
        if relay is not None:
            await relay.stop(remove=remove)

    async def close_all(self) -> None:
        """All sockets are gone; folders stay for who comes next."""
        for ghost in list(self._relays):
            await self.close(ghost, remove=False)

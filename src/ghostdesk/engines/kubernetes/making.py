"""Making pods and waiting for their screens, and removing them for good."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

from ghostdesk.engines.kubernetes import reading, render
from ghostdesk.engines.kubernetes.api import KubernetesApi
from ghostdesk.engines.kubernetes.doors import Doors
from ghostdesk.engines.kubernetes.errors import ImageMissing, NameTaken, Unreachable
from ghostdesk.engines.kubernetes.identity import Identity
from ghostdesk.engines.kubernetes.names import GENERATION, GHOST, OWNER, POOL
from ghostdesk.engines.kubernetes.pods import Pods
from ghostdesk.kernel.errors import BuildFailed, Conflict, EngineError, InsufficientCapacity, NotFound
from ghostdesk.kernel.ids import GhostId, UserId

Object = dict[str, Any]
RFB_GREETING = b"RFB 003."
GONE_WITHIN_S = 30.0
_GRACE_S = 1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5


class Maker:
    """Makes and removes pods.

    Args:
        build_timeout_s: from asking for a pod until its screen answers.
    """

    def __init__(
        self,
        api: KubernetesApi,
        plan: render.PodPlan,
        pods: Pods,
        doors: Doors,
        identity: Identity,
        build_timeout_s: float,
    ) -> None:
        self._api, self._plan, self._pods, self._doors, self._identity = api, plan, pods, doors, identity
        self._build_timeout_s = build_timeout_s
        self._base = f"/api/v1/namespaces/{plan.namespace}"

    async def make(self, ghost: GhostId, wanted: Object) -> Object:
        """Make the pod, and wait until its desktop's screen answers; what fails leaves nothing behind.

        Raises:
            InsufficientCapacity: a quota is full, or no node has room.
            ImageMissing, BuildFailed, Unreachable and what else the API says.
        """
        deadline_s = time.monotonic() + self._build_timeout_s
        made = self._pods.note(await self._created(f"{self._base}/pods", wanted))
        try:
            await self._tell(ghost, made)
            running = await self._until_it_runs(made, deadline_s)
            await self._until_it_greets(running, ghost, deadline_s)
            return running
        except (Exception, asyncio.CancelledError):
            with contextlib.suppress(EngineError):
                await asyncio.shield(self.remove(made))
            raise

    async def _created(self, path: str, wanted: Object) -> Object:
        """The pod, made now, or by a call whose answer was lost; one that is just leaving is waited for."""
        for _ in range(2):
            try:
                return await self._api.create(path, wanted)
            except (NameTaken, Unreachable) as error:
                try:
                    there = await self._api.get(f"{path}/{wanted['metadata']['name']}")
                except NotFound:
                    if isinstance(error, Unreachable):
                        raise error from None
                    continue  # it left in between
                if any(reading.label(there, key) != reading.label(wanted, key) for key in (POOL, GHOST, GENERATION)):
                    raise error from None
                if not reading.leaving(there):
                    return there
                await self._gone(there)
        return await self._api.create(path, wanted)

    async def _tell(self, ghost: GhostId, made: Object) -> None:
        """Give the pod its credential: after it was made, as it waits, so that no secret is left without a pod."""
        name = str(made["metadata"]["name"])
        secret = render.secret(self._plan, made, self._identity.token(ghost), self._identity.machine_id(name))
        path = f"{self._base}/secrets"
        for attempt in range(2):
            try:
                await self._api.create(path, secret)
                return
            except Unreachable:
                if attempt:
                    raise  # else: whether it was made shows when it is made again
            except NameTaken:
                # Of a pod of the same name before, or of this one by a call whose answer was lost: we may not look.
                with contextlib.suppress(NotFound):
                    await self._api.call("DELETE", f"{path}/{name}", {}, repeat=True)
        await self._api.create(path, secret)

    async def _until_it_runs(self, made: Object, deadline_s: float) -> Object:
        def decided(pod: Object) -> bool:
            trouble = reading.trouble(pod)
            return reading.runs(pod) or reading.leaving(pod) or (trouble is not None and trouble.final)

        try:
            told = await self._pods.until(made, decided, deadline_s - time.monotonic())
        except TimeoutError:
            raise await self._too_late(made) from None
        except NotFound:
            raise BuildFailed("The desktop's pod was removed while it started.", "It is built anew.") from None
        if reading.runs(told):
            return told
        trouble = reading.trouble(told)
        if trouble is not None and reading.image_trouble(trouble.reason):
            raise ImageMissing(
                f"A node cannot get the image {self._plan.image}: {trouble.text} ({trouble.reason}).",
                "Look at engine.kubernetes.image and pull_secret, and at the image's architecture.",
            )
        why = f"{trouble.text} ({trouble.reason})" if trouble else "its pod was removed"
        raise BuildFailed(f"The desktop ended before its screen answered: {why}.", "See `kubectl describe pod`.")

    async def _too_late(self, made: Object) -> EngineError:
        try:
            told = await self._api.get(f"{self._base}/pods/{made['metadata']['name']}")
        except EngineError:
            told = made
        trouble = reading.trouble(told)
        if trouble is not None and not trouble.final:
            return InsufficientCapacity(
                f"No node has room for a desktop: {trouble.text}.", "Add a node, or lower pool.ceiling."
            )
        return BuildFailed(
            f"The desktop's pod did not run within {self._build_timeout_s:g} s.",
            "Raise engine.build_timeout_s where nodes fetch the image first; see `kubectl describe pod`.",
        )

    async def _until_it_greets(self, pod: Object, ghost: GhostId, deadline_s: float) -> None:
        dial = self._doors.dial(pod, ghost)
        said, pause_s = "no answer", _FIRST_PAUSE_S
        while time.monotonic() < deadline_s:
            try:
                stream = await dial("rfb")
                try:
                    async with asyncio.timeout(max(deadline_s - time.monotonic(), 0.01)):
                        if (await stream.read()).startswith(RFB_GREETING):
                            return
                        said = "it greets otherwise than RFB"
                finally:
                    await stream.close()
            except Unreachable as error:
                said = error.cause
            except (NotFound, OSError, TimeoutError) as error:
                said = str(error) or "too late"
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        raise BuildFailed(
            f"The desktop's screen did not answer within {self._build_timeout_s:g} s: {said}",
            "Raise engine.build_timeout_s if the cluster is slow; see `kubectl logs`.",
        )

    async def remove(self, pod: Mapping[str, Any]) -> None:
        """Remove a pod and wait until it is gone: until then its home may still be in use."""
        made = dict(pod)
        try:
            await self._api.delete(f"{self._base}/pods/{pod['metadata']['name']}", pod["metadata"]["uid"], _GRACE_S)
        except NotFound:
            self._pods.note_gone(str(pod["metadata"]["uid"]))
            return
        await self._gone(made)

    async def _gone(self, pod: Object) -> None:
        try:
            await self._pods.gone(pod, GONE_WITHIN_S)
        except TimeoutError:
            raise Unreachable(
                f"Pod {pod['metadata']['name']} does not end: its node does not answer.",
                "When the node is lost for good, remove it (`kubectl delete node`): its pods go with it.",
            ) from None

    async def claim(self, user: UserId) -> None:
        """See that the person has a claim for their home; raises `Conflict` for one that is somebody else's."""
        path = f"{self._base}/persistentvolumeclaims"
        name = render.home_name(self._plan, user)
        try:
            found = await self._api.get(f"{path}/{name}")
        except NotFound:
            try:
                found = await self._api.create(path, render.claim(self._plan, user))
            except (NameTaken, Unreachable):
                found = await self._api.get(f"{path}/{name}")
        if (found["metadata"].get("annotations") or {}).get(OWNER) != user:
            raise Conflict(f"The claim {name} is not {user}'s home.", "Look at its annotation ghostdesk/owner.")
        if reading.leaving(found):
            raise Conflict(f"The claim {name} is being removed.", "Wait until it is gone; then a new home is made.")

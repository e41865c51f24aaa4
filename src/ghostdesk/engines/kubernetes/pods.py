"""Our pods as the cluster has them: a list, then a watch with bookmarks, and a list again where that is in doubt.

Source: Kubernetes' reference/using-api/api-concepts ("Efficient detection of changes", "Watch bookmarks", "410 Gone
responses").
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from ghostdesk.engines.kubernetes.api import Event, KubernetesApi
from ghostdesk.engines.kubernetes.errors import Expired
from ghostdesk.kernel.errors import EngineError, NotFound

log = logging.getLogger(__name__)
Object = dict[str, Any]
BELIEVED_S = 90.0
"""How long a silent watch is believed; bookmarks come about once a minute."""
EXACT_UP_TO = 500
"""As many pods as fit on one page are simply listed each time: then what others just did is seen at once. Of more, the
watch is believed, which is some milliseconds behind."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_LOOK_AGAIN_S = 2.0
_REMEMBERED_GONE = 10_000


class Pods:
    """Follows the pods that a selector finds.

    Args:
        path: of the collection.
        selector: labels of ours.
    """

    def __init__(self, api: KubernetesApi, path: str, selector: str) -> None:
        self._api, self._path, self._selector = api, path, selector
        self._pods: dict[str, Object] = {}
        self._gone: dict[str, None] = {}
        self._version = ""
        self._heard_s = float("-inf")
        self._following = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """List the pods, and follow them from now on; raises what the list raises."""
        await self._list()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Follow no more."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def now(self) -> list[Object]:
        """Every pod: listed anew, which raises what goes wrong, or, of many, as the watch has told while it lives."""
        if len(self._pods) <= EXACT_UP_TO or not self._following or time.monotonic() - self._heard_s > BELIEVED_S:
            await self._list()
        return list(self._pods.values())

    async def until(self, pod: Object, wanted: Callable[[Object], bool], timeout_s: float) -> Object:
        """The pod, once it is as wanted; raises `NotFound` when it goes, and TimeoutError."""
        uid = str(pod["metadata"]["uid"])
        async with asyncio.timeout(timeout_s):
            while True:
                found = self._pods.get(uid)
                if uid in self._gone:
                    raise NotFound(f"Pod {pod['metadata']['name']} was removed.", "It is built anew.")
                if found is not None and wanted(found):
                    return found
                self._changed.clear()
                try:
                    async with asyncio.timeout(_LOOK_AGAIN_S):
                        await self._changed.wait()
                except TimeoutError:
                    await self._look(pod)  # a watch may be late or cut off

    async def gone(self, pod: Object, timeout_s: float) -> None:
        """Wait until the pod is gone; raises TimeoutError."""
        with contextlib.suppress(NotFound):
            await self.until(pod, lambda _found: False, timeout_s)

    def note(self, pod: Object) -> Object:
        """Take in the answer to a change of our own, so that what is read next is not older than what was written."""
        uid = str(pod["metadata"]["uid"])
        known = self._pods.get(uid)
        if uid not in self._gone and (known is None or _version(pod) >= _version(known)):
            self._pods[uid] = pod
            self._changed.set()
        return pod

    def note_gone(self, uid: str) -> None:
        """Take in that a pod is no more."""
        self._pods.pop(uid, None)
        self._gone[uid] = None
        while len(self._gone) > _REMEMBERED_GONE:
            self._gone.pop(next(iter(self._gone)))
        self._changed.set()

    async def _look(self, pod: Object) -> None:
        try:
            found = await self._api.get(f"{self._path}/{pod['metadata']['name']}")
        except NotFound:
            self.note_gone(str(pod["metadata"]["uid"]))
            return
        if found["metadata"]["uid"] != pod["metadata"]["uid"]:
            self.note_gone(str(pod["metadata"]["uid"]))
        self.note(found)

    async def _list(self) -> None:
        found, version = await self._api.items(self._path, labelSelector=self._selector)
        listed = {str(pod["metadata"]["uid"]): pod for pod in found}
        for uid, pod in list(self._pods.items()):
            # What we wrote after the list was made is newer than the list.
            if uid not in listed and _number(version) >= _version(pod):
                self.note_gone(uid)
        for pod in listed.values():
            self.note(pod)
        self._version, self._heard_s = version, time.monotonic()

    async def _follow(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if not self._version:
                    await self._list()
                async for event in self._api.watch(self._path, self._version, labelSelector=self._selector):
                    self._following = True
                    pause_s = _FIRST_PAUSE_S
                    self._take(event)
            except Expired:
                self._version, self._following = "", False
            except EngineError as error:
                self._following = False
                log.info("watching the pods was interrupted: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _take(self, event: Event) -> None:
        self._heard_s = time.monotonic()
        if event.kind == "OPEN":
            return
        meta: Mapping[str, Any] = event.object["metadata"]
        self._version = str(meta.get("resourceVersion") or self._version)
        if event.kind == "DELETED":
            self.note_gone(str(meta["uid"]))
        elif event.kind in ("ADDED", "MODIFIED"):
            self.note(event.object)


def _number(version: str) -> int:
    """Versions of one cluster's objects are compared as numbers, as etcd makes them; others count as old."""
    return int(version) if version.isdigit() else 0


def _version(pod: Mapping[str, Any]) -> int:
    return _number(str(pod["metadata"].get("resourceVersion") or ""))

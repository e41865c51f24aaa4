"""A node that the tests play: it stands in for scheduler, kubelet and garbage collector, with no container anywhere.

It works through the API alone, so that it serves the fake API server and a real one. Where a kubelet would start a
container, it starts `agent.pod`'s own doorkeeper, with a screen behind it that greets in RFB and says nothing else.
"""

import asyncio
import contextlib
import signal
import ssl
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from ghostdesk.agent.pod import Doorkeeper
from ghostdesk.engines.kubernetes.api import KubernetesApi
from ghostdesk.engines.kubernetes.errors import Changed, NameTaken
from ghostdesk.engines.kubernetes.names import quantity
from ghostdesk.engines.kubernetes.render import PodPlan
from ghostdesk.kernel.errors import EngineError, NotFound

Object = dict[str, Any]
NAMESPACE = "desks"
PLAN = PodPlan(NAMESPACE, "test", "registry.example.org/desktop:1")
_STATUS = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
_numbers = count(2)


class PlayedPod:
    """One pod's insides: the real doorkeeper and a screen that greets."""

    def __init__(self, token: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gdp")
        self.run = Path(self._folder.name)
        number = next(_numbers)
        self.address = f"127.{77 + number // 62_500 % 100}.{number // 250 % 250}.{number % 250 + 1}"
        self.stopped = False
        self.door = Doorkeeper(self.run, token, self._signalled)
        self._screen: asyncio.AbstractServer | None = None
        self.viewers: list[asyncio.StreamWriter] = []

    def _signalled(self, number: int) -> None:
        self.stopped = number == signal.SIGSTOP

    async def start(self, port: int) -> None:
        self._screen = await asyncio.start_unix_server(self._greet, str(self.run / "rfb.sock"))
        await self.door.start(self.address, port)

    def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.viewers.append(writer)
        writer.write(b"RFB 003.008\n")

    async def stop(self) -> None:
        await self.door.stop()
        if self._screen is not None:
            self._screen.close()
        for viewer in self.viewers:
            viewer.close()
        self._folder.cleanup()


class PlayedNode:
    """The node.

    Args:
        api: the cluster, as administrator.
        namespace: whose pods it runs.
        memory: what it has, as a quantity.
    """

    def __init__(self, api: KubernetesApi, namespace: str, name: str = "played", memory: str = "16Gi") -> None:
        self._api, self._base, self.name, self._memory = api, f"/api/v1/namespaces/{namespace}", name, memory
        self.pods: dict[str, PlayedPod] = {}
        self.full = False
        self.gone = False
        self.stuck = False
        self._task: asyncio.Task[None] | None = None
        self._work: dict[str, asyncio.Task[None]] = {}
        self._server: web.AppRunner | None = None

    async def start(self, kubelet_port: int = 0) -> None:
        room = {"cpu": "8", "memory": self._memory, "pods": "250"}
        node: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name}}
        with contextlib.suppress(NameTaken):
            await self._api.create("/api/v1/nodes", node)
        status: Object = {"capacity": room, "allocatable": room, "conditions": [_STATUS],
                          "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}  # fmt: skip
        if kubelet_port:
            status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": kubelet_port}}
        await self._api.patch(f"/api/v1/nodes/{self.name}/status", {"status": status})
        with contextlib.suppress(NotFound):  # a real server marks nodes that no controller manager has looked at
            await self._api.patch(f"/api/v1/nodes/{self.name}", {"spec": {"taints": None}})
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        for task in [self._task, *self._work.values()]:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for pod in self.pods.values():
            await pod.stop()
        if self._server is not None:
            await self._server.cleanup()

    async def lose(self) -> None:
        """The node falls silent, as the node controller would then say."""
        self.gone = True
        lost = {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}}
        await self._api.patch(f"/api/v1/nodes/{self.name}/status", lost)
        found, _ = await self._api.items(f"{self._base}/pods")
        for pod in found:
            told = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}}
            await self._api.patch(f"{self._base}/pods/{pod['metadata']['name']}/status", told)

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(EngineError):
                found, version = await self._api.items(f"{self._base}/pods")
                for pod in found:
                    self._begin(pod)
                async for event in self._api.watch(f"{self._base}/pods", version):
                    if event.kind in ("ADDED", "MODIFIED"):
                        self._begin(event.object)
                    elif event.kind == "DELETED":
                        await self._ended(event.object["metadata"]["uid"])
            await asyncio.sleep(0.01)

    async def fail(self, pod: Object) -> None:
        """The desktop's first process ends."""
        await self._ended(pod["metadata"]["uid"])
        self.pods[pod["metadata"]["uid"]] = PlayedPod("nobody's")  # it is not started again
        path = f"{self._base}/pods/{pod['metadata']['name']}/status"
        await self._api.patch(path, {"status": {"phase": "Failed", "reason": "Error", "message": "it ended"}})

    def _begin(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        before = self._work.get(uid)
        self._work[uid] = asyncio.create_task(self._in_turn(before, pod))

    async def _in_turn(self, before: "asyncio.Task[None] | None", pod: Object) -> None:
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        with contextlib.suppress(NotFound, Changed):
            await self._look_after(pod)

    async def _look_after(self, pod: Object) -> None:
        if self.gone:
            return
        meta, path = pod["metadata"], f"{self._base}/pods/{pod['metadata']['name']}"
        if meta.get("deletionTimestamp"):
            if not self.stuck:
                await self._ended(meta["uid"])
                await self._api.delete(path, meta["uid"], 0)
                with contextlib.suppress(NotFound):
                    await self._api.call("DELETE", f"{self._base}/secrets/{meta['name']}", {})
        elif not pod["spec"].get("nodeName"):
            await self._schedule(pod, path)
        elif meta["uid"] not in self.pods:
            await self._run(pod, path)
        else:
            await self._resize(pod, path)

    async def _schedule(self, pod: Object, path: str) -> None:
        if self.full:
            told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 Insufficient memory."}  # fmt: skip
            if told not in (pod["status"].get("conditions") or ()):
                await self._api.patch(f"{path}/status", {"status": {"conditions": [told]}})
            return
        target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]},
                  "target": {"apiVersion": "v1", "kind": "Node", "name": self.name}}  # fmt: skip
        await self._api.create(f"{path}/binding", target)

    async def _run(self, pod: Object, path: str) -> None:
        container = pod["spec"]["containers"][0]
        if "missing" in container["image"]:
            waiting = {"reason": "ErrImagePull", "message": f"{container['image']}: not found"}
            told = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False,
                    "restartCount": 0, "state": {"waiting": waiting}}  # fmt: skip
            await self._api.patch(f"{path}/status", {"status": {"containerStatuses": [told]}})
            return
        token = await self._token(pod)
        if token is None or pod["metadata"]["uid"] in self.pods:
            return
        started = self.pods[pod["metadata"]["uid"]] = PlayedPod(token)
        port = next(int(one["value"]) for one in container["env"] if one["name"] == "GHOSTDESK_POD_PORT")
        await started.start(port)
        ready = {"name": container["name"], "image": container["image"], "imageID": "played", "ready": True,
                 "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                 "resources": container["resources"]}  # fmt: skip
        status = {"phase": "Running", "podIP": started.address, "podIPs": [{"ip": started.address}],
                  "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [ready]}  # fmt: skip
        await self._api.patch(f"{path}/status", {"status": status})

    async def _token(self, pod: Object) -> str | None:
        import base64

        name = next(one["secret"]["secretName"] for one in pod["spec"]["volumes"] if "secret" in one)
        for _ in range(500):
            try:
                found = await self._api.get(f"{self._base}/secrets/{name}")
            except NotFound:
                await asyncio.sleep(0.005)
                continue
            if "stringData" in found:
                return str(found["stringData"]["token"])
            return base64.b64decode(found["data"]["token"]).decode()
        return None

    async def _resize(self, pod: Object, path: str) -> None:
        wanted = pod["spec"]["containers"][0]["resources"]
        statuses = pod["status"].get("containerStatuses") or []
        if not statuses or statuses[0].get("resources") == wanted:
            return
        if quantity(wanted["requests"]["memory"]) > quantity(self._memory):
            told = {"type": "PodResizePending", "status": "True", "reason": "Infeasible",
                    "message": "Node didn't have enough capacity: memory"}  # fmt: skip
            conditions = [one for one in pod["status"]["conditions"] if one["type"] != told["type"]] + [told]
            if told not in pod["status"]["conditions"]:
                await self._api.patch(f"{path}/status", {"status": {"conditions": conditions}})
            return
        done = [{**statuses[0], "resources": wanted}]
        conditions = [one for one in pod["status"]["conditions"] if one["type"] != "PodResizePending"]
        await self._api.patch(f"{path}/status", {"status": {"containerStatuses": done, "conditions": conditions}})

    async def _ended(self, uid: str) -> None:
        pod = self.pods.pop(uid, None)
        if pod is not None:
            await pod.stop()

    # The kubelet's port-forward

    async def forward(self, socket: web.WebSocketResponse, uid: str) -> None:
        """Carry one stream to a pod's port (v4.channel.k8s.io)."""
        pod = self.pods.get(uid)
        if pod is None or self.gone:
            await socket.send_bytes(b"\x01\0\0no such pod here")
            await socket.close()
            return
        reader, writer = await asyncio.open_connection(pod.address, pod.door.port)
        number = pod.door.port.to_bytes(2, "little")
        await socket.send_bytes(b"\0" + number)
        await socket.send_bytes(b"\x01" + number)

        async def outwards() -> None:
            while data := await reader.read(65_536):
                await socket.send_bytes(b"\0" + data)
            await socket.close()

        carrying = asyncio.create_task(outwards())
        try:
            async for message in socket:
                if message.type is not WSMsgType.BINARY:
                    break
                writer.write(message.data[1:])
                await writer.drain()
        finally:
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)
            writer.close()

    async def serve_kubelet(self, certificate: ssl.SSLContext) -> int:
        """Listen as a kubelet does for a real API server; returns the port."""

        async def answer(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
            await socket.prepare(request)
            found = await self._api.get(f"{self._base}/pods/{request.match_info['pod']}")
            await self.forward(socket, found["metadata"]["uid"])
            return socket

        app = web.Application()
        app.router.add_get("/portForward/{namespace}/{pod}", answer)
        app.router.add_get("/portForward/{namespace}/{pod}/{uid}", answer)
        self._server = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._server.setup()
        site = web.TCPSite(self._server, "127.0.0.1", 0, ssl_context=certificate)
        await site.start()
        return int(self._server.addresses[0][1])

"""A fake Kubernetes API server: no Kubernetes is in it. It keeps objects and answers as the API's documents say.

What it knows: lists with pages and selectors, watches with bookmarks, versions and conflicts, merge and strategic merge
patches, graceful deletion with preconditions, the subresources that the engine uses, quotas, priority classes, access
reviews, tokens, and faults on demand. What it does not know it answers with 404.
"""

import asyncio
import contextlib
import copy
import json
import re
import ssl
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

Object = dict[str, Any]
ADMIN, GHOSTDESK = "token-of-the-administrator", "token-of-ghostdesk"
_CORE = re.compile(
    r"/api/v1(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<part>[a-z]+))?)?"
)
_KINDS = {"pods": "Pod", "secrets": "Secret", "persistentvolumeclaims": "PersistentVolumeClaim", "nodes": "Node"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_HISTORY = 2000
_ANY_AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBkDCCATegAwIBAgIURQ19V+kge1PuLZQ6rZk01E1lZK0wCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSbm9ib2R5IHRydXN0cyB0aGlzMCAXDTI2MTEyNjE5Mzk0MVoY
DzIxMjYxMTAyMTkzOTQxWjAdMRswGQYDVQQDDBJub2JvZHkgdHJ1c3RzIHRoaXMw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARkyy76aw9r+moneL5avH3DyDfzPOwT
f0hZalCTe33aAQoRz2WYd63VMqaf5MnBZFjnlHNX2ULN2PohX3ixjSNUo1MwUTAd
BgNVHQ4EFgQUb+RPh6bQr12+JRKuoYoP4liNkXowHwYDVR0jBBgwFoAUb+RPh6bQ
r12+JRKuoYoP4liNkXowDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBE
AiBc5agmo0n90i4SRVyFI89qAfSufmqNTvEXQlBy+TtLbAIgdS01ilhmrmCFe9ON
CVntQBT0crNiOVCC4ohj4hICsn0=
-----END CERTIFICATE-----
"""
"""Not used over plain HTTP; without one, each client would read all authorities of the system, 0.1 s each time."""


@dataclass
class Fault:
    """Something that goes wrong with ghostdesk's own calls.

    Args:
        method, path: of the calls (a regular expression that is searched for).
        status: answered, with `message` and `reason`; 0 cuts the connection.
        times: how often; the call goes through afterwards.
        lost: whether the call is carried out first and only its answer is lost.
        delay_s: before anything else.
        headers: of the answer.
    """

    method: str
    path: str
    status: int = 503
    message: str = "made to fail by the test"
    reason: str = ""
    times: int = 1
    lost: bool = False
    delay_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


class Answer(Exception):
    """A Status that is answered."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


Forward = Callable[[web.WebSocketResponse, str], Awaitable[None]]


class FakeKubernetes:
    """The server. `history` is how many changes watches may look back."""

    def __init__(self, *, version: str = "v1.34.1", resizes: bool = True) -> None:
        self.version, self.resizes = version, resizes
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.faults: list[Fault] = []
        self.calls: list[tuple[str, str]] = []
        self.refused: set[tuple[str, str]] = set()
        self.most_pods: int | None = None
        self.forward: Forward | None = None
        self.bookmark_every_s = 5.0
        self.expired = 0
        self.deaf = False
        self.doomed: dict[str, int] = {}
        self.known_tokens = {ADMIN, GHOSTDESK}
        self._number = 100
        self._changes: list[tuple[int, str, str, Object]] = []
        self._oldest = self._number
        self._changed = asyncio.Event()
        self._watches: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.add_priorities(-10, 100_000)

    # Its own life

    async def start(self, certificate: ssl.SSLContext | None = None, port: int = 0) -> None:
        app = web.Application(client_max_size=2**22)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=certificate)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"

    async def stop(self) -> None:
        self.cut_watches()
        if self._runner is not None:
            await self._runner.cleanup()

    def kubeconfig(self, path: Path, token: str = GHOSTDESK, **cluster: Any) -> Path:
        """Write a kubeconfig (JSON is YAML)."""
        if self.url.startswith("http:"):
            authority = path.with_suffix(".pem")
            authority.write_text(_ANY_AUTHORITY)
            cluster = {"certificate-authority": str(authority), **cluster}
        told = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "ghostdesk"}}],
            "clusters": [{"name": "fake", "cluster": {"server": self.url, **cluster}}],
            "users": [{"name": "ghostdesk", "user": {"token": token}}],
        }
        path.write_text(json.dumps(told))
        return path

    def add_priorities(self, ghost: int, person: int) -> None:
        for name, value in (("ghostdesk-ghost", ghost), ("ghostdesk-person", person)):
            self.objects["priorityclasses", "", name] = {"metadata": {"name": name}, "value": value}

    def of(self, plural: str) -> list[Object]:
        """Every object of a kind."""
        return [found for (kind, _, _), found in self.objects.items() if kind == plural]

    def cut_watches(self) -> None:
        """End all watches now, in the middle."""
        for task in list(self._watches):
            task.cancel()

    def forget_history(self, since: int | None = None) -> None:
        """Watches can look back no further than to a version, or than now."""
        if since is None:
            since = self._number = self._number + 1
        self._changes = [change for change in self._changes if change[0] > since]
        self._oldest = since

    # Requests

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._is_dead(token, request):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        fault = None
        if token != ADMIN:
            self.calls.append((request.method, request.path))
            fault = self._fault(request)
        try:
            if fault is not None:
                await asyncio.sleep(fault.delay_s)
                if not fault.lost:
                    return self._fail(request, fault)
            if token not in self.known_tokens:
                raise Answer(401, "Unauthorized", "Unauthorized")
            answered = await self._answer(request, token)
            if fault is not None:
                return self._fail(request, fault)
            return answered
        except Answer as answer:
            return _status(answer.code, answer.reason, str(answer))

    def mortal(self) -> str:
        """A token of somebody who will die: set `doomed[token]` to the call that nothing reaches us from on."""
        token = f"mortal-{len(self.doomed)}"
        self.known_tokens.add(token)
        self.doomed[token] = 10**9
        return token

    def _is_dead(self, token: str, request: web.Request) -> bool:
        if token not in self.doomed or self.doomed[token] > 10**6:
            return False
        if self.doomed[token] <= 1:
            return True
        if "watch=" not in request.path_qs:
            self.doomed[token] -= 1
        return False

    def _fault(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.method == request.method and re.search(fault.path, request.path_qs):
                fault.times -= 1
                return fault
        return None

    def _fail(self, request: web.Request, fault: Fault) -> web.Response:
        if fault.status:
            return _status(fault.status, fault.reason, fault.message, fault.headers)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _answer(self, request: web.Request, token: str) -> web.StreamResponse:  # noqa: PLR0911 - one line a path
        path = request.path
        if path == "/version":
            return web.json_response({"gitVersion": self.version})
        if path == "/api/v1":
            names = ["pods", "pods/status", "pods/portforward", *(["pods/resize"] if self.resizes else [])]
            return web.json_response({"kind": "APIResourceList", "resources": [{"name": name} for name in names]})
        body = await request.json() if request.can_read_body else {}
        if path.endswith("/selfsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            what = asked["resource"] + (f"/{asked['subresource']}" if asked.get("subresource") else "")
            return web.json_response(
                body | {"status": {"allowed": (asked["verb"], what) not in self.refused}}, status=201
            )
        if path.startswith("/apis/scheduling.k8s.io/v1/priorityclasses/"):
            return web.json_response(self._get("priorityclasses", "", path.rsplit("/", 1)[1]))
        match = _CORE.fullmatch(path)
        if match is None or match["plural"] not in _KINDS:
            raise Answer(404, "NotFound", "the server could not find the requested resource")
        plural, namespace, name, part = match["plural"], match["namespace"] or "", match["name"], match["part"]
        self._may(token, request, plural, name, part)
        if name is None:
            if request.method == "POST":
                return web.json_response(self._create(plural, namespace, body), status=201)
            if request.query.get("watch") == "true":
                return await self._watch(request, plural, namespace)
            return web.json_response(self._list(plural, namespace, request))
        return await self._one(request, plural, namespace, name, part, body)

    def _may(self, token: str, request: web.Request, plural: str, name: str | None, part: str | None) -> None:
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}.get(request.method)
        if verb is None:
            verb = "watch" if request.query.get("watch") else "get" if name else "list"
        what = f"{plural}/{part}" if part else plural
        if token != ADMIN and (verb, what) in self.refused:
            raise Answer(403, "Forbidden", f'{what} is forbidden: User "ghostdesk" cannot {verb} resource "{what}"')

    async def _one(
        self, request: web.Request, plural: str, namespace: str, name: str, part: str | None, body: Object
    ) -> web.StreamResponse:
        if plural == "pods" and part == "portforward":
            return await self._forward(request, self._get(plural, namespace, name))
        if plural == "pods" and part == "binding":
            self._change(self._get(plural, namespace, name), {"spec": {"nodeName": body["target"]["name"]}}, free=True)
            return _status(201, "", "")
        match request.method:
            case "GET":
                return web.json_response(self._get(plural, namespace, name))
            case "DELETE":
                return web.json_response(self._delete(plural, namespace, name, body))
            case "PATCH":
                return web.json_response(self._patch(request, self._get(plural, namespace, name), part, body))
        raise Answer(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    # Objects

    def _get(self, plural: str, namespace: str, name: str) -> Object:
        found = self.objects.get((plural, namespace, name))
        if found is None:
            raise Answer(404, "NotFound", f'{plural} "{name}" not found')
        return found

    def _list(self, plural: str, namespace: str, request: web.Request) -> Object:
        found = [one for key, one in sorted(self.objects.items()) if _in(key, plural, namespace)]
        found = [one for one in found if _selected(one, request.query.get("labelSelector", ""))]
        start, limit = int(request.query.get("continue", "0") or 0), int(request.query.get("limit", "0") or 0)
        meta: Object = {"resourceVersion": str(self._number)}
        if limit and start + limit < len(found):
            meta["continue"] = str(start + limit)
        page = found[start : start + limit] if limit else found
        return {"kind": f"{_KINDS[plural]}List", "apiVersion": "v1", "metadata": meta, "items": page}

    def _create(self, plural: str, namespace: str, body: Object) -> Object:
        name = body["metadata"]["name"]
        if not _NAME.fullmatch(name):
            raise Answer(
                422, "Invalid", f'{_KINDS[plural]} "{name}" is invalid: metadata.name: a lowercase RFC 1123 name'
            )
        if (plural, namespace, name) in self.objects:
            raise Answer(409, "AlreadyExists", f'{plural} "{name}" already exists')
        if plural == "pods":
            self._admit(body)
        made = copy.deepcopy(body)
        made["metadata"] |= {"uid": str(uuid.uuid4()), "namespace": namespace}
        if plural == "pods":
            made.setdefault("status", {"phase": "Pending"})
        self.objects[plural, namespace, name] = made
        self._tell("ADDED", plural, made)
        return made

    def _admit(self, body: Object) -> None:
        pods = self.of("pods")
        if self.most_pods is not None and len(pods) >= self.most_pods:
            name = body["metadata"]["name"]
            raise Answer(
                403, "Forbidden", f'pods "{name}" is forbidden: exceeded quota: desktops, requested: pods=1, '
                f"used: pods={len(pods)}, limited: pods={self.most_pods}",
            )  # fmt: skip
        wanted = body["spec"].get("priorityClassName")
        if wanted and ("priorityclasses", "", wanted) not in self.objects:
            raise Answer(403, "Forbidden", f"no PriorityClass with name {wanted} was found")

    def _delete(self, plural: str, namespace: str, name: str, body: Object) -> Object:
        found = self._get(plural, namespace, name)
        wanted = (body.get("preconditions") or {}).get("uid")
        if wanted and wanted != found["metadata"]["uid"]:
            raise Answer(
                409, "Conflict", f"Precondition failed: UID in precondition: {wanted}, UID in object meta: other"
            )
        grace_s = body.get("gracePeriodSeconds", 30)
        if plural == "pods" and grace_s and found["spec"].get("nodeName"):
            if not found["metadata"].get("deletionTimestamp"):
                self._change(found, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, free=True)
            return self._get(plural, namespace, name)
        self.drop(plural, found)
        return found

    def drop(self, plural: str, found: Object) -> None:
        """The object is gone, and what it owned."""
        meta = found["metadata"]
        if self.objects.pop((plural, meta.get("namespace", ""), meta["name"]), None) is None:
            return
        found = copy.deepcopy(found)
        self._tell("DELETED", plural, found)
        for (kind, _, _), one in list(self.objects.items()):
            if any(owner["uid"] == meta["uid"] for owner in one["metadata"].get("ownerReferences") or ()):
                self.drop(kind, one)

    def _patch(self, request: web.Request, found: Object, part: str | None, body: Object) -> Object:
        wanted = (body.get("metadata") or {}).get("resourceVersion")
        if wanted and wanted != found["metadata"]["resourceVersion"]:
            raise Answer(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        strategic = "strategic" in request.headers.get("Content-Type", "")
        if part == "resize":
            if not self.resizes:
                raise Answer(404, "NotFound", "the server could not find the requested resource")
            return self._resize(found, body)
        if part not in (None, "status"):
            raise Answer(404, "NotFound", "the server could not find the requested resource")
        if part is None and found.get("kind") == "Pod" and "spec" in body:
            raise Answer(
                422,
                "Invalid",
                f'Pod "{found["metadata"]["name"]}" is invalid: spec: Forbidden: pod updates may not change fields',
            )
        return self._change(found, body, free=True, strategic=strategic)

    def _resize(self, found: Object, body: Object) -> Object:
        wanted = body["spec"]["containers"][0]["resources"]
        had = found["spec"]["containers"][0]["resources"]
        name = found["metadata"]["name"]
        if set(wanted) != set(had) or any(set(wanted[kind]) != set(had[kind]) for kind in had):
            raise Answer(
                422, "Invalid", f'Pod "{name}" is invalid: spec: Forbidden: resources may not be added or removed'
            )
        minor = int(self.version.split(".")[1])
        if minor < 34 and int(wanted["limits"]["memory"]) < int(had["limits"]["memory"]):
            raise Answer(422, "Invalid", f'Pod "{name}" is invalid: memory limits cannot be decreased')
        return self._change(found, body, free=True, strategic=True)

    def _change(self, found: Object, body: Object, *, free: bool, strategic: bool = False) -> Object:
        plural = next(name for name, kind in _KINDS.items() if kind == found["kind"])
        changed = _merged(found, body, strategic)
        key = (plural, found["metadata"].get("namespace", ""), found["metadata"]["name"])
        if changed == found:
            return found
        self.objects[key] = changed
        self._tell("MODIFIED", plural, changed)
        return changed

    def _tell(self, kind: str, plural: str, made: Object) -> None:
        self._number += 1
        made["metadata"]["resourceVersion"] = str(self._number)
        self._changes.append((self._number, kind, plural, copy.deepcopy(made)))
        if len(self._changes) > _HISTORY:
            self._oldest = self._changes.pop(0)[0]
        self._changed.set()

    # Streams

    async def _watch(self, request: web.Request, plural: str, namespace: str) -> web.StreamResponse:
        since = int(request.query.get("resourceVersion") or self._number)
        if since < self._oldest:
            self.expired += 1
            raise Answer(410, "Expired", f"too old resource version: {since} ({self._oldest})")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        selector = request.query.get("labelSelector", "")
        try:
            while True:
                if since < self._oldest:
                    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                    await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                    return response
                until = self._number
                for number, kind, of, made in list(self._changes):
                    if (
                        not self.deaf
                        and number > since
                        and of == plural
                        and made["metadata"].get("namespace", "") in (namespace, "")
                        and _selected(made, selector)
                    ):
                        await response.write(json.dumps({"type": kind, "object": made}).encode() + b"\n")
                since = max(since, until)
                if self._number > until:
                    continue  # something happened while that was written
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), self.bookmark_every_s)
                except TimeoutError:
                    if request.query.get("allowWatchBookmarks") == "true":
                        mark = {"kind": _KINDS[plural], "metadata": {"resourceVersion": str(self._number)}}
                        await response.write(json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n")
        except asyncio.CancelledError:
            assert request.transport is None or request.transport.abort() is None
            raise
        except ConnectionError:
            return response
        finally:
            self._watches.discard(task)

    async def _forward(self, request: web.Request, pod: Object) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        if self.forward is None or pod.get("status", {}).get("phase") != "Running":
            await socket.send_bytes(b"\x01\0\0" + b"unable to forward port because pod is not running")
            await socket.close()
            return socket
        with contextlib.suppress(ConnectionError):
            await self.forward(socket, pod["metadata"]["uid"])
        return socket


def _status(code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    told = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}
    return web.json_response(told, status=code, headers=headers)


def _in(key: tuple[str, str, str], plural: str, namespace: str) -> bool:
    return key[0] == plural and (not namespace or key[1] == namespace)


def _selected(found: Object, selector: str) -> bool:
    labels = found["metadata"].get("labels") or {}
    return all(
        labels.get(key) == value for key, _, value in (part.partition("=") for part in selector.split(",") if part)
    )


def _merged(old: Any, patch: Any, strategic: bool) -> Any:
    """RFC 7386; the strategic form merges lists of objects by their `name`, or `type` for conditions."""
    if isinstance(patch, dict):
        result = dict(old) if isinstance(old, dict) else {}
        for key, value in patch.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = _merged(result.get(key), value, strategic)
        return result
    if strategic and isinstance(patch, list) and isinstance(old, list) and patch and isinstance(patch[0], dict):
        key = "type" if "type" in patch[0] else "name"
        by_key = {one[key]: one for one in old}
        for one in patch:
            by_key[one[key]] = _merged(by_key.get(one[key]), one, strategic)
        return list(by_key.values())
    return copy.deepcopy(patch)

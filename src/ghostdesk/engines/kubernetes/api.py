"""The Kubernetes API over kubernetes-asyncio: requests, lists in pages, watches, and streams to a pod's port.

Source: Kubernetes' reference/using-api/api-concepts ("Efficient detection of changes", "Retrieving large results sets
in chunks"). The library finds the cluster and signs requests (kubeconfig, its plug-ins, or the pod's service account);
what is sent and read are plain JSON objects, exactly what `render` says. Calls are concurrent up to a bound; what may
be repeated is, with back-off, while the server cannot be reached or is too busy.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ghostdesk.engines.kubernetes.errors import (
    BadCertificate,
    BadCredentials,
    Expired,
    Overloaded,
    Unreachable,
    error_of,
    status_of,
)
from ghostdesk.kernel.errors import EngineError, MissingRequirement

if TYPE_CHECKING:
    import aiohttp
    from kubernetes_asyncio.client.api_client import ApiClient

MOST_AT_ONCE = 16
PAGE = 500
WATCH_S = 240
"""A watch is asked to end by itself after so long, and begins anew where it ended: a dead connection is found out."""
_TRIES = 4
_FIRST_PAUSE_S = 0.1
_CALL_S, _CONNECT_S = 20.0, 5.0
_MERGE, _STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
_LINE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One change that a watch tells.

    Args:
        kind: "ADDED", "MODIFIED", "DELETED", "BOOKMARK" (only how far it has come), or "OPEN" (it has begun).
    """

    kind: str
    object: dict[str, Any]


class KubernetesApi:
    """One cluster.

    Args:
        kubeconfig: a kubeconfig file; None takes the pod's service account where there is one, else the usual file.
        context: of the kubeconfig; empty for its current one.
    """

    def __init__(self, kubeconfig: Path | None = None, context: str = "") -> None:
        self._kubeconfig, self._context = kubeconfig, context
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._opening = asyncio.Lock()
        self._client: ApiClient | None = None
        self.address = "the cluster"

    async def open(self) -> ApiClient:
        """The library's client; raises `MissingRequirement` where the library or the configuration is missing."""
        async with self._opening:
            if self._client is None:
                self._client = await self._make()
                self.address = str(self._client.configuration.host)
            return self._client

    async def _make(self) -> ApiClient:
        try:
            # Some 700 modules: not in the event loop's time.
            configuration, config, client = await asyncio.to_thread(_library)
        except ImportError as error:
            raise MissingRequirement(
                "The Kubernetes client library is not installed.", "Install it: pip install 'ghostdesk[kubernetes]'."
            ) from error
        settings = configuration()
        where = self._kubeconfig or "the usual places"
        try:
            if self._kubeconfig is None and Path(config.incluster_config.SERVICE_TOKEN_FILENAME).exists():
                config.load_incluster_config(client_configuration=settings)
            else:
                await config.load_kube_config(
                    config_file=str(self._kubeconfig) if self._kubeconfig else None,
                    context=self._context or None,
                    client_configuration=settings,
                    persist_config=False,
                )
            settings.connection_pool_maxsize = 0  # watches and streams hold connections; calls are bounded here
            made: ApiClient = client(settings)
            return made
        except config.ConfigException as error:
            raise MissingRequirement(
                f"No cluster is configured in {where}: {str(error).rstrip('.')}.",
                "Set engine.kubernetes.kubeconfig and engine.kubernetes.context, or run ghostdesk in the cluster.",
            ) from None
        except Exception as error:  # whatever the library and its YAML parser stumble over
            raise MissingRequirement(
                f"The kubeconfig in {where} cannot be used: {error}.",
                "Mend it, until `kubectl get pods` works with it.",
            ) from None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """What is at `path`; raises as `errors.error_of`, and `Unreachable`."""
        return await self.call("GET", path, query, repeat=True)

    async def items(self, path: str, **query: str) -> tuple[list[dict[str, Any]], str]:
        """All objects of a list, read page by page, and the version of the collection that they show."""
        while True:
            found: list[dict[str, Any]] = []
            more = ""
            try:
                while True:
                    told = await self.get(path, limit=str(PAGE), **({"continue": more} if more else {}), **query)
                    found += told.get("items") or []
                    meta = told.get("metadata") or {}
                    more = str(meta.get("continue") or "")
                    if not more:
                        return found, str(meta.get("resourceVersion") or "")
            except Expired:
                if not more:
                    raise
                continue  # the pages took longer than the server remembers: from the start

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object. Not repeated when the answer is lost: `Unreachable` then, and the caller looks."""
        return await self.call("POST", path, {}, body=body)

    async def patch(self, path: str, body: Mapping[str, Any], *, strategic: bool = False) -> dict[str, Any]:
        """Change parts of an object; the same patch twice changes nothing more."""
        return await self.call("PATCH", path, {}, body=body, kind=_STRATEGIC if strategic else _MERGE, repeat=True)

    async def delete(self, path: str, uid: str, grace_s: int) -> dict[str, Any]:
        """Remove exactly this object, and no later one of the same name."""
        body = {"gracePeriodSeconds": grace_s, "preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        return await self.call("DELETE", path, {}, body=body, repeat=True)

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        repeat: bool = False,
    ) -> dict[str, Any]:
        """One request and its answer, tried again where that does no harm."""
        trouble: EngineError | None = None
        pause_s = _FIRST_PAUSE_S
        for attempt in range(_TRIES):
            if attempt:
                assert trouble is not None
                asked_s = trouble.retry_after_s if isinstance(trouble, Overloaded) and trouble.status == 429 else None
                # Spread, so that all that failed together do not come back together.
                await asyncio.sleep(min(max(pause_s, asked_s or 0.0), 5.0) * random.uniform(0.8, 1.2))  # noqa: S311
                pause_s *= 3
            try:
                async with self._slots:
                    return await self._once(method, path, query, body, kind)
            except Overloaded as error:
                trouble = error  # it said so before it did anything, but for 500s
                if not repeat and error.status != 429:
                    raise
            except Unreachable as error:
                trouble = error
                if not repeat and not error.never_sent:
                    raise
        assert trouble is not None
        raise trouble

    async def _once(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None, kind: str
    ) -> dict[str, Any]:
        import aiohttp

        limit = aiohttp.ClientTimeout(total=_CALL_S, sock_connect=_CONNECT_S)
        response = await self._send(method, path, query, body, kind, limit)
        try:
            content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from None
        finally:
            response.release()
        if not 200 <= response.status < 300:
            told = status_of(content)
            if response.status == 429 and (wait := response.headers.get("Retry-After", "")).isdigit():
                told.setdefault("details", {}).setdefault("retryAfterSeconds", int(wait))
            raise error_of(response.status, told, f"{method} {path}")
        try:
            told = json.loads(content)
            if not isinstance(told, dict):
                raise ValueError("no object")
        except ValueError:
            raise EngineError(
                f"{self.address} does not answer like a Kubernetes API.", "Look at the server in the kubeconfig."
            ) from None
        return told

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        kind: str,
        limit: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        import aiohttp

        client = await self.open()
        url = self.address + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "Content-Type": kind, **await self._signed(client)}
        try:
            sent: aiohttp.ClientResponse = await client.rest_client.request(
                method, url, headers=headers, body=body, _preload_content=False, _request_timeout=limit
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from None
        return sent

    async def _signed(self, client: ApiClient) -> dict[str, str]:
        headers: dict[str, str] = {}
        try:
            await client.update_params_for_auth(headers, [], ["BearerToken"])
        except Exception as error:  # a plug-in of the kubeconfig may fail in any way
            raise BadCredentials(
                f"The kubeconfig's way to get a token failed: {error}.", "Run `kubectl get pods` to see why."
            ) from None
        return headers

    def _unreachable(self, error: BaseException) -> EngineError:
        import aiohttp

        said = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
            return BadCertificate(
                f"The certificate of {self.address}, or ours, is not accepted: {said}.",
                "Mend certificate-authority and client-certificate in the kubeconfig.",
            )
        lost = Unreachable(
            f"{self.address} cannot be reached: {said}.", "Is the API server running, and the address right?"
        )
        lost.never_sent = isinstance(error, aiohttp.ClientConnectorError)
        return lost

    async def watch(self, path: str, version: str, **query: str) -> AsyncIterator[Event]:
        """Changes of a collection since `version`, until the server ends the watch; raises `Expired` for one too old.

        Bookmarks are asked for: they tell how far the collection has come where nothing of ours changed.
        """
        import aiohttp

        asked = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version,
                 "timeoutSeconds": str(WATCH_S), **query}  # fmt: skip
        # Silence for longer than bookmarks are apart (about a minute) and the watch's own end means a dead connection.
        limit = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=WATCH_S + 30.0)
        response = await self._send("GET", path, asked, None, "application/json", limit)
        try:
            if response.status != 200:
                raise error_of(response.status, status_of(await response.read()), f"watch {path}")
            yield Event("OPEN", {})
            while line := await response.content.readline():
                yield _event(line, path)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from None
        finally:
            response.close()

    async def forward(self, namespace: str, pod: str, port: int) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket to a port of a pod, by way of the API server and the pod's node."""
        import aiohttp

        client = await self.open()
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}"
        try:
            opened: aiohttp.ClientWebSocketResponse = await client.rest_client.pool_manager.ws_connect(
                self.address + path,
                protocols=("v4.channel.k8s.io",),
                headers=await self._signed(client),
                heartbeat=30.0,
                max_msg_size=_LINE_BYTES,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise error_of(error.status, {"message": error.message}, f"port-forward to {pod}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from None
        return opened


def _event(line: bytes, path: str) -> Event:
    try:
        told = json.loads(line)
        kind, found = str(told["type"]), told["object"]
    except (ValueError, KeyError, TypeError):
        raise Unreachable(f"A watch was cut off in the middle of a line ({path}).") from None
    if kind == "ERROR":
        raise error_of(int(found.get("code") or 500), found, f"watch {path}")
    return Event(kind, found)


def _library() -> tuple[Any, Any, Any]:
    from kubernetes_asyncio import config
    from kubernetes_asyncio.client.api_client import ApiClient
    from kubernetes_asyncio.client.configuration import Configuration

    return Configuration, config, ApiClient

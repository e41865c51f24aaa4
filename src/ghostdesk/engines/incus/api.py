"""The REST API of Incus and LXD, which is one: requests, operations that are waited for, and errors with a mend.

Source: LXD's and Incus' doc/rest-api.md ("Return values", "Operations"). Questions are concurrent up to a bound, and so
are changes; a call that may be repeated is, with back-off, when the server cannot be reached or is too busy to answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from ghostdesk.engines.incus.backoff import ONCE, Backoff, retry_after_s
from ghostdesk.engines.incus.errors import Busy, NotTrusted, Unreachable, WrongServer, error_of
from ghostdesk.kernel.errors import EngineError, MissingRequirement

MOST_AT_ONCE = 8
"""Questions under way at once, and changes under way at once: neither waits for the other kind."""
ANSWER_WITHIN_S = 10.0
"""A server that has not answered a question by then is slow: a tick of the control loop must not hang on it."""
_CHANGED_WITHIN_S = 60.0
_UPLOAD_WITHIN_S = 600.0
_OPERATION_TIMEOUT_S = 120
_LOOK_EVERY_S = 0.05


class IncusApi:
    """One server, or any member of a cluster.

    Args:
        address: a path to the server's unix socket, or an https:// address.
        certificate, key: files of the client's certificate, for https.
        trusted: file with the server's certificate, or its authority's, for https.
        project: of Incus or LXD.
    """

    def __init__(
        self,
        address: str,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        trusted: Path | None = None,
        project: str = "default",
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self.address = address
        self.project = project
        self._files = (certificate, key, trusted)
        self._answer_within_s = answer_within_s
        self._changed_within_s = max(answer_within_s, _CHANGED_WITHIN_S)
        self._questions = asyncio.Semaphore(MOST_AT_ONCE)
        self._changes = asyncio.Semaphore(MOST_AT_ONCE)
        self._draw = random.Random().random  # noqa: S311 - jitter, no secret
        self._client: httpx.AsyncClient | None = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            timeout = httpx.Timeout(self._answer_within_s, pool=None)
            # As many connections as calls may be under way, waits for operations among them.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=2 * MOST_AT_ONCE)
            if self.address.startswith("/"):
                transport = httpx.AsyncHTTPTransport(uds=self.address, limits=limits)
                self._client = httpx.AsyncClient(transport=transport, base_url="http://server", timeout=timeout)
            else:
                self._client = httpx.AsyncClient(
                    verify=self.tls(), base_url=self.address, timeout=timeout, limits=limits
                )
        return self._client

    def tls(self) -> ssl.SSLContext:
        """How an https address is spoken to; raises `MissingRequirement` and `NotTrusted`."""
        certificate, key, trusted = self._files
        if not self.address.startswith("https://"):
            raise MissingRequirement(
                f"{self.address!r} is neither a path nor an https:// address.", "Set engine.address to one of them."
            )
        try:
            context = ssl.create_default_context(cafile=str(trusted) if trusted else None)
            if trusted is not None:
                context.check_hostname = False  # the servers' own certificates name no address; the file pins them
            if certificate is not None:
                context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise NotTrusted(
                f"The certificates for {self.address} cannot be used: {error}.",
                "See engine.certificate, engine.key and engine.server_certificate.",
            ) from error
        return context

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def get(self, path: str, *, within_s: float | None = None, **query: str) -> Any:
        """What is at `path`; raises `NotFound`, `Unreachable` or `EngineError`.

        Args:
            path: below the server's address.
            within_s: how long an answer may take, where that is another time than usual.
            query: parameters.
        """
        async with self._questions:
            return (await self._call("GET", path, query, backoff=Backoff(), within_s=within_s))["metadata"]

    async def change(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        """Change something and wait until it is done; raises as `get`, `InsufficientCapacity` and `NameTaken`.

        While something else is being done with the same instance, what changes it waits and is tried again.
        """
        backoff = ONCE if method == "POST" else Backoff()
        patience = backoff if method in ("PUT", "PATCH") else ONCE
        began_s, failures = time.monotonic(), 0
        while True:
            try:
                async with self._changes:
                    answer = await self._call(
                        method, path, query, body=body, backoff=backoff, within_s=self._changed_within_s
                    )
                    return await self._finished(answer)
            except Busy:
                failures += 1
                pause_s = patience.pause_s(failures, time.monotonic() - began_s, self._draw())
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    async def upload(self, path: str, content: bytes, headers: Mapping[str, str]) -> Any:
        """Send a file and wait until the server has taken it in."""
        async with self._changes:
            answer = await self._call("POST", path, {}, content=content, headers=headers, within_s=_UPLOAD_WITHIN_S)
            return await self._finished(answer)

    async def upload_parts(self, path: str, parts: Mapping[str, Path], headers: Mapping[str, str]) -> Any:
        """Send files, each as a part of that name, in their order; as `upload`."""
        with contextlib.ExitStack() as opened:
            files = {
                name: (file.name, opened.enter_context(file.open("rb")), "application/octet-stream")
                for name, file in parts.items()
            }
            async with self._changes:
                answer = await self._call("POST", path, {}, files=files, headers=headers, within_s=_UPLOAD_WITHIN_S)
                return await self._finished(answer)

    async def put_file(self, instance: str, path: str, content: bytes | None, owner: int, mode: int) -> None:
        """Make a file in an instance, or a folder where there is no content; raises as `change`."""
        told = {"uid": str(owner), "gid": str(owner), "mode": f"{mode:04o}", "type": "file"}
        if content is None:
            told["type"] = "directory"
        headers = {f"X-{name}-{key}": value for name in ("LXD", "Incus") for key, value in told.items()}
        async with self._changes:
            where = instance_path(instance, "/files")
            await self._call("POST", where, {"path": path}, content=content or b"", headers=headers)

    async def begin(self, method: str, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Begin an operation without waiting for its end; what the server tells of it (rest-api, "Operations")."""
        told: Mapping[str, Any] = (await self._call(method, path, {}, body=body))["metadata"]
        return told

    async def _finished(self, answer: dict[str, Any]) -> Any:
        """What came of an operation."""
        if answer.get("type") != "async":
            return answer.get("metadata")
        deadline_s = time.monotonic() + _OPERATION_TIMEOUT_S
        wait = f"{answer['operation']}/wait"
        query = {"timeout": str(_OPERATION_TIMEOUT_S)}
        while True:
            answered = await self._call("GET", wait, query, backoff=Backoff(), within_s=_OPERATION_TIMEOUT_S + 10.0)
            told = answered["metadata"]
            status = int(told.get("status_code", 0))
            if status == 200:
                return told.get("metadata")
            if status > 200:
                break
            if time.monotonic() > deadline_s:
                raise Unreachable(
                    f"{told.get('description', 'It')} takes longer than {_OPERATION_TIMEOUT_S} s.",
                    "Is the server busy?",
                )
            await asyncio.sleep(_LOOK_EVERY_S)  # a member may answer for another before that one is done
        raise error_of(400, str(told.get("err") or "the operation failed"), str(told.get("description", "")))

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        backoff: Backoff = ONCE,
        within_s: float | None = None,
        **sent: Any,
    ) -> dict[str, Any]:
        """Ask; `sent` is what httpx's `request` takes."""
        parameters = {"project": self.project, **query}
        timeout = httpx.Timeout(within_s or self._answer_within_s, pool=None)
        if "body" in sent:
            sent["json"] = sent.pop("body")
        began_s, failures = time.monotonic(), 0
        while True:
            asked_s = 0.0
            try:
                response = await self._open().request(method, path, params=parameters, timeout=timeout, **sent)
                if response.status_code not in (429, 502, 503, 504):
                    return self._read(response, path)
                asked_s = retry_after_s(response.headers.get("Retry-After", ""))
                trouble: EngineError = Unreachable(
                    f"{self.address} is too busy to answer ({response.status_code}).", "It is asked again later."
                )
            except httpx.HTTPError as error:
                trouble = self._unreachable(error, timeout.read or 0.0)
            failures += 1
            pause_s = backoff.pause_s(failures, time.monotonic() - began_s, self._draw(), asked_s)
            if pause_s is None or isinstance(trouble, NotTrusted):
                raise trouble
            await asyncio.sleep(pause_s)

    def _read(self, response: httpx.Response, path: str) -> dict[str, Any]:
        try:
            answer = response.json()
            if not isinstance(answer, dict) or "type" not in answer:
                raise ValueError("not an answer of this API")
        except ValueError:
            raise WrongServer(
                f"{self.address} does not answer like Incus or LXD ({response.status_code}).",
                "Set engine.address to the server's API, not to its web page.",
            ) from None
        if answer["type"] == "error":
            raise error_of(int(answer.get("error_code") or response.status_code), str(answer.get("error", "")), path)
        return answer

    def _unreachable(self, error: httpx.HTTPError, within_s: float) -> EngineError:
        said = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(
                f"{self.address} does not answer within {within_s:g} s.", "Is the server overloaded, or its network?"
            )
        if "certificate" in said.lower() or "ssl" in said.lower():
            return NotTrusted(
                f"The certificate of {self.address} is not trusted: {said}.",
                "Put the server's certificate into the file of engine.server_certificate.",
            )
        return Unreachable(
            f"{self.address} cannot be reached: {said}.", "Is the server running, and the address right?"
        )


def instance_path(name: str, rest: str = "") -> str:
    """The address of an instance in the API."""
    return f"/1.0/instances/{quote(name, safe='')}{rest}"

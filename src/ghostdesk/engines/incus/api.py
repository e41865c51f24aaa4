"""The REST API of Incus and LXD, which is one: requests, operations that are waited for, and errors with a mend.

Source: LXD's and Incus' doc/rest-api.md ("Return values", "Operations"). Calls are concurrent up to a bound; a call
that may be repeated is, with back-off, when the server cannot be reached or is too busy to answer.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from ghostdesk.kernel.errors import EngineError, InsufficientCapacity, MissingRequirement, NotFound

MOST_AT_ONCE = 8
_TRIES = 3
_FIRST_PAUSE_S = 0.1
_CALL_TIMEOUT_S = 30.0
_OPERATION_TIMEOUT_S = 120
_LOOK_EVERY_S = 0.05
_NO_ROOM = ("no space left", "quota", "not enough", "disk full", "limit reached")


class Unreachable(EngineError):
    """The server does not answer; what it did with the last call is unknown."""

    retry_after_s = 10.0


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
    ) -> None:
        self.address = address
        self.project = project
        self._files = (certificate, key, trusted)
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._client: httpx.AsyncClient | None = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            timeout = httpx.Timeout(_CALL_TIMEOUT_S, read=_OPERATION_TIMEOUT_S + 10.0)
            if self.address.startswith("/"):
                transport = httpx.AsyncHTTPTransport(uds=self.address)
                self._client = httpx.AsyncClient(transport=transport, base_url="http://server", timeout=timeout)
            else:
                self._client = httpx.AsyncClient(verify=self._tls(), base_url=self.address, timeout=timeout)
        return self._client

    def _tls(self) -> ssl.SSLContext:
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
            raise MissingRequirement(
                f"The certificates for {self.address} cannot be used: {error}.",
                "See engine.certificate, engine.key and engine.server_certificate.",
            ) from error
        return context

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def get(self, path: str, **query: str) -> Any:
        """What is at `path`; raises `NotFound`, `Unreachable` or `EngineError`."""
        return (await self._call("GET", path, query, repeat=True))["metadata"]

    async def change(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        """Change something and wait until it is done; raises as `get`, and `InsufficientCapacity`."""
        answer = await self._call(method, path, query, body=body, repeat=method != "POST")
        return await self._finished(answer)

    async def upload(self, path: str, content: bytes, headers: Mapping[str, str]) -> Any:
        """Send a file and wait until the server has taken it in."""
        return await self._finished(await self._call("POST", path, {}, content=content, headers=headers))

    async def _finished(self, answer: dict[str, Any]) -> Any:
        """What came of an operation."""
        if answer.get("type") != "async":
            return answer.get("metadata")
        deadline_s = time.monotonic() + _OPERATION_TIMEOUT_S
        wait = f"{answer['operation']}/wait"
        while True:
            told = (await self._call("GET", wait, {"timeout": str(_OPERATION_TIMEOUT_S)}, repeat=True))["metadata"]
            status = int(told.get("status_code", 0))
            if status == 200:
                return told.get("metadata")
            if status > 200:
                break
            if time.monotonic() > deadline_s:
                raise Unreachable(f"{told.get('description', 'It')} takes longer than {_OPERATION_TIMEOUT_S} s.")
            await asyncio.sleep(_LOOK_EVERY_S)  # a member may answer for another before that one is done
        raise error_of(400, str(told.get("err") or "the operation failed"), str(told.get("description", "")))

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = False,
    ) -> dict[str, Any]:
        parameters = {"project": self.project, **query}
        pause_s = _FIRST_PAUSE_S
        for attempt in range(_TRIES if repeat else 1):
            if attempt:
                await asyncio.sleep(pause_s)
                pause_s *= 4
            try:
                async with self._slots:
                    response = await self._open().request(
                        method, path, params=parameters, json=body, content=content, headers=headers
                    )
            except httpx.HTTPError as error:
                trouble: EngineError = self._unreachable(error)
                continue
            if response.status_code in (502, 503, 504):
                trouble = Unreachable(f"{self.address} is too busy to answer ({response.status_code}).")
                continue
            return self._read(response, path)
        raise trouble

    def _read(self, response: httpx.Response, path: str) -> dict[str, Any]:
        try:
            answer = response.json()
            if not isinstance(answer, dict) or "type" not in answer:
                raise ValueError("not an answer of this API")
        except ValueError:
            raise EngineError(
                f"{self.address} does not answer like Incus or LXD ({response.status_code}).",
                "Set engine.address to the server's API, not to its web page.",
            ) from None
        if answer["type"] == "error":
            raise error_of(int(answer.get("error_code") or response.status_code), str(answer.get("error", "")), path)
        return answer

    def _unreachable(self, error: httpx.HTTPError) -> EngineError:
        if "certificate" in str(error).lower() or "ssl" in str(error).lower():
            return EngineError(
                f"The certificate of {self.address} is not trusted: {error}.",
                "Put the server's certificate into the file of engine.server_certificate.",
            )
        said = str(error) or type(error).__name__
        return Unreachable(
            f"{self.address} cannot be reached: {said}.", "Is the server running, and the address right?"
        )


def error_of(code: int, said: str, what: str) -> EngineError:
    """The error that an answer means: its kind by code and words, with the mend."""
    low = said.lower()
    where = f" ({what})" if what else ""
    if code == 404 or "not found" in low:
        return NotFound(f"The server does not know it: {said}{where}.", "It was removed, or never made.")
    if code in (401, 403):
        return EngineError(
            f"The server refuses us: {said}{where}.",
            "Have it trust our certificate: `incus config trust add-certificate FILE`.",
        )
    if any(word in low for word in _NO_ROOM):
        return InsufficientCapacity(f"The server has no room: {said}{where}.", "Free space, or raise the quota.")
    return EngineError(f"The server could not do it: {said}{where}.")


def instance_path(name: str, rest: str = "") -> str:
    """The address of an instance in the API."""
    return f"/1.0/instances/{quote(name, safe='')}{rest}"

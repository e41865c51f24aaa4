"""The API's errors: each names its cause and its mend; what may be repeated is, and what may not is not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ghostdesk.engines.incus.api import MOST_AT_ONCE, IncusApi
from ghostdesk.engines.incus.errors import (
    Busy,
    ImageUnsuitable,
    NameTaken,
    NotTrusted,
    Unreachable,
    WrongServer,
    error_of,
)
from ghostdesk.kernel.errors import EngineError, InsufficientCapacity, MissingRequirement, NotFound

Answers = list[tuple[int, object]]
Serve = Callable[[Answers], str]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """A server on a unix socket that gives these answers one after another, and the last for ever."""
    path, asked = tmp_path / "s", []
    answers: Answers = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0].decode())
        status, told = answers.pop(0) if len(answers) > 1 else answers[0]
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)

    def set_answers(wanted: Answers) -> str:
        answers[:] = wanted
        return str(path)

    set_answers.asked = asked  # type: ignore[attr-defined]
    yield set_answers
    server.close()
    await server.wait_closed()


def _sync(metadata: object) -> dict[str, object]:
    return {"type": "sync", "metadata": metadata}


async def test_a_server_that_is_busy_is_asked_again(serve: Serve) -> None:
    api = IncusApi(serve([(503, b"busy"), (200, _sync({"a": 1}))]))
    assert await api.get("/1.0") == {"a": 1}
    await api.close()


async def test_what_makes_something_is_not_repeated(serve: Serve) -> None:
    api = IncusApi(serve([(503, b"busy"), (200, _sync({}))]))
    with pytest.raises(Unreachable, match="too busy"):
        await api.change("POST", "/1.0/instances", {})
    await api.close()
    assert len(serve.asked) == 1  # type: ignore[attr-defined]


async def test_an_instance_that_is_busy_is_asked_again_unless_something_would_be_made(serve: Serve) -> None:
    busy = {"type": "error", "error_code": 400, "error": "A matching non-reusable operation has now succeeded"}
    api = IncusApi(serve([(400, busy), (200, _sync(None))]))
    await api.change("PATCH", "/1.0/x", {})
    serve([(400, busy), (200, _sync(None))])
    with pytest.raises(Busy):
        await api.change("POST", "/1.0/x", {})
    await api.close()


async def test_a_slow_server_is_said_to_be_slow_in_time(tmp_path: Path) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(never, tmp_path / "s")
    api = IncusApi(str(tmp_path / "s"), answer_within_s=0.05)
    with pytest.raises(Unreachable, match=r"does not answer within 0\.05 s"):
        await api.get("/1.0")
    await api.close()
    server.close()
    await server.wait_closed()


async def test_changes_that_take_their_time_do_not_hold_up_questions(tmp_path: Path) -> None:
    let_go = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if "/wait" in head:
            await let_go.wait()
        told: dict[str, object] = _sync({"status_code": 200})
        if head.startswith("POST"):
            told = {"type": "async", "operation": "/1.0/operations/1", "metadata": {}}
        body = json.dumps(told).encode()
        writer.write(f"HTTP/1.1 200 x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / "s")
    api = IncusApi(str(tmp_path / "s"))
    changes = [asyncio.create_task(api.change("POST", "/1.0/instances", {})) for _ in range(3 * MOST_AT_ONCE)]
    await asyncio.sleep(0)
    assert await api.get("/1.0") == {"status_code": 200}
    assert not any(change.done() for change in changes)
    let_go.set()
    await asyncio.gather(*changes)
    await api.close()
    server.close()
    await server.wait_closed()


async def test_an_operation_is_waited_for_to_its_end(serve: Serve) -> None:
    going = _sync({"status_code": 103, "description": "Creating"})
    started = {"type": "async", "operation": "/1.0/operations/1", "metadata": {}}
    api = IncusApi(serve([(202, started), (200, going), (200, going), (200, _sync({"status_code": 200}))]))
    await api.change("PUT", "/1.0/x", {})
    failed = _sync({"status_code": 400, "err": "No space left on device"})
    serve([(202, started), (200, failed)])
    with pytest.raises(InsufficientCapacity, match="No space left"):
        await api.change("PUT", "/1.0/x", {})
    await api.close()


async def test_what_is_no_server_of_this_kind_is_said(serve: Serve, tmp_path: Path) -> None:
    for nonsense in (b"<html>", b"[]", b"{}", b"\xff\xfe"):
        api = IncusApi(serve([(200, nonsense)]))
        with pytest.raises(WrongServer, match="does not answer like Incus or LXD"):
            await api.get("/1.0")
        await api.close()
    api = IncusApi(str(tmp_path / "nobody"))
    with pytest.raises(Unreachable, match="cannot be reached") as told:
        await api.get("/1.0")
    assert "Is the server running" in told.value.mend
    await api.close()


async def test_a_wrong_address_or_certificate_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingRequirement, match="neither a path nor an https"):
        await IncusApi("http://example.org").get("/1.0")
    rubbish = tmp_path / "rubbish.crt"
    rubbish.write_text("no certificate")
    with pytest.raises(MissingRequirement, match=r"certificates for https://example\.org cannot be used"):
        await IncusApi("https://example.org", certificate=rubbish, key=rubbish).get("/1.0")
    with pytest.raises(MissingRequirement, match="cannot be used"):
        await IncusApi("https://example.org", trusted=tmp_path / "none").get("/1.0")


@pytest.mark.parametrize(
    ("code", "said", "kind", "mend"),
    [
        (404, "Instance not found", NotFound, "removed"),
        (400, "Image not found", NotFound, "removed"),
        (403, "not authorized", NotTrusted, "trust"),
        (400, "Create: no space left on device", InsufficientCapacity, "Free space"),
        (400, "Instance limit reached in project", InsufficientCapacity, "project"),
        (400, "Reached maximum number of instances in project", InsufficientCapacity, "project"),
        (400, 'Instance "x" already exists', NameTaken, "Rename"),
        (400, 'Instance is busy running a "start" operation', Busy, "again"),
        (400, "Requested architecture isn't supported by this host", ImageUnsuitable, "--architecture"),
        (400, "No online cluster members available", Unreachable, "cluster list"),
        (500, "No suitable cluster member could be found", Unreachable, "cluster list"),
        (500, "boom", EngineError, "log"),
    ],
)
def test_errors_by_kind(code: int, said: str, kind: type[EngineError], mend: str) -> None:
    error = error_of(code, said, "x")
    assert type(error) is kind
    assert said in error.cause and mend in error.mend

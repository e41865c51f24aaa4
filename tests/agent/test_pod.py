"""The first process of a pod: who is let in to what, and real processes that stop and run on."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from ghostdesk.agent import pod
from ghostdesk.agent.pod import Doorkeeper, signal_everybody

TOKEN = "t" * 32
GREETING = b"RFB 003.008\n"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Doorkeeper]:
    signals: list[int] = []
    made = Doorkeeper(tmp_path, TOKEN, signals.append)
    made.signals = signals  # type: ignore[attr-defined]
    await made.start("127.0.0.1", 0)
    yield made
    await made.stop()


async def said(door: Doorkeeper, words: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(words)
    return reader, writer


async def answer(door: Doorkeeper, words: bytes, most: int = 64) -> bytes:
    reader, writer = await said(door, words)
    try:
        return await asyncio.wait_for(reader.read(most), 20)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "words",
    [
        b"wrong rfb\n",
        b"\n",
        b" rfb\n",
        TOKEN.encode() + b"\n",
        TOKEN.encode() + b" format\n",
        TOKEN.encode() + b"rfb\n",
        b"\xff\xfe rfb\n",
        b"x" * 200_000 + b"\n",
    ],
)
async def test_nobody_else_is_let_in(door: Doorkeeper, words: bytes) -> None:
    with contextlib.suppress(ConnectionResetError):  # closed with words unread
        assert await answer(door, words) == b""
    assert door.signals == []  # type: ignore[attr-defined]


async def test_who_says_nothing_is_not_kept(door: Doorkeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod, "FIRST_LINE_S", 0.05)
    assert await answer(door, b"") == b""


async def test_the_screen_is_behind_the_port(door: Doorkeeper, tmp_path: Path) -> None:
    assert await answer(door, f"{TOKEN} rfb\n".encode()) == b"", "no screen yet: the connection is closed"

    async def screen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        writer.write(await reader.readexactly(3))
        writer.close()

    server = await asyncio.start_unix_server(screen, str(tmp_path / "rfb.sock"))
    reader, writer = await said(door, f"{TOKEN} rfb\n".encode())
    assert await reader.readexactly(3 + len(GREETING)) == b"ok\n" + GREETING
    writer.write(b"abc")
    assert await reader.read() == b"abc"
    writer.close()
    server.close()


async def test_the_agent_is_waited_for_and_dead_ones_are_passed_over(door: Doorkeeper, tmp_path: Path) -> None:
    _, writer = await said(door, f"{TOKEN} agent\n".encode())
    await asyncio.sleep(0.01)
    _, dead = await asyncio.open_unix_connection(str(tmp_path / "agent.sock"))
    writer.close()  # who asked leaves: the agent is kept for the next
    await writer.wait_closed()
    dead.close()
    await dead.wait_closed()
    second, second_writer = await said(door, f"{TOKEN} agent\n".encode())
    agent_reader, agent = await asyncio.open_unix_connection(str(tmp_path / "agent.sock"))
    agent.write(b"hello\n")
    async with asyncio.timeout(20):
        heard = await second.read(64)
        if heard == b"ok\n":
            heard += await second.read(64)
        if heard != b"ok\nhello\n":  # the dead one came first: then the stream ends, and one asks again
            second_writer.close()
            second, second_writer = await said(door, f"{TOKEN} agent\n".encode())
            heard = await second.readexactly(9)
    assert heard == b"ok\nhello\n"
    second_writer.write(b"welcome\n")
    assert await asyncio.wait_for(agent_reader.readline(), 20) == b"welcome\n"
    for one in (second_writer, agent):
        one.close()


async def test_processes_are_stopped_on_demand(door: Doorkeeper) -> None:
    assert await answer(door, f"{TOKEN} freeze\n".encode()) == b"ok\n"
    assert await answer(door, f"{TOKEN} thaw\n".encode()) == b"ok\n"
    assert door.signals == [signal.SIGSTOP, signal.SIGCONT]  # type: ignore[attr-defined]


def test_outside_a_pod_nobody_is_stopped() -> None:
    with pytest.raises(PermissionError):
        signal_everybody(signal.SIGSTOP)


# Real processes in a PID namespace of their own


_numbers = count(os.getpid() * 7)


class RealPod:
    """A pod's first process, as process 1 of a PID namespace, at a loopback address of its own."""

    def __init__(self, folder: Path, session: list[str]) -> None:
        (folder / "token").write_text(TOKEN)
        number = next(_numbers)
        self.address = f"127.66.{number // 250 % 250}.{number % 250 + 1}"
        variables = {
            **os.environ,
            "PYTHONPATH": str(Path(pod.__file__).parents[2]),
            "GHOSTDESK_POD_RUN": str(folder),
            "GHOSTDESK_POD_HOST": self.address,
            "GHOSTDESK_POD_PORT": "7900",
            "GHOSTDESK_TOKEN_FILE": str(folder / "token"),
        }
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.process = subprocess.Popen([*alone, sys.executable, "-m", "ghostdesk.agent.pod", *session], env=variables)

    async def opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    return await asyncio.open_connection(self.address, 7900)
                assert self.process.poll() is None, "it ended"
                await asyncio.sleep(0.01)

    async def say(self, word: str, most: int = 3) -> bytes:
        reader, writer = await self.opened()
        writer.write(f"{TOKEN} {word}\n".encode())
        try:
            return await asyncio.wait_for(reader.readexactly(most), 30)
        finally:
            writer.close()

    def states(self) -> list[str]:
        """States of the session's processes, as the host sees them (proc(5))."""
        first = self._children(self.process.pid)[0]
        found, wanted = [], self._children(first)
        while wanted:
            pid = wanted.pop()
            found.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
            wanted += self._children(pid)
        return found

    @staticmethod
    def _children(pid: int) -> list[int]:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self) -> None:
        with contextlib.suppress(OSError, IndexError):  # its session tidies up after itself
            os.kill(self._children(self.process.pid)[0], signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[type[RealPod]]:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare, for a PID namespace")
    started: list[RealPod] = []

    def start(*session: str) -> RealPod:
        started.append(RealPod(tmp_path, list(session)))
        return started[-1]

    yield start  # type: ignore[misc]
    for one in started:
        one.end()


async def until(check, within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)


async def test_every_process_of_a_real_pod_stops_and_runs_on(real) -> None:
    one = real("bash", "-c", "setsid sleep 1000 & setsid sleep 1000 & wait")
    (await one.opened())[1].close()
    await until(lambda: len(one.states()) == 3)
    assert await one.say("freeze") == b"ok\n"
    await until(lambda: set(one.states()) == {"T"})
    assert await one.say("thaw") == b"ok\n"
    await until(lambda: "T" not in one.states())


@pytest.mark.parametrize("status", [0, 3])
async def test_the_pod_ends_with_its_session(real, status: int) -> None:
    one = real("bash", "-c", f"sleep 0.2; (sleep 0.01 &); exit {status}")
    assert await asyncio.to_thread(one.process.wait, 60) == status


async def test_a_pod_that_is_told_to_stop_does(real) -> None:
    one = real("sleep", "1000")
    (await one.opened())[1].close()
    first = RealPod._children(one.process.pid)[0]
    assert await one.say("freeze") == b"ok\n"
    os.kill(first, signal.SIGTERM)
    await asyncio.to_thread(one.process.wait, 60)


@pytest.mark.desktop
async def test_a_real_screen_is_behind_a_real_pod(real, tmp_path: Path) -> None:
    if shutil.which("Xvnc") is None:
        pytest.skip("not installed: Xvnc")
    screen = tmp_path / "rfb.sock"
    words = "Xvnc -displayfd 1 -geometry 64x64 -rfbport=-1 -SecurityTypes None -nolisten tcp -noreset -rfbunixpath"
    one = real(*words.split(), str(screen))
    (await one.opened())[1].close()
    await until(screen.exists)
    assert await one.say("rfb", 15) == b"ok\n" + GREETING
    assert await one.say("freeze") == b"ok\n"
    await until(lambda: set(one.states()) == {"T"})
    assert await one.say("thaw") == b"ok\n"
    assert await one.say("rfb", 15) == b"ok\n" + GREETING

"""Two real ghostdesks on one PostgreSQL: both serve people, one plans, and it is killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgres_server import PostgresProblem, PostgresServer
from running import Running, missing_programs, wait_for
from sqlalchemy import TextClause, create_engine, text
from websockets.sync.client import ClientConnection, connect

pytest.importorskip("psycopg", reason="psycopg is not installed")
pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
]
PLANNER_LOCK = 0x67686F74
SERVING = "this one stands by"


class Screen:
    """A viewer of a desktop through a replica's gateway, as small as RFB allows (RFC 6143)."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._held = socket, b""
        self._take(12)
        socket.send(b"RFB 003.008\n")
        kinds = self._take(self._take(1)[0])
        assert 1 in kinds, kinds
        socket.send(b"\x01")
        assert self._take(4) == bytes(4)
        socket.send(b"\x01")
        head = self._take(24)
        self.width, self.height = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:4], "big")
        self._take(int.from_bytes(head[20:24], "big"))
        socket.send(bytes([2, 0, 0, 1, 0, 0, 0, 0]))  # raw pixels alone

    def painted(self) -> bytes:
        """A key, and then the pixels of the upper left corner: the desktop answers."""
        for down in (1, 0):
            self._socket.send(bytes([4, down, 0, 0, 0, 0, 0xFF, 0xE1]))
        self._socket.send(bytes([3, 0, 0, 0, 0, 0, 0, 16, 0, 16]))
        while True:
            kind = self._take(1)[0]
            if kind == 0:
                break
            assert kind in (2, 3), kind
            if kind == 3:
                self._take(int.from_bytes(self._take(7)[3:], "big"))
        rectangles = int.from_bytes(self._take(3)[1:], "big")
        pixels = b""
        for _ in range(rectangles):
            x_y_size = self._take(12)
            pixels += self._take(4 * int.from_bytes(x_y_size[4:6], "big") * int.from_bytes(x_y_size[6:8], "big"))
        assert pixels
        return pixels

    def _take(self, count: int) -> bytes:
        while len(self._held) < count:
            more = self._socket.recv(30)
            assert isinstance(more, bytes)
            self._held += more
        taken, self._held = self._held[:count], self._held[count:]
        return taken


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    try:
        server = PostgresServer()
    except PostgresProblem as problem:
        pytest.skip(str(problem))
    yield server
    server.end()


@pytest.fixture
def pair(postgres: PostgresServer) -> Iterator[tuple[Running, Running]]:
    """One that plans, and one that stands by, on the same folders and database."""
    root, address = Path(tempfile.mkdtemp(prefix="gdr-")), postgres.new_database()
    root.chmod(0o711)
    alone = 'network = "isolated"\n'
    both = tuple(Running(root, database=address, name=n, engine=alone, floor=1, ceiling=3) for n in ("one", "two"))
    try:
        both[0].start()
        both[1].start(wait=False)
        wait_for(lambda: SERVING in both[1].said(), 40, "standing by")
        yield both[0], both[1]
    finally:
        for desk in both:
            for client in desk.clients:
                client.close()
            if desk.process is not None and desk.process.poll() is None:
                os.kill(desk.process.pid, signal.SIGCONT)
                desk.process.kill()
                desk.process.wait()
        both[0].command("clean")
        shutil.rmtree(root, ignore_errors=True)


def elsewhere(client: httpx.Client, other: Running) -> httpx.Client:
    """The same browser, with the same cookie, at another replica."""
    found = httpx.Client(base_url=other.url, headers={"Origin": other.url}, timeout=40, cookies=dict(client.cookies))
    other.clients.append(found)
    return found


@contextlib.contextmanager
def screen(client: httpx.Client, at: Running, handle: dict[str, Any], ticket: str = "") -> Iterator[Screen]:
    """That desktop's screen through the replica `at`."""
    if not ticket:
        wanted = {"ghost": handle["ghost"], "generation": handle["generation"]}
        ticket = client.post("/api/desktop/ticket", json=wanted).json()["ticket"]
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    address = f"ws://127.0.0.1:{at.port}/api/desktop/stream"
    with connect(address, additional_headers={"Cookie": cookie}, origin=at.url, proxy=None) as socket:  # type: ignore[arg-type]
        socket.send(json.dumps({"ticket": ticket}))
        assert json.loads(socket.recv(30)) == {"ok": True}
        yield Screen(socket)


def holder(database: str) -> int:
    """The server's process whose connection holds the turn to plan; 0 when nobody has it."""
    held = text(
        "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.locktype = 'advisory' "
        "AND l.granted AND l.objid = :key AND d.datname = current_database()"
    )
    return int(asked(database, held, key=PLANNER_LOCK) or 0)


def asked(database: str, query: TextClause, **values: int) -> object:
    engine = create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = connection.execute(query, values).scalar()
    engine.dispose()
    return found


def opened(client: httpx.Client) -> dict[str, Any]:
    """The person's desktop; a busy machine may need more than one try."""
    answers: list[str] = []

    def tried() -> dict[str, Any] | None:
        answer = client.post("/api/desktop/open")
        answers.append(answer.text)
        return answer.json() if answer.status_code == 200 else None

    try:
        found: dict[str, Any] = wait_for(tried, 60, "a desktop")
    except AssertionError:
        pytest.fail(f"no desktop: {answers[-1]}")
    return found


def stands_by(desk: Running) -> None:
    desk.start(wait=False)
    wait_for(lambda: SERVING in desk.said(), 40, "standing by in its turn")


def test_somebody_works_on_while_planners_are_killed_cut_off_and_stopped(
    pair: tuple[Running, Running],
) -> None:
    """With ``pytest -s`` it says how long the fail-over took."""
    one, two = pair
    at_one = one.sign_in("alice")
    alice = elsewhere(at_one, two)
    assert alice.get("/api/me").json()["user"] == "alice", "a session is good at each replica"
    handle = opened(alice)
    assert handle["active"]
    assert at_one.post("/api/desktop/open").json()["ghost"] == handle["ghost"], "one desktop, whichever is asked"
    wanted = {"ghost": handle["ghost"], "generation": handle["generation"]}
    ticket = at_one.post("/api/desktop/ticket", json=wanted).json()["ticket"]
    first = one.record(handle["ghost"])["pid"]
    with screen(alice, two, handle, ticket) as shown:
        shown.painted()
        _killed(one, two, shown, alice, handle)
        stands_by(one)
        back = elsewhere(alice, one)
        with screen(back, one, handle) as there:
            _cut_off(two, one, there)
        assert back.post("/api/desktop/open").json()["ghost"] == handle["ghost"]
    stands_by(two)
    with screen(alice, two, handle) as shown:
        shown.painted()
        assert one.stop() == 0, "asked to stop, it leaves the desktops to the other"
        shown.painted()
        assert alice.post("/api/desktop/open").json()["ghost"] == handle["ghost"]
        shown.painted()
    assert two.record(handle["ghost"])["pid"] == first, "the very same desktop, all the time"


def _killed(planner: Running, other: Running, shown: Screen, alice: httpx.Client, handle: dict[str, Any]) -> None:
    planner.kill()
    killed_s = time.monotonic()
    shown.painted()  # nobody plans, and the desktop answers
    again = alice.post("/api/desktop/open").json()
    sys.stdout.write(f"\nfail-over: {time.monotonic() - killed_s:.2f} s from SIGKILL to an answer\n")
    assert (again["ghost"], again["path"]) == (handle["ghost"], "active")
    shown.painted()
    assert "took over" in other.said()
    owned = [ghost for ghost, held in other.ghosts().items() if held["owner"] == "alice"]
    assert owned == [handle["ghost"]], "nothing was planned twice"


def _cut_off(planner: Running, other: Running, shown: Screen) -> None:
    """Its connection ends while it is held up: the other has the turn, and waits until it has gone."""
    assert planner.process is not None
    before = holder(planner.database)
    os.kill(planner.process.pid, signal.SIGSTOP)
    asked(planner.database, text("SELECT pg_terminate_backend(:pid)"), pid=before)
    wait_for(lambda: holder(planner.database) not in (0, before), 30, "the turn's change")
    shown.painted()
    assert "took over" not in other.said(), "the folders are held by one that may still act"
    os.kill(planner.process.pid, signal.SIGCONT)
    assert planner.process.wait(30) == 1
    assert "turn to plan was lost" in planner.said()
    wait_for(lambda: "took over" in other.said(), 30, "the take-over")
    shown.painted()

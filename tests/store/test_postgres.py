"""What is PostgreSQL's alone: one planner at a time, whatever is killed, and errors that name the cause."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from postgres_server import PostgresServer
from sqlalchemy import text

from ghostdesk.control.turn import LOOK_EVERY_S, SETTLE_S, await_turn, watch_turn
from ghostdesk.engines.virtual_time import QueueClock
from ghostdesk.kernel.errors import ConfigError, Conflict, StoreError
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.postgres import PostgresStore
from ghostdesk.store.protocol import StoredUser

# A planner as small as can be: it writes a line whenever it plans, and stops once its turn is lost.
_PLANNER = """
import sys, time
from ghostdesk.store.postgres import PostgresStore
store, log = PostgresStore(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
turn = store.planner_turn()
while not turn.take():
    time.sleep(0.05)
while turn.holds():
    log.write(f"{sys.argv[3]} {time.time()}\\n")
    time.sleep(0.02)
"""


def _start(address: str, log: Path, name: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _PLANNER, address, str(log), name])


def _lines(log: Path) -> list[tuple[str, float]]:
    text_of = log.read_text() if log.exists() else ""
    return [(line.split()[0], float(line.split()[1])) for line in text_of.splitlines() if line.count(" ") == 1]


def _await_line_of(log: Path, name: str, since_s: float = 0.0) -> float:
    deadline_s = time.monotonic() + 60
    while True:
        found = [time_s for who, time_s in _lines(log) if who == name and time_s >= since_s]
        if found:
            return found[0]
        assert time.monotonic() < deadline_s, f"{name} never planned"
        time.sleep(0.05)


def test_a_planner_that_is_killed_makes_way_and_no_two_plan_at_once(postgres: PostgresServer, tmp_path: Path) -> None:
    address, log = postgres.new_database(), tmp_path / "log"
    PostgresStore(address).close()
    first = _start(address, log, "first")
    _await_line_of(log, "first")
    second = _start(address, log, "second")
    try:
        time.sleep(1.0)
        assert {who for who, _ in _lines(log)} == {"first"}
        first.kill()
        first.wait()
        killed_s = time.time()
        assert _await_line_of(log, "second") >= killed_s
        names = [who for who, _ in _lines(log)]
        assert names == sorted(names, key=["first", "second"].index), "never two by turns"
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


def test_a_planner_that_is_stopped_for_a_while_finds_its_turn_gone(postgres: PostgresServer, tmp_path: Path) -> None:
    """Its connection is ended by the server, as when a network is cut; another takes over; waking, it plans no more."""
    address, log = postgres.new_database(), tmp_path / "log"
    store = PostgresStore(address)
    first = _start(address, log, "first")
    _await_line_of(log, "first")
    second = _start(address, log, "second")
    try:
        os.kill(first.pid, signal.SIGSTOP)
        with store._writing() as connection:
            ended = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                         "AND pid <> pg_backend_pid()")  # fmt: skip
            connection.execute(ended)
        took_over_s = _await_line_of(log, "second")
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(30) == 0, "it saw that its turn was lost, and ended"
        assert [time_s for who, time_s in _lines(log) if who == "first" and time_s > took_over_s + 0.5] == []
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
        store.close()


class _Turn:
    """A turn by a script: each answer is given once, the last for ever."""

    def __init__(self, *answers: bool | StoreError) -> None:
        self.answers = list(answers)

    def take(self) -> bool:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, StoreError):
            raise answer
        return answer

    holds = take

    def give_back(self) -> None: ...


async def _inline(work: Callable[[], bool]) -> bool:
    return work()


async def test_whoever_stands_by_says_so_and_settles_before_planning() -> None:
    clock, said = QueueClock(0.0), []
    turn = _Turn(False, StoreError("The database cannot be reached.", ""), False, True)
    got = await clock.run(await_turn(turn, clock, lambda: False, said.append, beside=_inline))
    assert got and clock.now_s() >= SETTLE_S > LOOK_EVERY_S
    assert said == ["another ghostdesk plans; this one stands by", "standing by: The database cannot be reached.",
                    "another ghostdesk plans; this one stands by"]  # fmt: skip
    at_once = QueueClock(0.0)
    assert await at_once.run(await_turn(_Turn(True), at_once, lambda: False, said.append, beside=_inline))
    assert at_once.now_s() == 0.0
    assert not await clock.run(await_turn(_Turn(False), clock, lambda: True, said.append, beside=_inline))


async def test_a_lost_turn_is_told_once() -> None:
    clock, lost = QueueClock(0.0), []
    await clock.run(watch_turn(_Turn(True, True, False), clock, lambda: lost.append(True), beside=_inline))
    assert lost == [True]


async def test_a_turn_that_nobody_can_tell_of_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghostdesk.control.turn.ANSWER_WITHIN_S", 0.05)
    lost: list[bool] = []

    async def silent(_work: Callable[[], bool]) -> bool:
        return await asyncio.get_running_loop().create_future()

    await watch_turn(_Turn(True), QueueClock(0.0), lambda: lost.append(True), beside=silent)
    assert lost == [True]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("no address", "no address of a database"),
        ("postgresql://gd:secret@localhost/x", "holds a password"),
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        PostgresStore(address)
    assert "secret" not in str(refused.value)


def test_errors_name_the_cause_and_the_mend(postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match=r"cannot be reached|does not exist") as told:
        PostgresStore(f"postgresql://gd@/nothing?host={postgres.folder}/nowhere")
    assert told.value.mend
    with pytest.raises(StoreError, match=r"does not exist.*createdb"):
        PostgresStore(f"postgresql://gd@/nothing?host={postgres.folder}")


def test_a_server_that_goes_and_comes_back_is_told_and_used_again(postgres: PostgresServer) -> None:
    store = PostgresStore(postgres.new_database())
    store.put_user(StoredUser(UserId("ada"), "Ada"))
    postgres.stop()
    try:
        with pytest.raises(StoreError, match=r"cannot be reached|shutting down"):
            store.users()
    finally:
        postgres.start()
    assert [user.user for user in store.users()] == ["ada"]
    store.close()


def test_two_who_start_together_bring_the_schema_forward_once(postgres: PostgresServer) -> None:
    address = postgres.new_database()
    code = f"from ghostdesk.store.postgres import PostgresStore; PostgresStore({address!r}).close()"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0, 0, 0, 0]


def test_while_another_uses_it_the_database_does_not_go_back(postgres: PostgresServer) -> None:
    address = postgres.new_database()
    store, other = PostgresStore(address), PostgresStore(address)
    try:
        with pytest.raises(Conflict, match="other connections of ghostdesk"):
            store.downgrade(2)
        assert other.bookings() == []
        other.close()
        assert store.downgrade(2).after == 2, "once it is gone"
    finally:
        other.close()
        store.close()

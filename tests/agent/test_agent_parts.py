"""The agent's smaller parts: the wire, the loop, the link, settling, and the freezer."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.agent import wire
from ghostdesk.agent.freezer import RUN_VARIABLE, Freezer, wait_until
from ghostdesk.agent.link import MAX_KEPT_EVENTS, Link
from ghostdesk.agent.loop import Loop
from ghostdesk.agent.settling import MAX_S, QUIET_S, Settling

TYPES = ["hello", "welcome", "call", "reply", "event", "lost"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.sampled_from(TYPES))
def test_every_message_survives_the_wire(fields: dict[str, Any], kind: str) -> None:
    message = fields | {"type": kind}
    line = wire.encode(message)
    assert line.count(b"\n") == 1
    assert wire.decode(line) == message


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_other_line_is_refused_with_a_reason(line: bytes) -> None:
    try:
        message = wire.decode(line)
    except wire.WireError as problem:
        assert str(problem)
    else:
        assert message["type"] in TYPES


def test_lines_that_are_too_long_or_too_deep_are_refused() -> None:
    for line in (b"x" * (wire.MAX_LINE_BYTES + 1), b"[" * 200_000):
        with pytest.raises(wire.WireError):
            wire.decode(line)


def test_a_failing_callback_does_not_end_the_loop(capsys: pytest.CaptureFixture[str]) -> None:
    loop, order = Loop(), []

    def fail() -> None:
        raise RuntimeError("broken")

    loop.later(0, fail)
    loop.later(0.002, lambda: order.append(2))
    loop.later(0.001, lambda: order.append(1))
    loop.later(0.001, lambda: order.append(9)).cancel()
    loop.later(0.004, loop.stop)
    loop.run()
    assert order == [1, 2]
    assert "broken" in capsys.readouterr().err


def run_for(loop: Loop, duration_s: float) -> None:
    loop.later(duration_s, loop.stop)
    loop.run()


def test_the_link_retries_keeps_events_and_answers_nonsense(tmp_path: Path) -> None:
    loop, calls = Loop(), []
    path = str(tmp_path / "s")
    link = Link(loop, path, lambda: {"type": "hello"}, calls.append)
    link.connect()
    for number in range(MAX_KEPT_EVENTS + 5):
        link.event({"type": "event", "n": number})
    run_for(loop, 0.3)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        run_for(loop, 0.6)
        server.settimeout(5)
        peer, _ = server.accept()
        peer.settimeout(5)
        peer.sendall(b'{"type":"welcome"}\nnonsense\n{"type":"call","id":1,"method":"ping"}\n')
        heard = b""
        while b"malformed" not in heard:
            run_for(loop, 0.02)
            heard += peer.recv(1 << 20)
        lines = [json.loads(line) for line in heard.splitlines()]
        assert lines[0] == {"type": "hello"}
        assert [line["n"] for line in lines if line["type"] == "event"] == list(range(5, MAX_KEPT_EVENTS + 5))
        assert [call["method"] for call in calls] == ["ping"]
        peer.close()
        run_for(loop, 0.3)
        again, _ = server.accept()
        again.close()
    link.close()


def test_the_link_passes_over_a_line_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_LINE_BYTES", 1000)
    loop, calls = Loop(), []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        link = Link(loop, str(tmp_path / "s"), lambda: {"type": "hello"}, calls.append)
        link.connect()
        peer, _ = server.accept()
        with peer:
            peer.sendall(b'{"type":"welcome"}\n' + b"x" * 5000)
            run_for(loop, 0.05)
            peer.sendall(b"x" * 5000 + b'\n{"type":"call","id":1,"method":"ping"}\n')
            run_for(loop, 0.05)
    link.close()
    assert [call["method"] for call in calls] == ["ping"]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 0.2), st.booleans(), st.integers(0, 20)),
        min_size=125,
        max_size=125,
    )
)
def test_nothing_settles_while_it_draws_or_works_and_everything_settles_in_time(
    steps: list[tuple[float, bool, int]],
) -> None:
    settling = Settling(0.0, 0.0, 0, 0.0)
    now_s, ticks, drawn_s = 0.0, 0, 0.0
    for gap_s, draws, worked in steps:
        now_s, ticks = now_s + gap_s, ticks + worked
        if draws:
            drawn_s = settling.drawn_s = now_s
        if settling.look(now_s, ticks, 100):
            assert now_s - drawn_s >= QUIET_S or now_s >= MAX_S
            return
    raise AssertionError("it never settled")


def test_a_quiet_application_settles_soon() -> None:
    settling = Settling(0.0, 0.0, 50, 0.0)
    assert [settling.look(n / 10, 50, 100) for n in range(1, 5)] == [False, False, True, True]


@pytest.mark.parametrize("cgroup", ["v2", "v1", "none"], indirect=True)
def test_a_group_freezes_and_thaws_with_all_its_children(cgroup: tuple[str, Path | None], tmp_path: Path) -> None:
    kind, folder = cgroup
    freezer = Freezer(kind, folder, str(tmp_path))
    group = freezer.group(3)
    count = tmp_path / "count"
    script = f"while :; do echo x >> {count}; sleep 0.005; done & wait"
    process = subprocess.Popen(
        ["sh", "-c", script],
        env=os.environ | {RUN_VARIABLE: group.mark},
        start_new_session=True,
        preexec_fn=group.join,  # noqa: PLW1509
    )
    try:
        assert wait_until(count.exists, 5)
        assert set(freezer.numbers()) == {3}
        assert freezer.number_of(process.pid) == 3
        assert len(group.pids()) >= 2
        for _ in range(3):
            assert group.freeze()
            assert group.frozen()
            before = count.stat().st_size
            time.sleep(0.05)
            assert count.stat().st_size == before
            group.thaw()
            assert wait_until(lambda seen=before: count.stat().st_size > seen, 5)
            assert not group.frozen()
    finally:
        for pid in group.pids():
            with contextlib.suppress(ProcessLookupError):  # the short-lived sleep may have ended meanwhile
                os.kill(pid, 9)
        process.wait(5)
    assert wait_until(lambda: not group.pids(), 5)
    assert freezer.number_of(os.getpid()) is None


def test_a_group_that_cannot_be_made_falls_back_to_signals(tmp_path: Path) -> None:
    assert Freezer("v2", tmp_path / "missing").kind == "none"
    assert Freezer("none", tmp_path).kind == "none"
    assert Freezer("v2", None).kind == "none"

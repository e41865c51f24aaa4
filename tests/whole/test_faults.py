"""A real ghostdesk with real desktops, and everything that can go wrong with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Running, missing_programs, running, wait_for

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
]


@pytest.fixture
def desk() -> Iterator[Running]:
    with running() as made:
        yield made


def test_a_killed_control_plane_finds_its_ghosts_and_the_users_desktop_goes_on(desk: Running) -> None:
    desk.start()
    alice = desk.sign_in("alice")
    opened = alice.post("/api/desktop/open").json()
    ghost = opened["ghost"]
    wait_for(lambda: len(desk.ghosts()) >= 2, what="the pool's refill")
    before, first = desk.ghosts(), desk.record(ghost)["pid"]
    (desk.state / "homes").stat()
    desk.kill()
    os.kill(first, 0)  # the desktop's first process lives without a control plane
    assert desk.rfb_greeting(ghost).startswith(b"RFB 003")
    desk.start()
    assert "took over" in desk.said()
    after = desk.ghosts()
    assert set(before) <= set(after)
    assert (after[ghost]["state"], after[ghost]["owner"]) == ("active", "alice")
    assert desk.record(ghost)["pid"] == first
    again = alice.post("/api/desktop/open").json()  # the browser's session outlives the control plane too
    assert (again["ghost"], again["path"]) == (ghost, "active")
    wait_for(lambda: alice.post("/api/apps/org.xfce.mousepad/launch").status_code == 200, what="a launch")


def test_on_stop_nothing_of_ours_is_left(desk: Running) -> None:
    desk.start()
    alice = desk.sign_in("alice")
    alice.post("/api/desktop/open")
    wait_for(lambda: len(desk.ghosts()) >= 2, what="the pool's refill")
    assert desk.remains()
    assert desk.stop() == 0
    assert desk.remains() == []
    assert (desk.state / "homes" / "alice").is_dir() or os.geteuid() != 0
    kinds = [kind for kind, user, _ in desk.events() if user == "alice"]
    assert "sign-in" in kinds


def test_with_keep_desktops_a_stop_leaves_them_and_the_next_start_takes_over(desk: Running) -> None:
    desk.start("--keep-desktops")
    alice = desk.sign_in("alice")
    ghost = alice.post("/api/desktop/open").json()["ghost"]
    assert desk.stop() == 0
    assert desk.rfb_greeting(ghost).startswith(b"RFB 003")
    desk.start()
    assert desk.ghosts()[ghost]["state"] == "active"


def test_a_ghost_that_dies_is_replaced_and_the_user_gets_another_with_the_same_home(desk: Running) -> None:
    desk.start()
    alice = desk.sign_in("alice")
    ghost = alice.post("/api/desktop/open").json()["ghost"]
    os.kill(desk.record(ghost)["pid"], signal.SIGKILL)
    wait_for(lambda: ghost not in desk.ghosts(), what="the loss")
    again = alice.post("/api/desktop/open")
    assert again.status_code == 200, again.text
    assert again.json()["ghost"] != ghost
    assert not [r for r in desk.remains() if ghost in r]


def test_an_agent_that_dies_comes_back_and_applications_start_again(desk: Running) -> None:
    desk.start()
    alice = desk.sign_in("alice")
    ghost = alice.post("/api/desktop/open").json()["ghost"]
    uid = desk.record(ghost)["uid"]
    agents = _pids(uid, "ghostdesk.agent")
    assert agents
    for pid in agents:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: _pids(uid, "ghostdesk.agent") - agents, what="the agent's return")
    wait_for(lambda: alice.post("/api/apps/lxterminal/launch").status_code == 200, what="a launch after it")
    assert desk.ghosts()[ghost]["state"] == "active"


def test_an_unknown_application_is_named(desk: Running) -> None:
    desk.start()
    alice = desk.sign_in("alice")
    alice.post("/api/desktop/open")
    answer = alice.post("/api/apps/no.such.program/launch")
    assert answer.status_code in (404, 409, 422)
    assert "no.such.program" in answer.json()["error"]["cause"]
    assert answer.json()["error"]["mend"]


def test_a_port_that_is_taken_is_named_with_the_mend(desk: Running) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", desk.port))
        other.listen()
        result = desk.command("run")
    assert result.returncode == 1
    assert str(desk.port) in result.stderr
    assert "mend:" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_second_control_plane_on_the_same_folders_is_refused(desk: Running) -> None:
    desk.start()
    result = desk.command("run")
    assert result.returncode == 1
    assert "Another ghostdesk already runs" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="hiding a program needs root")
def test_without_xvnc_the_missing_package_is_named(desk: Running) -> None:
    hide = 'mount --bind /dev/null "$(readlink -f /usr/bin/Xvnc)" && exec "$@"'
    result = desk.command("run", before=("unshare", "--mount", "sh", "-c", hide, "sh"))
    assert result.returncode == 1
    assert "Xvnc is not installed" in result.stderr
    assert "apt-get install tigervnc-standalone-server" in result.stderr.replace("\n", "")
    assert "Traceback" not in result.stderr


def test_a_corrupt_database_is_refused_and_set_aside_only_when_asked(desk: Running) -> None:
    desk.state.mkdir(mode=0o711)
    database = desk.state / "ghostdesk.db"
    database.write_bytes(b"this is no database, but it may be somebody's last copy" * 100)
    result = desk.command("run")
    assert result.returncode == 1
    assert "--repair" in result.stderr
    assert database.read_bytes().startswith(b"this is no database")
    desk.start("--repair")
    kept = [p for p in desk.state.iterdir() if "corrupt" in p.name]
    assert len(kept) == 1
    assert kept[0].read_bytes().startswith(b"this is no database")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_said_and_nothing_is_lost(desk: Running) -> None:
    desk.state.mkdir(mode=0o711)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=711", "tmpfs", str(desk.state)], check=True)
    try:
        desk.start()
        alice = desk.sign_in("alice")
        ghost = alice.post("/api/desktop/open").json()["ghost"]
        assert not desk.said_problem(), "the operator signs in while there is room"
        filler = desk.state / "filler"
        with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
            while True:
                stream.write(bytes(65536))
        problem = wait_for(desk.said_problem, 40, "the problem in the status")
        assert "space" in problem or "full" in problem
        assert desk.rfb_greeting(ghost).startswith(b"RFB 003"), "the user's desktop goes on"
        filler.unlink()
        wait_for(lambda: not desk.said_problem(), 60, "the mend")
        assert desk.stop() == 0
        assert ("sign-in", "alice", None) in desk.events()
    finally:
        if desk.process is not None and desk.process.poll() is None:
            desk.kill()
        desk.command("clean")
        subprocess.run(["umount", "-l", str(desk.state)], check=True)


def _pids(uid: int, word: str) -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == uid and word.encode() in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
        except OSError:
            continue
    return found

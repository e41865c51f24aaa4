"""Files that people open, in a real ghostdesk with real desktops: learnt, kept private, read ahead, deleted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import Running, missing_programs, running, wait_for

PROGRAMS = ("mousepad", "fincore", "nsenter")
pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
    pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason=f"not all installed: {', '.join(PROGRAMS)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root is told of files that are opened in a home"),
]
APP, NAME = "org.xfce.mousepad", "telltale-letter.txt"


@pytest.fixture
def desk() -> Iterator[Running]:
    with running() as made:
        made.start()
        yield made


def test_what_is_opened_is_learnt_read_ahead_and_deleted(desk: Running) -> None:
    alice = desk.sign_in("alice")
    alice.post("/api/desktop/open").raise_for_status()
    home = desk.state / "homes/alice"
    wait_for(home.exists, what="a home")
    letter = home / "Documents" / NAME
    letter.write_text("a letter of some length\n" * 200)
    os.chown(letter, home.stat().st_uid, home.stat().st_gid)
    alice.post(f"/api/apps/{APP}/launch").raise_for_status()
    (ghost,) = [ghost for ghost, seen in desk.ghosts().items() if seen["owner"] == "alice"]
    running_app = wait_for(lambda: environ_of(ghost), what="the application")
    opening = open_in_mousepad(running_app, f"Documents/{NAME}")
    history = desk.state / "file-history/alice.jsonl"
    wait_for(history.exists, what="a history of files")
    (line,) = [json.loads(one) for one in history.read_text().splitlines()]
    assert (line["app"], line["path"], line["size"]) == (APP, f"Documents/{NAME}", letter.stat().st_size)
    assert history.stat().st_mode & 0o077 == 0
    assert NAME.encode() not in bytes_of(desk.state, "ghostdesk.db*")  # names never reach the store
    exported: list[dict[str, Any]] = alice.get("/api/my/export").json()["files_opened"]
    assert [one["path"] for one in exported] == [f"Documents/{NAME}"]
    alice.delete("/api/desktop").raise_for_status()
    wait_for(lambda: all(g["owner"] != "alice" for g in desk.ghosts().values()), what="the end of the session")
    opening.wait(10)
    evict(letter)
    assert resident_pages(letter) == 0
    alice.post("/api/desktop/open").raise_for_status()
    wait_for(lambda: "one of your files" in prepared(alice), what="a file that is read ahead")
    assert resident_pages(letter) > 0
    assert desk.status()["files"]["files"] == 1
    assert alice.put("/api/my/consents/files", json={"allowed": False}).status_code == 204
    assert not history.exists()
    assert NAME.encode() not in bytes_of(desk.state, "*", without={"homes", "slot"})
    assert desk.stop() == 0


def prepared(client: httpx.Client) -> list[str]:
    """What was prepared, as the person sees it."""
    return [one["what"] for one in client.get("/api/my/data").json()["prepared"]]


def environ_of(ghost: str) -> Path | None:
    """Of a process of the application in this desktop."""
    wanted = {f"GHOSTDESK_APP={APP}".encode(), f"GHOSTDESK_GHOST={ghost}".encode()}
    for one in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted <= set(one.read_bytes().split(b"\0")):
                return one
        except OSError:
            continue
    return None


def open_in_mousepad(environ: Path, path: str) -> subprocess.Popen[bytes]:
    """Have the application open a file, as its own menu would: its program, with its environment, in its desktop."""
    variables = environ.read_bytes().split(b"\0")
    enter = ["nsenter", "-t", environ.parent.name, "-U", "-m", "-p", "-n", "-i", "-u", "--setuid", "1000", "--setgid"]
    return subprocess.Popen(
        [*enter, "1000", "env", "-i", *(os.fsdecode(one) for one in variables if one), "mousepad",
         "--disable-server", f"/home/user/{path}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def evict(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident_pages(path: Path) -> int:
    """Of a file, in the page cache."""
    told = subprocess.run(["fincore", "-n", "-o", "PAGES", str(path)], capture_output=True, text=True, check=True)
    return int(told.stdout.strip() or 0)


def bytes_of(folder: Path, pattern: str, without: Collection[str] = ()) -> bytes:
    found = [one for one in folder.rglob(pattern) if one.is_file() and not set(without) & set(one.parts)]
    return b"".join(one.read_bytes() for one in found)

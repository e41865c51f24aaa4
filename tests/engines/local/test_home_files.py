"""The local engine's part of users' files: whose home is where, who opened a file, one load at a time."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ghostdesk.engines.local.home_files import LocalHomeFiles, application_of
from ghostdesk.engines.local.records import GhostRecord, Records
from ghostdesk.engines.protocol import HasHomeFiles, HomeFiles, HomeLoad
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.prefetch.file_history import FileEvent, FileOpened, FileRemoved, FileRenamed

ADA, BOB, GHOST = UserId("ada"), UserId("bob"), GhostId("g1")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    made = Records(tmp_path / "state", tmp_path / "run")
    made.paths(GHOST).slot.mkdir(parents=True)
    (made.homes_dir / ADA / "Documents").mkdir(parents=True)
    (made.homes_dir / ADA / "Documents/letter").write_text("12345")
    made.write(GhostRecord(GHOST, "plain", "isolated", uid=os.geteuid(), owner=ADA, attached="idmap"))
    return made


@pytest.fixture
def files(records: Records) -> LocalHomeFiles:
    return LocalHomeFiles(records)


def test_a_home_is_the_owners_alone_and_where_it_is_attached(files: LocalHomeFiles, records: Records) -> None:
    seam: HomeFiles = files
    assert seam is files
    assert files.home(GHOST, ADA) == records.homes_dir / ADA
    assert files.home(GHOST, BOB) is None
    assert files.home(GhostId("other"), ADA) is None
    record = records.read(GHOST)
    assert record is not None
    for attached, place in (("rename", records.paths(GHOST).home), ("remote", records.paths(GHOST).home), ("", None)):
        records.write(replace(record, attached=attached))
        assert files.home(GHOST, ADA) == place


def test_the_local_engine_has_home_files(tmp_path: Path) -> None:
    from ghostdesk.engines.local.engine import LocalEngine

    assert isinstance(LocalEngine(tmp_path / "s", tmp_path / "r"), HasHomeFiles)


def wish(*names: str, user: UserId = ADA) -> HomeLoad:
    return HomeLoad(GHOST, user, names, 1e6, 1e6)


async def test_files_are_loaded_one_load_at_a_time(files: LocalHomeFiles) -> None:
    first, second = await asyncio.gather(
        files.load(wish("Documents/letter", "gone")), files.load(wish("Documents/letter"))
    )
    assert (list(first.files), list(first.skipped)) == ([("Documents/letter", 5)], [("gone", "deleted")])
    assert second.stopped == "files of this home are being loaded already"
    assert (await files.load(wish("Documents/letter"))).files == [("Documents/letter", 5)]
    assert (await files.load(wish("x", user=BOB))).stopped == "no home is attached"


async def test_a_load_that_takes_too_long_is_given_up(records: Records) -> None:
    late = LocalHomeFiles(records, limit_s=-4.99)  # the program itself needs longer to start
    assert (await late.load(wish("Documents/letter"))).stopped == "time"


@pytest.fixture
def opener(records: Records) -> Iterator[subprocess.Popen[bytes]]:
    """An application in whose home things happen, line by line from its standard input."""
    environment = {"GHOSTDESK_APP": "writer", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(["/bin/sh"], stdin=subprocess.PIPE, cwd=records.homes_dir / ADA, env=environment) as child:
        yield child
        child.kill()


def test_the_application_is_read_from_the_mark_of_the_agent(opener: subprocess.Popen[bytes]) -> None:
    assert application_of(opener.pid) == AppId("writer")
    assert application_of(os.getpid()) is None
    assert application_of(2**22 + 1) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may hear of others' files")
def test_what_an_application_opens_is_told_with_its_size_two_seconds_later(
    files: LocalHomeFiles, opener: subprocess.Popen[bytes], records: Records
) -> None:
    if problem := files.watch(GHOST, ADA):
        pytest.skip(problem)
    assert opener.stdin is not None
    opener.stdin.write(b"exec 3< Documents/letter 4> new~ 5> Documents/.hidden 6> gone\n")
    opener.stdin.write(b"rm gone; mv Documents/letter poem\necho > done\n")
    opener.stdin.flush()
    while not (records.homes_dir / ADA / "done").exists():
        os.sched_yield()
    now: list[tuple[UserId, FileEvent]] = list(files.events(100.0))
    assert [event for _, event in now] == [FileRemoved(100.0, "gone"), FileRenamed(100.0, "Documents/letter", "poem")]
    later = [event for _, event in files.events(102.0)]
    assert FileOpened(100.0, AppId("writer"), "poem", 5) in later
    assert {event.path for event in later} <= {"poem", "done"}
    files.unwatch(ADA)
    opener.stdin.write(b"exec 3< poem\necho > again\n")
    opener.stdin.flush()
    while not (records.homes_dir / ADA / "again").exists():
        os.sched_yield()
    assert list(files.events(200.0)) == []


def test_a_home_that_is_not_attached_is_not_watched(files: LocalHomeFiles) -> None:
    assert files.watch(GHOST, BOB) == "no home is attached"
    files.unwatch(BOB)
    files.forget(BOB)

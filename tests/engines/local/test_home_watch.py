"""What the kernel tells of files in homes: names, renaming, removal, and of nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghostdesk.engines.local.home_watch import HomeEvent, HomeWatch
from ghostdesk.kernel.ids import UserId

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may hear of others' files")
ADA, BOB = UserId("ada"), UserId("bob")


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[HomeWatch]:
    for user in (ADA, BOB):
        (tmp_path / user / "Documents").mkdir(parents=True)
        (tmp_path / user / "Documents/letter").write_text("x")
        (tmp_path / user / ".config").mkdir()
    made = HomeWatch()
    try:
        made.add(ADA, tmp_path / ADA)
    except OSError as error:
        made.close()
        pytest.skip(f"this file system cannot be watched: {error}")
    yield made
    made.close()


def do(folder: Path, command: str) -> int:
    """In another process, as what we do ourselves is left out; returns its pid."""
    child = subprocess.Popen(["/bin/sh", "-c", command], cwd=folder, stdin=subprocess.DEVNULL)
    child.wait(10)
    return child.pid


def told(watch: HomeWatch) -> list[tuple[str, str, str]]:
    return [(one.what, one.path, one.new_path) for one in watch.read()]


def test_openings_are_told_with_name_and_process(watch: HomeWatch, tmp_path: Path) -> None:
    pid = do(tmp_path / ADA, "exec 3< Documents/letter")
    assert list(watch.read()) == [HomeEvent(ADA, "opened", "Documents/letter", "", pid)]


def test_hidden_names_other_homes_and_our_own_doings_are_not_told(watch: HomeWatch, tmp_path: Path) -> None:
    (tmp_path / ADA / "Documents/letter").read_text()
    do(tmp_path, "exec 3> ada/.config/secret 4> ada/.profile 5< bob/Documents/letter")
    assert told(watch) == []


def test_renaming_and_removal_are_told(watch: HomeWatch, tmp_path: Path) -> None:
    do(tmp_path / ADA, "mv Documents/letter Documents/poem; mv Documents/poem .hidden; mv .hidden Documents/back")
    do(tmp_path / ADA, "rm Documents/back; mkdir new; rmdir new")
    assert told(watch) == [
        ("renamed", "Documents/letter", "Documents/poem"),
        ("renamed", "Documents/poem", ""),
        ("removed", "Documents/back", ""),
        ("removed", "new", ""),
    ]


def test_new_and_renamed_folders_are_followed(watch: HomeWatch, tmp_path: Path) -> None:
    do(tmp_path / ADA, "mkdir -p a/b")
    told(watch)
    do(tmp_path / ADA, "exec 3> a/b/file; mv a c")
    assert told(watch) == [("opened", "a/b/file", ""), ("renamed", "a", "c")]
    do(tmp_path / ADA, "exec 3< c/b/file")
    assert told(watch) == [("opened", "c/b/file", "")]


def test_links_to_folders_are_not_followed(watch: HomeWatch, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    do(tmp_path / ADA, f"ln -s {outside} Documents/link")
    watch.add(ADA, tmp_path / ADA)
    do(outside, "exec 3> secret")
    assert told(watch) == []


def test_who_is_watched_no_more_is_told_nothing_of(watch: HomeWatch, tmp_path: Path) -> None:
    watch.add(BOB, tmp_path / BOB)
    do(tmp_path, "exec 3< ada/Documents/letter")
    watch.remove(ADA)
    do(tmp_path, "exec 3< ada/Documents/letter 4< bob/Documents/letter")
    assert [one.user for one in watch.read()] == [BOB]
    watch.remove(ADA)


def test_a_home_that_is_not_there_is_refused(watch: HomeWatch, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        watch.add(BOB, tmp_path / "nobody")
    do(tmp_path, "exec 3< ada/Documents/letter")
    assert told(watch) == [("opened", "Documents/letter", "")]

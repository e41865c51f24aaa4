"""Records survive crashes, and say clearly what is wrong with the folders."""

import os
from pathlib import Path

import pytest

from ghostdesk.engines.local.records import GhostRecord, Records, write_atomically
from ghostdesk.kernel.errors import EngineError
from ghostdesk.kernel.ids import GhostId, UserId

RECORD = GhostRecord(GhostId("g1"), "plain", "isolated", 210_000, 7, 8, "boot", owner=UserId("alice"), created_s=1.5)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    records = Records(tmp_path / "state", tmp_path / "run")
    records.paths(RECORD.ghost).folder.mkdir(parents=True)
    assert records.read(RECORD.ghost) is None
    records.write(RECORD)
    assert records.read(RECORD.ghost) == RECORD
    assert records.paths(RECORD.ghost).record.stat().st_mode & 0o777 == 0o600
    assert list(records.ghosts()) == ["g1"]


@pytest.mark.parametrize("torn", ["", "{", "[]", "null", '{"ghost": "g1"}', "\x00\xff"])
def test_a_torn_record_is_no_record(tmp_path: Path, torn: str) -> None:
    records = Records(tmp_path / "state", tmp_path / "run")
    path = records.paths(RECORD.ghost).record
    path.parent.mkdir(parents=True)
    path.write_text(torn)
    assert records.read(RECORD.ghost) is None


def test_a_later_versions_record_is_read(tmp_path: Path) -> None:
    records = Records(tmp_path / "state", tmp_path / "run")
    path = records.paths(RECORD.ghost).record
    path.parent.mkdir(parents=True)
    records.write(RECORD)
    path.write_text(path.read_text().replace("{", '{"colour": "blue",', 1))
    assert records.read(RECORD.ghost) == RECORD


def test_a_long_run_folder_is_refused_with_its_limit(tmp_path: Path) -> None:
    Records(tmp_path, Path("/run/ghostdesk")).check_socket_paths()
    with pytest.raises(EngineError, match="run_directory to a path of at most"):
        Records(tmp_path, Path("/" + "x" * 90)).check_socket_paths()


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def crash(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    write_atomically(path, "newer")
    assert path.read_text() == "newer"

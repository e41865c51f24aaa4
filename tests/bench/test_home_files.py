"""The benchmark of a home's files, on this machine's disk: what it opens and what it refuses; no timing is asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostdesk.bench.home_files import bench_home_files, some_files
from ghostdesk.kernel.errors import ConfigError


def test_it_opens_visible_files_alone_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "Documents/deep").mkdir(parents=True)
    for name in ("a", "Documents/b", "Documents/deep/c"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "empty").write_text("")
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert sorted(some_files(tmp_path, 10, 0)) == ["Documents/b", "Documents/deep/c", "a"]
    assert len(some_files(tmp_path, 2, 0)) == 2
    result = bench_home_files(tmp_path, 10, 2, 0)
    assert (result.files, result.total_bytes, result.kind) == (3, 3000, "")
    assert len(result.cold_s) == len(result.ready_s) == len(result.loading_s) == 2
    assert result.ratio > 0


def test_what_is_no_home_is_refused(tmp_path: Path) -> None:
    for folder, why in ((tmp_path, "no visible files"), (tmp_path / "gone", "no folder")):
        with pytest.raises(ConfigError, match=why):
            bench_home_files(folder, 10, 1, 0)

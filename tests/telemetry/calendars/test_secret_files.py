"""Secrets beside the database."""

import os
import stat
from pathlib import Path

import pytest

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.calendars.secret_files import SecretFiles

ALICE, BOB = UserId("alice"), UserId("bob")


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    return SecretFiles(tmp_path / "secrets")


def test_only_the_owner_can_read_them(files: SecretFiles, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        files.put(ALICE, "work/../../x", "password", "hunter2")
        files.put(None, "terms", "text", "start,end")
        files.series_key()
    finally:
        os.umask(old)
    assert files.get(ALICE, "work/../../x", "password") == "hunter2"
    assert files.get(BOB, "work/../../x", "password") is None
    paths = [path for path in (tmp_path / "secrets").rglob("*") if path.is_file()]
    assert len(paths) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert not any("work" in path.name for path in paths)


def test_a_file_that_others_can_read_or_a_link_is_refused(files: SecretFiles, tmp_path: Path) -> None:
    files.put(ALICE, "work", "password", "hunter2")
    (path,) = tmp_path.glob("secrets/users/alice/*")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        files.get(ALICE, "work", "password")
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="cannot be read"):
        files.get(ALICE, "work", "password")


def test_deleting(files: SecretFiles, tmp_path: Path) -> None:
    for user in (ALICE, BOB, None):
        files.put(user, "work", "password", "x")
    files.put(ALICE, "home", "address", "x")
    files.delete(ALICE, "work")
    assert files.get(ALICE, "work", "password") is None and files.get(ALICE, "home", "address") == "x"
    files.forget(ALICE)
    files.forget(ALICE)
    assert not (tmp_path / "secrets/users/alice").exists()
    assert files.get(BOB, "work", "password") == "x"


def test_what_belongs_to_no_calendar_goes_but_not_what_is_new(files: SecretFiles) -> None:
    for name in ("kept", "gone"):
        files.put(ALICE, name, "password", "x")
    files.put(None, "gone", "text", "x")
    key = files.series_key()
    assert files.keep_only([(ALICE, "kept")], before_s=0.0) == 0
    assert files.keep_only([(ALICE, "kept")], before_s=1e12) == 2
    assert files.get(ALICE, "kept", "password") == "x"
    assert files.series_key() == key and len(key) == 32


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written"):
        SecretFiles(tmp_path / "secrets").put(ALICE, "work", "password", "x")

"""The database's version as an operator meets it on the command line."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from ghostdesk.cli import main
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sqlite import open_store
from ghostdesk.store.steps import STEPS
from ghostdesk.wiring import sole_control_plane

NEWEST = len(STEPS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s").mkdir()
    store = open_store(tmp_path / "s/ghostdesk.db", now_s=0.0)
    store.put_user(StoredUser(UserId("ada"), "Ada", department="physics"))
    store.close()
    return tmp_path


def database(folder: Path, *words: str) -> tuple[int, str, str]:
    """`ghostdesk database` in this very process: its exit status, and what it printed on both streams."""
    settings = folder / "ghostdesk.toml"
    settings.write_text(f"[state]\ndirectory = '{folder}/s'\nrun_directory = '{folder}/r'\n")
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["ghostdesk", "database", *words, "--config", str(settings)])
        patch.setenv("COLUMNS", "200")
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def version(folder: Path) -> tuple[int, str]:
    code, out, _ = database(folder, "show", "--json")
    report = json.loads(out)["report"]
    assert code == 0 and report["known"] == NEWEST and len(report["steps"]) == NEWEST
    return report["version"], report["state"]


def test_back_with_a_dump_and_forward_with_what_it_kept(folder: Path) -> None:
    assert version(folder) == (NEWEST, "current")
    code, _, err = database(folder, "downgrade", "--to", "1")
    assert code == 1
    assert "1 rows of users (job_role, department)" in err and "--dump FILE" in err
    assert version(folder) == (NEWEST, "current")
    kept = folder / "kept.jsonl"
    code, out, _ = database(folder, "downgrade", "--to", "1", "--dump", str(kept), "--json")
    done = json.loads(out)["done"]
    assert (code, done["before"], done["after"], done["dump"]) == (0, NEWEST, 1, str(kept))
    assert version(folder) == (1, "older"), "looking at it brings nothing forward"
    code, out, _ = database(folder, "upgrade", "--restore", str(kept))
    assert code == 0 and "put back: 1 rows" in out
    store = open_store(folder / "s/ghostdesk.db", now_s=0.0)
    assert [user.department for user in store.users()] == ["physics"]
    store.close()
    code, out, _ = database(folder, "upgrade")
    assert code == 0 and "already" in out


def test_while_a_ghostdesk_runs_nothing_is_brought_back(folder: Path) -> None:
    with sole_control_plane(folder / "r"):
        code, _, err = database(folder, "downgrade", "--to", "1", "--drop")
    assert code == 1 and "already runs" in err
    assert version(folder) == (NEWEST, "current")


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    code, _, err = database(tmp_path, "show")
    assert code == 1 and "There is no database" in err
    assert not (tmp_path / "s").exists()


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/ghostdesk.db").write_bytes(b"this is no database" * 100)
    code, _, err = database(tmp_path, "upgrade")
    assert code == 1 and "damaged" in err

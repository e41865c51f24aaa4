"""Privacy, modes and attributes of accounts as an operator meets them on the command line."""

import io
import json
import stat
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from ghostdesk.cli import main
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.prefetch.file_history import FileOpened
from ghostdesk.store.file_histories import FileHistories
from ghostdesk.store.personal import Deletion, Preparation
from ghostdesk.store.sqlite import SqliteStore, open_store
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

ALICE = UserId("alice")


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def ghostdesk(folder: Path, *words: str, config: str = "") -> Done:
    """The command in this very process, with nobody at the keyboard: starting Python anew takes seconds."""
    settings = folder / "ghostdesk.toml"
    settings.write_text(f"[state]\ndirectory = '{folder}/s'\nrun_directory = '{folder}/r'\n{config}")
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
        patched.setattr(sys, "argv", ["ghostdesk", *words, "--config", str(settings)])
        patched.setattr(sys, "stdin", io.StringIO())
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def store_of(folder: Path) -> SqliteStore:
    (folder / "s").mkdir(exist_ok=True)
    return open_store(folder / "s/ghostdesk.db", now_s=0.0)


def fill(folder: Path) -> None:
    store = store_of(folder)
    store.add_events(
        [
            UsageEvent(1.7e9, EventKind.APP_LAUNCH, ALICE, AppId("telltale-app")),
            UsageEvent(1.7e9, EventKind.CAMERA, ALICE, AppId("telltale-app"), value=1.0),
            UsageEvent(1.7e9, EventKind.APP_LAUNCH, UserId("bob"), AppId("gimp")),
        ]
    )
    store.add_preparation(Preparation(1.7e9, ALICE, "a desktop", "signs in on Monday"))
    store.close()


def failed(done: Done) -> str:
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "mend:" in done.stderr
    return " ".join(done.stderr.split())


def test_show_and_export_tell_everything_of_one_person(tmp_path: Path) -> None:
    fill(tmp_path)
    data = json.loads(ghostdesk(tmp_path, "privacy", "show", "alice", "--json").stdout)
    assert {c["source"]: c["events"] for c in data["consents"] if c["events"]} == {"applications": 1, "camera": 1}
    assert data["prepared"] == [{"time_s": 1.7e9, "what": "a desktop", "reason": "signs in on Monday"}]
    shown = ghostdesk(tmp_path, "privacy", "show", "alice").stdout
    assert "signs in on Monday" in shown and "camera" in shown
    exported = json.loads(ghostdesk(tmp_path, "privacy", "export", "alice").stdout)
    assert [event["app"] for event in exported["events"]] == ["telltale-app"] * 2
    target = tmp_path / "alice.json"
    assert ghostdesk(tmp_path, "privacy", "export", "alice", "--to", str(target)).returncode == 0
    assert json.loads(target.read_text())["events"] == exported["events"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_delete_asks_and_then_leaves_nothing(tmp_path: Path) -> None:
    fill(tmp_path)
    secrets = SecretFiles(tmp_path / "s/secrets")
    secrets.put(ALICE, "work", "password", "telltale")
    assert "Give --yes" in failed(ghostdesk(tmp_path, "privacy", "delete", "alice"))
    one = ghostdesk(tmp_path, "privacy", "delete", "alice", "--source", "camera", "--yes", "--json")
    assert json.loads(one.stdout) == {"user": "alice", "source": "camera", "deleted_events": 1}
    assert secrets.get(ALICE, "work", "password") == "telltale"
    assert "deleted 1 events" in ghostdesk(tmp_path, "privacy", "delete", "alice", "--yes").stdout
    assert secrets.get(ALICE, "work", "password") is None
    for path in (path for path in (tmp_path / "s").rglob("*") if path.is_file()):
        assert b"telltale" not in path.read_bytes()
    store = store_of(tmp_path)
    assert [(d.user, d.source) for d in store.deletions()] == [(ALICE, TelemetrySource.CAMERA), (ALICE, None)]
    assert all(isinstance(d, Deletion) and d.time_s > 1.7e9 for d in store.deletions())
    assert [event.user for event in store.events()] == ["bob"]
    store.close()


def test_an_import_after_a_deletion_brings_nothing_back_unless_the_operator_says_so(tmp_path: Path) -> None:
    history = tmp_path / "h.csv"
    history.write_text("user,time,event,app\nalice,1760000000,app-launch,editor\nbob,1760000000,app-launch,editor\n")
    fill(tmp_path)
    ghostdesk(tmp_path, "privacy", "delete", "alice", "--yes")
    report = json.loads(ghostdesk(tmp_path, "import", str(history), "--json").stdout)[0]
    assert report["new_events"] == 1
    assert "Nothing of 'bob' was deleted" in failed(ghostdesk(tmp_path, "privacy", "allow-import", "bob"))
    assert ghostdesk(tmp_path, "privacy", "allow-import", "alice").returncode == 0
    history.write_text("user,time,event,app\nalice,1760000001,app-launch,editor\n")
    assert json.loads(ghostdesk(tmp_path, "import", str(history), "--json").stdout)[0]["new_events"] == 1


def test_consents_are_listed_and_set_within_what_the_operator_allows(tmp_path: Path) -> None:
    fill(tmp_path)
    listed = json.loads(ghostdesk(tmp_path, "privacy", "consent", "alice", "--json").stdout)
    assert {c["source"] for c in listed if not c["allowed"]} == {"place", "calendar"}
    done = ghostdesk(tmp_path, "privacy", "consent", "alice", "camera", "off", "--json")
    assert {c["source"]: c["allowed"] for c in json.loads(done.stdout)}["camera"] is False
    few = "[telemetry]\nsources = ['applications']\n"
    assert "switched off here for everyone" in failed(
        ghostdesk(tmp_path, "privacy", "consent", "alice", "place", "on", config=few)
    )
    shown = json.loads(ghostdesk(tmp_path, "privacy", "consent", "alice", "--json", config=few).stdout)
    assert [c["source"] for c in shown if c["allowed"]] == ["applications"]


def test_modes_are_defined_chosen_and_removed(tmp_path: Path) -> None:
    ghostdesk(tmp_path, "user", "add", "alice")
    add = ("mode", "add", "alice", "video editing", "--app", "kdenlive", "--app", "gimp", "--memory-gib", "2")
    assert ghostdesk(tmp_path, *add).returncode == 0
    assert ghostdesk(tmp_path, "mode", "choose", "alice", "video editing").returncode == 0
    listed = json.loads(ghostdesk(tmp_path, "mode", "list", "alice", "--json").stdout)
    assert listed["chosen"] == "video editing"
    assert (listed["modes"][0]["apps"], listed["modes"][0]["resources"]["memory_bytes"]) == (
        ["kdenlive", "gimp"],
        2**31,
    )
    assert listed["likely"]["video editing"]["reason"] == "video editing is chosen"
    assert 0.0 < listed["likely"]["video editing"]["probability"] < 1.0
    assert "video editing" in ghostdesk(tmp_path, "mode", "list", "alice").stdout
    assert ghostdesk(tmp_path, "mode", "choose", "alice").returncode == 0
    assert json.loads(ghostdesk(tmp_path, "mode", "list", "alice", "--json").stdout)["chosen"] is None
    assert ghostdesk(tmp_path, "mode", "remove", "alice", "video editing").returncode == 0
    assert json.loads(ghostdesk(tmp_path, "mode", "list", "alice", "--json").stdout)["modes"] == []
    ghostdesk(tmp_path, "privacy", "consent", "alice", "mode", "off")
    assert "switched off for alice" in failed(ghostdesk(tmp_path, "mode", "choose", "alice"))


def test_accounts_have_a_job_role_and_a_department_that_locking_keeps(tmp_path: Path) -> None:
    ghostdesk(tmp_path, "user", "add", "alice", "--job-role", "teacher", "--department", "physics")
    ghostdesk(tmp_path, "user", "disable", "alice")
    (alice,) = json.loads(ghostdesk(tmp_path, "user", "list", "--json").stdout)
    assert (alice["job_role"], alice["department"], alice["disabled"]) == ("teacher", "physics", True)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("privacy", "show", "nobody"), "Nothing is known of 'nobody'"),
        (("privacy", "delete", "alice", "--source", "smell", "--yes"), "no source 'smell'"),
        (("privacy", "consent", "alice", "camera", "perhaps"), "neither on nor off"),
        (("privacy", "export", "alice", "--to", "/nonexistent/x.json"), "cannot be written"),
        (("mode", "choose", "alice", "nonsense"), "no mode 'nonsense'"),
        (("mode", "remove", "alice", "nonsense"), "no mode 'nonsense'"),
        (("mode", "add", "alice", "a/b"), "cannot be a name"),
        (("mode", "add", "alice", "m", "--app", "../sh"), "no application id"),
        (("mode", "add", "nobody", "m"), "no user nobody"),
        (("user", "add", "alice", "--job-role", "x" * 65), "too long"),
    ],
)
def test_mistakes_are_told_with_a_mend(tmp_path: Path, words: tuple[str, ...], cause: str) -> None:
    ghostdesk(tmp_path, "user", "add", "alice")
    assert cause in failed(ghostdesk(tmp_path, *words))


@pytest.mark.parametrize("command", ["privacy", "mode"])
def test_help_teaches(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ghostdesk", command, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and "page" in done.stdout


def test_names_of_opened_files_are_exported_counted_and_deleted(tmp_path: Path) -> None:
    fill(tmp_path)
    kept = FileHistories(tmp_path / "s/file-history")
    opened = [FileOpened(time.time(), AppId("writer"), "telltale.txt", 5)]
    kept.append(ALICE, opened)
    exported = json.loads(ghostdesk(tmp_path, "privacy", "export", "alice").stdout)
    assert [one["path"] for one in exported["files_opened"]] == ["telltale.txt"]
    shown = json.loads(ghostdesk(tmp_path, "privacy", "show", "alice", "--json").stdout)
    assert {one["source"]: one["events"] for one in shown["consents"]}["files"] == 1
    assert ghostdesk(tmp_path, "privacy", "delete", "alice", "--source", "camera", "--yes").returncode == 0
    assert kept.users() == (ALICE,)
    for words in (
        ("delete", "alice", "--source", "files", "--yes"),
        ("consent", "alice", "files", "off"),
        ("delete", "alice", "--yes"),
    ):
        kept.append(ALICE, opened)
        (tmp_path / "s/remote-cache/alice").mkdir(parents=True, exist_ok=True)
        assert ghostdesk(tmp_path, "privacy", *words).returncode == 0
        assert kept.users() == ()
        (tmp_path / "s/remote-cache/alice.forget").unlink()  # whoever uses the copies last removes them
    left = b"".join(path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file())
    assert b"telltale.txt" not in left

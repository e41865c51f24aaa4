"""Calendars as an operator meets them on the command line."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ghostdesk.cli import main
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sqlite import open_store
from ghostdesk.telemetry.consent import Consent
from ghostdesk.telemetry.events import TelemetrySource

ALICE = UserId("alice")
DAY = f"{datetime.now() + timedelta(days=1):%Y%m%d}"  # noqa: DTZ005 - the day after today, wherever this runs
ICS = f"""BEGIN:VCALENDAR
BEGIN:VEVENT
UID:one
SUMMARY:Very private
DTSTART:{DAY}T090000
DTEND:{DAY}T110000
END:VEVENT
END:VCALENDAR
"""


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place with the users alice, who agreed, and bob, who did not, and with files to hand in."""
    (tmp_path / "s").mkdir()
    store = open_store(tmp_path / "s/ghostdesk.db", now_s=0.0)
    for user in (ALICE, UserId("bob")):
        store.put_user(StoredUser(user, user))
    store.put_consent(Consent(ALICE, TelemetrySource.CALENDAR, True, 0.0))
    store.close()
    (tmp_path / "work.ics").write_text(ICS)
    (tmp_path / "password").write_text("hunter2\n")
    return tmp_path


def calendar(folder: Path, *words: str, stdin: str = "") -> Done:
    """`ghostdesk calendar` in this very process: starting Python anew takes seconds."""
    settings = folder / "ghostdesk.toml"
    settings.write_text(f"[state]\ndirectory = '{folder}/s'\nrun_directory = '{folder}/r'\n")
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
        patched.setattr(sys, "argv", ["ghostdesk", "calendar", *words, "--config", str(settings)])
        patched.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def test_a_file_is_added_listed_drawn_and_removed(folder: Path) -> None:
    added = calendar(folder, "add", "alice", "--file", str(folder / "work.ics"))
    assert added.returncode == 0 and "alice: work: 1 busy times." in added.stdout
    (listed,) = json.loads(calendar(folder, "list", "--json").stdout)
    assert (listed["user"], listed["name"], listed["kind"], listed["problem"]) == ("alice", "work", "file", "")
    drawn = calendar(folder, "show", "alice", "--days", "3").stdout
    assert drawn.count("█") == 4 + 1  # two hours, and the legend
    (shown,) = json.loads(calendar(folder, "show", "alice", "--json").stdout)
    assert shown["kind"] == "busy" and "Very private" not in json.dumps(shown) + drawn
    assert calendar(folder, "remove", "work", "--user", "alice").returncode == 0
    assert json.loads(calendar(folder, "list", "--json").stdout) == []
    assert "Nothing is known" in calendar(folder, "show", "alice").stdout


def test_without_consent_nothing_is_read(folder: Path) -> None:
    added = calendar(folder, "add", "bob", "--file", str(folder / "work.ics"))
    assert added.returncode == 0 and "has not switched Calendar on" in added.stdout
    assert json.loads(calendar(folder, "show", "bob", "--json").stdout) == []


def test_holidays_and_terms_for_everyone(folder: Path) -> None:
    today = datetime.now().astimezone()
    (folder / "terms.csv").write_text(
        f"start,end\n{today - timedelta(days=9):%Y-%m-%d},{today + timedelta(days=9):%Y-%m-%d}\n"
    )
    assert calendar(folder, "add", "--everyone", "--holidays", "DE-BY").returncode == 0
    assert calendar(folder, "add", "--everyone", "--terms", str(folder / "terms.csv")).returncode == 0
    assert {one["kind"] for one in json.loads(calendar(folder, "list", "--json").stdout)} == {"holidays", "terms"}
    assert calendar(folder, "show", "bob").stdout.count("term") == 7
    assert calendar(folder, "sync").returncode == 0
    assert calendar(folder, "remove", "terms", "--everyone").returncode == 0


def test_a_password_is_never_shown(folder: Path) -> None:
    for words, stdin in ((("--password-file", str(folder / "password")), ""), (("--password-file", "-"), "hunter2\n")):
        done = calendar(folder, "add", "alice", "--caldav", "https://127.0.0.1:9/", *words, stdin=stdin)
        assert done.returncode == 1 and "inside the operator's network" in " ".join(done.stderr.split())
        assert "hunter2" not in done.stdout + done.stderr + calendar(folder, "list", "--json").stdout


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("add", "alice"), "one kind of calendar"),
        (("add", "alice", "--holidays", "DE", "--url", "https://example.org/"), "one kind of calendar"),
        (("add", "--holidays", "DE"), "whose calendar"),
        (("add", "alice", "--everyone", "--holidays", "DE"), "whose calendar"),
        (("add", "nobody", "--holidays", "DE"), "no user nobody"),
        (("add", "--everyone", "--url", "https://example.org/"), "belongs to a person"),
        (("add", "--everyone", "--holidays", "XX"), "No public holidays"),
        (("add", "alice", "--file", "/nowhere.ics"), "cannot be read"),
        (("add", "alice", "--file", "/dev/null"), "no iCalendar"),
        (("add", "alice", "--url", "http://example.org/"), "https://"),
        (("add", "alice", "--url", "https://a:hunter2@example.org/"), "user name or password"),
        (("remove", "work", "--user", "alice"), "no calendar 'work'"),
        (("show", "nobody"), "no user nobody"),
    ],
)
def test_mistakes_are_told_with_their_mend(folder: Path, words: tuple[str, ...], cause: str) -> None:
    done = calendar(folder, *words)
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert cause in said and "mend:" in said and "hunter2" not in said


def test_a_failed_reading_ends_with_1_and_keeps_what_was_known(folder: Path) -> None:
    calendar(folder, "add", "alice", "--file", str(folder / "work.ics"))
    (kept,) = (folder / "s/secrets/users/alice").iterdir()
    kept.write_text("broken")
    done = calendar(folder, "sync", "alice")
    assert done.returncode == 1 and "What was known is kept" in " ".join(done.stdout.split())
    assert len(json.loads(calendar(folder, "show", "alice", "--json").stdout)) == 1


def test_help_teaches() -> None:
    with redirect_stdout(io.StringIO()) as out, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["ghostdesk", "calendar", "--help"])
        with pytest.raises(SystemExit):
            main()
    assert "never kept" in out.getvalue() and "--holidays DE-BY" in out.getvalue()

"""Booked classes as an operator meets them on the command line."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ghostdesk.cli import main
from ghostdesk.cli.show_capacity import amount, capacity_tables
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sqlite import open_store

TOMORROW = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
START, END = f"{TOMORROW}T09:00", f"{TOMORROW}T10:30"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s").mkdir()
    store = open_store(tmp_path / "s/ghostdesk.db", now_s=0.0)
    for name in ("ada", "ben"):
        store.put_user(StoredUser(UserId(name), name, department="physics"))
    store.close()
    return tmp_path


def reserve(folder: Path, *words: str) -> tuple[int, str, str]:
    """`ghostdesk reserve` in this very process: its exit status, and what it printed on both streams."""
    settings = folder / "ghostdesk.toml"
    settings.write_text(
        f"[state]\ndirectory = '{folder}/s'\nrun_directory = '{folder}/r'\n[pool]\nceiling = 5\n"
        "[forecast]\ntimezone = 'Europe/Berlin'\n"
    )
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["ghostdesk", "reserve", *words, "--config", str(settings)])
        patch.setenv("COLUMNS", "200")
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def test_a_class_is_booked_listed_and_removed(folder: Path) -> None:
    when = ("--start", START, "--end", END)
    code, out, _ = reserve(folder, "add", "Physics", "--department", "physics", *when, "--json")
    told = json.loads(out)
    assert (code, told["desktops"], told["short"], told["department"]) == (0, 2, 0, "physics")
    berlin = datetime.fromisoformat(f"{START}").astimezone(UTC)
    assert abs(told["start_s"] - berlin.timestamp()) <= 3 * 3600, "in the zone of the settings"
    (listed,) = json.loads(reserve(folder, "list", "--json")[1])
    assert listed == told
    assert reserve(folder, "remove", str(told["number"]))[0] == 0
    assert json.loads(reserve(folder, "list", "--json")[1]) == []
    code, _, err = reserve(folder, "remove", "7")
    assert code == 1 and "There is no booking 7" in err


def test_what_there_is_no_room_for_is_taken_and_told_with_how_many_are_short(folder: Path) -> None:
    code, out, _ = reserve(folder, "add", "Open day", "--desktops", "9", "--start", START, "--end", END)
    assert code == 0
    assert "9 desktops" in out and "4 short: the ceiling is 5 desktops" in " ".join(out.split())
    (listed,) = json.loads(reserve(folder, "list", "--json")[1])
    assert (listed["short"], listed["why"]) == (4, "4 short: the ceiling is 5 desktops")


def test_the_zone_counts(folder: Path) -> None:
    starts = []
    for number, zone in enumerate(("UTC", "Asia/Tokyo")):
        words = ("add", f"c{number}", "--desktops", "1", "--start", START, "--end", END, "--zone", zone, "--json")
        starts.append(json.loads(reserve(folder, *words)[1])["start_s"])
    assert starts[0] - starts[1] == 9 * 3600


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("--desktops", "1000000"), "1000000 desktops cannot be booked"),
        (("--desktops", "-1"), "-1 desktops cannot be booked"),
        ((), "does not say how many"),
        (("--department", "alchemy"), "Nobody belongs to the department 'alchemy'"),
        (("--user", "zoe"), "no account that may sign in: zoe"),
        (("--user", "No One"), "is no user id"),
        (("--user", "ada", "--app", "../x"), "is no application id"),
        (("--user", "ada", "--zone", "Moon/Base"), "no time zone 'Moon/Base'"),
        (("--user", "ada", "--start", "2001-01-01T09:00", "--end", "2001-01-01T10:00"), "is over already"),
        (("--user", "ada", "--start", "soon"), "--start 'soon' is no time"),
        (("--user", "ada", "--start", END, "--end", START), "ends before it starts"),
        (("--user", "ada", "--cpu-cores", "nan"), "is not a number"),
        (("--user", "ada", "--memory-bytes", "-5"), "negative"),
    ],
)
def test_bad_input_is_refused_with_cause_and_mend_and_nothing_is_kept(
    folder: Path, words: tuple[str, ...], cause: str
) -> None:
    given = dict(zip(words[::2], words[1::2], strict=True))
    times = [word for name, value in (("--start", START), ("--end", END)) for word in (name, given.pop(name, value))]
    code, _, err = reserve(folder, "add", "Class", *times, *(word for pair in given.items() for word in pair))
    said = " ".join(err.split())
    assert code == 1 and cause in said and "mend:" in said
    assert json.loads(reserve(folder, "list", "--json")[1]) == []


def test_a_calendar_books(folder: Path) -> None:
    day = TOMORROW.replace("-", "")
    (folder / "rooms.ics").write_text(
        f"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nSUMMARY:Chess\nX-GHOSTDESK-DESKTOPS:3\nDTSTART:{day}T090000\n"
        f"DTEND:{day}T100000\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    code, out, _ = reserve(folder, "calendar", "rooms", "--file", str(folder / "rooms.ics"), "--json")
    assert (code, json.loads(out)["bookings"]) == (0, 1)
    (listed,) = json.loads(reserve(folder, "list", "--json")[1])
    assert (listed["name"], listed["source"], listed["desktops"]) == ("Chess", "rooms", 3)
    code, _, err = reserve(folder, "calendar", "rooms", "--file", str(folder / "nothing.ics"))
    assert code == 1 and "cannot be read" in err
    assert reserve(folder, "calendar", "rooms")[0] == 1


def test_amounts_are_told_in_units_that_people_know() -> None:
    assert amount("memory_bytes", 3 * 2.0**30) == "3 GiB"
    assert amount("network_bytes_per_s", 125e6) == "125 MB/s"
    assert amount("network_bytes_per_s", 1e10) == "10,000 MB/s"
    assert amount("cpu_cores", None) == "-"


def test_status_shows_capacity_bookings_and_wishes_only_where_there_are_some() -> None:
    room = dict.fromkeys(("has", "allowed", "people", "ghosts", "reserved", "used", "free"), 1.0)
    nothing = {"rooms": [], "bookings": [], "desktops": 0, "most_desktops": 0, "ghosts": 0}
    assert capacity_tables({"capacity": nothing, "infeasible": []}) == []
    booking = {"number": 1, "name": "[b]x", "whose": "physics", "start_s": 0.0, "end_s": 60.0, "desktops": 2,
               "taken": 0, "state": "booked"}  # fmt: skip
    wish = {"action": "a desktop", "resource": "desktops", "asked": 2, "free": 0, "count": 3, "reason": "why"}
    full = nothing | {"rooms": [room | {"resource": "cpu_cores"}], "bookings": [booking]}
    assert [table.row_count for table in capacity_tables({"capacity": full, "infeasible": [wish]})] == [1, 1, 1]

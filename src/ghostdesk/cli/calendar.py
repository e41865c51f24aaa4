"""`ghostdesk calendar`: whose calendars are read, and what is known of them."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from rich.text import Text

from ghostdesk.cli.accounts import checked_user
from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.config import Settings
from ghostdesk.control import calendar_sources as sources
from ghostdesk.control.calendar_sync import CalendarOptions, CalendarSync, SyncOutcome
from ghostdesk.kernel.errors import ConfigError, NotFound
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.calendars.entries import BusyTime, CalendarSource
from ghostdesk.telemetry.calendars.lines import MAX_BYTES
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.wiring import calendar_options, open_settings_store

app = typer.Typer(
    no_args_is_help=True,
    help="""Calendars: add, list, remove, read, show.

A calendar tells when its entries begin and end; titles, places and guests are never kept. A person's calendar is read
only after they switched *Calendar* on, on the page under *My data* or with `ghostdesk privacy`.

Examples:

    ghostdesk calendar add alice --file work.ics
    ghostdesk calendar add alice --caldav https://dav.example.org/ --username alice
    ghostdesk calendar add --everyone --holidays DE-BY
    ghostdesk calendar add --everyone --terms terms.csv""",
)
UserArgument = Annotated[str | None, typer.Argument(help="Whose; none with --everyone.", show_default=False)]
Everyone = Annotated[bool, typer.Option("--everyone", help="For everyone: holidays and terms.")]
_CELLS_A_DAY = 48
_MARKS = {"busy": "█", "away": "▒"}


@app.command("add")
def add(
    user: UserArgument = None,
    everyone: Everyone = False,
    file: Annotated[Path | None, typer.Option(help="An iCalendar file (.ics), read now.", show_default=False)] = None,
    caldav: Annotated[str, typer.Option(help="Address of a CalDAV server, account or calendar.")] = "",
    url: Annotated[str, typer.Option(help="Address of an .ics that is read again and again.")] = "",
    url_file: Annotated[
        Path | None, typer.Option(help="The same, from a file: secret addresses do not belong on a command line.")
    ] = None,
    holidays: Annotated[str, typer.Option(help="Public holidays of a country and subdivision, such as DE-BY.")] = "",
    terms: Annotated[Path | None, typer.Option(help="Terms: CSV with columns start,end.", show_default=False)] = None,
    username: Annotated[str, typer.Option(help="Of the CalDAV account; USER if not given.")] = "",
    password_file: Annotated[
        Path | None, typer.Option(help="File with its password; `-` reads a line; else it is asked for.")
    ] = None,
    name: Annotated[str, typer.Option(help="What to call it; a fitting name if not given.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a calendar (or replace the one of the same name), and read it if its owner agreed.

    Give USER and one of --file, --caldav and --url, or --everyone and one of --holidays and --terms.
    """
    given = [option for option in (file, caldav, url, url_file, holidays, terms) if option]
    if len(given) != 1:
        raise ConfigError("Give one kind of calendar.", "`ghostdesk calendar add --help` shows the kinds.")
    settings = settings_of(config)
    store, secrets, options = open_settings_store(settings), _secrets(settings), calendar_options(settings)
    try:
        who = _owner(store, user, everyone)
        if file is not None:
            source = sources.add_file(store, secrets, who, name or file.stem[:64], _bytes(file))
        elif terms is not None:
            source = sources.add_terms(store, secrets, who, name or "terms", _bytes(terms))
        elif holidays:
            source = sources.add_holidays(store, secrets, who, name or "holidays", holidays)
        elif who is None:
            raise ConfigError("An account's calendar belongs to a person.", "Give USER instead of --everyone.")
        elif caldav:
            checked, login = options.policy.check_url(caldav), username or who
            password = _password(password_file)
            source = sources.add_caldav(store, secrets, who, name or "caldav", checked, login, password, options.policy)
        else:
            address = url or _bytes(url_file or Path()).decode(errors="replace").strip()
            source = sources.add_url(store, secrets, who, name or "web", address, options.policy)
        _read_now(store, secrets, options, [source], as_json)
    finally:
        store.close()


@app.command("list")
def list_calendars(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """All calendars, when they were read, and what is wrong with them."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    known = store.calendars()
    store.close()
    if as_json:
        print_json(known)
        return
    zone = ZoneInfo(settings.forecast.timezone)
    table = Table("whose", "name", "kind", "where", "read", "problem")
    for one in known:
        read = "never" if one.synced_s is None else f"{datetime.fromtimestamp(one.synced_s, zone):%Y-%m-%d %H:%M}"
        table.add_row(
            *(Text(cell) for cell in (one.user or "everyone", one.name, one.kind, one.location, read)), one.problem
        )
    out.print(table if known else "There is no calendar. `ghostdesk calendar add --help` shows how to add one.")


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="The calendar's name.", show_default=False)],
    user: Annotated[str | None, typer.Option("--user", help="Whose.", show_default=False)] = None,
    everyone: Everyone = False,
    config: ConfigOption = None,
) -> None:
    """Remove a calendar with everything that is known of it, its password included."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    try:
        who = None if everyone and user is None else _owner(store, user, everyone)
        sources.remove_calendar(store, _secrets(settings), who, name)
    finally:
        store.close()
    out.print(f"The calendar {name} is removed.", markup=False, highlight=False)


@app.command("sync")
def sync(
    user: Annotated[str | None, typer.Argument(help="Whose; everyone's if not given.", show_default=False)] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read calendars now. `ghostdesk run` does so by itself, every 15 minutes. Exit status 1 if one failed."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    try:
        known = store.calendars(_owner(store, user, False) if user is not None else None)
        _read_now(store, _secrets(settings), calendar_options(settings), known, as_json)
    finally:
        store.close()


@app.command("show")
def show(
    user: Annotated[str, typer.Argument(help="Whose.", show_default=False)],
    days: Annotated[int, typer.Option(min=1, max=60, help="How many days, from today on.")] = 7,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw what is known of USER's next days: when they are busy or away, holidays, and the time outside terms."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    zone = ZoneInfo(settings.forecast.timezone)
    who = _owner(store, user, False)
    today = datetime.combine(datetime.fromtimestamp(time.time(), zone).date(), time_of_day(), zone)
    starts = [today + timedelta(days=day) for day in range(days + 1)]
    found = [
        one for whose, one in store.busy_times(starts[0].timestamp(), starts[-1].timestamp()) if whose in (who, None)
    ]
    store.close()
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(f"Nothing is known of {who}'s next {days} days. `ghostdesk calendar list` shows what is read.")
        return
    out.print(f"{'':11}0     3     6     9     12    15    18    21", highlight=False)
    for start, end in itertools.pairwise(starts):
        out.print(_drawn(start, end, found), markup=False, highlight=False)
    out.print("█ busy  ▒ away  · nothing", markup=False, highlight=False)


def _drawn(start: datetime, end: datetime, found: list[BusyTime]) -> str:
    """One day as a line of half hours, with what is special about it."""
    length_s = (end.timestamp() - start.timestamp()) / _CELLS_A_DAY
    cells = []
    for cell in range(_CELLS_A_DAY):
        first_s = start.timestamp() + cell * length_s
        here = {
            one.kind for one in found if one.start_s < first_s + length_s and max(one.end_s, one.start_s + 1) > first_s
        }
        cells.append(next((_MARKS[kind] for kind in ("away", "busy") if kind in here), "·"))
    noon_s = (start.timestamp() + end.timestamp()) / 2
    said = []
    if any(one.kind == "holiday" and one.start_s <= noon_s < one.end_s for one in found):
        said.append("holiday")
    if any(one.kind == "term" and one.start_s <= noon_s < one.end_s for one in found):
        said.append("term")
    return f"{start:%a %d.%m.} {''.join(cells)} {', '.join(said)}".rstrip()


def _read_now(
    store: Store, secrets: SecretFiles, options: CalendarOptions, chosen: Sequence[CalendarSource], as_json: bool
) -> None:
    keys = {(one.user, one.name) for one in chosen}
    outcomes = CalendarSync(store, secrets, options).sync_all(
        time.time(), force=True, only=lambda source: (source.user, source.name) in keys
    )
    if as_json:
        print_json(outcomes)
    else:
        for outcome in outcomes:
            out.print(_said(outcome), markup=False, highlight=False)
        if not outcomes:
            out.print("There is no calendar to read. `ghostdesk calendar add --help` shows how to add one.")
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _said(outcome: SyncOutcome) -> str:
    whose = f"{outcome.user or 'everyone'}: {outcome.name}"
    if outcome.state == "no consent":
        return (
            f"{whose}: not read, as {outcome.user} has not switched Calendar on "
            f"(on the page under My data, or `ghostdesk privacy` by their wish)."
        )
    if outcome.state == "failed":
        return f"{whose}: {outcome.problem} What was known is kept."
    return f"{whose}: {outcome.busy_times:,} busy times. {outcome.problem}".rstrip()


def _owner(store: Store, user: str | None, everyone: bool) -> UserId | None:
    if everyone == (user is not None):
        raise ConfigError("Say whose calendar it is.", "Give USER, or --everyone, not both.")
    if user is None:
        return None
    who = checked_user(user)
    if store.user(who) is None:
        raise NotFound(f"There is no user {who}.", "`ghostdesk user list` shows who there is.")
    return who


def _secrets(settings: Settings) -> SecretFiles:
    return SecretFiles(settings.state.directory / "secrets")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Give another file.") from None


def _password(path: Path | None) -> str:
    if path is None:
        return str(typer.prompt("Password", hide_input=True, err=True))
    text = sys.stdin.readline() if str(path) == "-" else _bytes(path).decode(errors="replace")
    return text.splitlines()[0] if text else ""

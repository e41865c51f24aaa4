"""`ghostdesk reserve`: classes that are booked, and whether there is room for them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ghostdesk.allocator.bookings import Booking, BookingError, booked_wish, shortfalls
from ghostdesk.allocator.capacity import booking_room
from ghostdesk.allocator.reasons import Infeasible
from ghostdesk.cli.accounts import checked_user
from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of, zone_named
from ghostdesk.config import Settings, capacity_rules
from ghostdesk.control import calendar_sources
from ghostdesk.control.booking_sources import add_booking
from ghostdesk.control.calendar_sync import CalendarSync
from ghostdesk.kernel.errors import ConfigError, NotFound
from ghostdesk.kernel.ids import app_id
from ghostdesk.kernel.resources import Resources
from ghostdesk.telemetry.calendars.errors import CalendarError
from ghostdesk.telemetry.calendars.lines import MAX_BYTES
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.wiring import calendar_options, load_engine, open_settings_store

app = typer.Typer(
    no_args_is_help=True,
    help="""Booked classes: add, list, remove, calendar.

Desktops of a booked class are made ready before it starts, its people get them first, and they are let go after it
ends. A booking that there is no room for is taken, and listed with how many are short and why.

Examples:

    ghostdesk reserve add "Physics 2b" --department physics --start 2027-03-01T09:00 --end 2027-03-01T10:30
    ghostdesk reserve add Exam --user ada --user ben --app libreoffice-writer --start ... --end ...
    ghostdesk reserve add "Open day" --desktops 20 --start ... --end ... --zone Europe/Berlin
    ghostdesk reserve calendar rooms --url https://calendar.example.org/rooms.ics""",
)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What to call the class.", show_default=False)],
    start: Annotated[str, typer.Option(help="When it starts, such as 2027-03-01T09:00.", show_default=False)],
    end: Annotated[str, typer.Option(help="When it ends.", show_default=False)],
    desktops: Annotated[int, typer.Option(help="How many; as many as people, if not given.", show_default=False)] = 0,
    department: Annotated[str, typer.Option(help="Whose people come.")] = "",
    user: Annotated[list[str] | None, typer.Option(help="Who comes; may be given again.", show_default=False)] = None,
    application: Annotated[
        list[str] | None,
        typer.Option(
            "--app", help="Launched ahead for those named, loaded ahead for others; again for more.", show_default=False
        ),
    ] = None,
    cpu_cores: Annotated[float, typer.Option(help="For each desktop; 0 as the settings say.")] = 0.0,
    memory_bytes: Annotated[float, typer.Option(help="For each desktop; 0 as the settings say.")] = 0.0,
    gpu_share: Annotated[float, typer.Option(help="For each desktop; 0 as the settings say.")] = 0.0,
    zone: Annotated[str, typer.Option(help="Time zone of the times; that of the settings, if not given.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Book desktops for a class: for a department, for named people, or for a number of people."""
    settings = settings_of(config)
    where = zone_named(zone or settings.forecast.timezone)
    times = _moment(start, where, "--start"), _moment(end, where, "--end")
    users = frozenset(checked_user(one) for one in user or ())
    try:
        apps = tuple(app_id(one) for one in application or ())
    except ValueError as error:
        raise ConfigError(f"{error}.", "For example: --app libreoffice-writer.") from None
    each = _amounts(cpu_cores, memory_bytes, gpu_share)
    if desktops < 0:
        raise BookingError(f"{desktops} desktops cannot be booked.", "Give a number above 0.")
    store = open_settings_store(settings)
    try:
        now_s = time.time()
        booking = Booking(name, *times, desktops, department, users, apps, each)
        added = add_booking(store, booking, now_s)
        short = _short(settings, store.bookings(now_s), now_s)
    finally:
        store.close()
    if as_json:
        print_json(_plain(added, short))
        return
    out.print(f"{name} is booked as number {added.number}: {added.desktops} desktops.", markup=False, highlight=False)
    _tell_short(added, short)


@app.command("list")
def list_bookings(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """All bookings that are not over, and those that there is no room for."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    now_s = time.time()
    known = store.bookings(now_s)
    store.close()
    short = _short(settings, known, now_s)
    if as_json:
        print_json([_plain(booking, short) for booking in known])
        return
    if not known:
        out.print("No class is booked. `ghostdesk reserve add --help` shows how to book one.")
        return
    zone = zone_named(settings.forecast.timezone)
    table = Table("number", "class", "for", "start", "end", "desktops", "short", "from")
    for one in known:
        entry = short.get(booked_wish(one))
        cells = (str(one.number), one.name, one.whose(), _when(one.start_s, zone), _when(one.end_s, zone))
        told = (str(one.desktops), entry.reason.text if entry else "", one.source or "by hand")
        table.add_row(*(Text(cell) for cell in (*cells, *told)))
    out.print(table)


@app.command("remove")
def remove(
    number: Annotated[int, typer.Argument(help="The booking's number, as `ghostdesk reserve list` shows it.")],
    config: ConfigOption = None,
) -> None:
    """Remove a booking; whoever has a desktop keeps it."""
    store = open_settings_store(settings_of(config))
    try:
        gone = store.delete_booking(number)
    finally:
        store.close()
    if gone is None:
        raise NotFound(f"There is no booking {number}.", "`ghostdesk reserve list` shows what there is.")
    again = " It comes from a calendar, and will be back when that is read again." if gone.source else ""
    out.print(f"{gone.name} is booked no more.{again}", markup=False, highlight=False)


@app.command("calendar")
def calendar(
    name: Annotated[str, typer.Argument(help="What to call the calendar.", show_default=False)],
    file: Annotated[Path | None, typer.Option(help="An iCalendar file (.ics), read now.", show_default=False)] = None,
    url: Annotated[str, typer.Option(help="Address of an .ics that is read again and again.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take bookings from a calendar: entries with the category GHOSTDESK, or with X-GHOSTDESK-DESKTOPS.

    `ghostdesk calendar remove NAME --everyone` removes the calendar with its bookings.
    """
    if (file is None) == (not url):
        raise ConfigError("Give one of --file and --url.", "`ghostdesk reserve calendar --help` shows both.")
    settings = settings_of(config)
    store, options = open_settings_store(settings), calendar_options(settings)
    secrets = SecretFiles(settings.state.directory / "secrets")
    try:
        if file is not None:
            source = calendar_sources.add_bookings_file(store, secrets, name, _read(file))
        else:
            source = calendar_sources.add_bookings_url(store, secrets, name, url, options.policy)
        key = (source.user, source.name)
        sync = CalendarSync(store, secrets, options)
        (outcome,) = sync.sync_all(time.time(), force=True, only=lambda one: (one.user, one.name) == key)
    finally:
        store.close()
    if as_json:
        print_json({"name": name, "state": outcome.state, "bookings": outcome.busy_times, "problem": outcome.problem})
    else:
        out.print(f"{name}: {outcome.busy_times} bookings in the next 60 days.", markup=False, highlight=False)
        if outcome.problem:
            out.print(outcome.problem, style="yellow", markup=False)
    if outcome.state == "failed":
        raise typer.Exit(1)


def _moment(text: str, zone: tzinfo, option: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise ConfigError(f"{option} {text!r} is no time.", "Give one such as 2027-03-01T09:00.") from None


def _amounts(cpu_cores: float, memory_bytes: float, gpu_share: float) -> Resources:
    try:
        return Resources(cpu_cores, memory_bytes, gpu_share)
    except ValueError as error:
        raise BookingError(f"{error}.", "Give amounts above 0.") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CalendarError(f"{path} cannot be read: {error.strerror}.", "Give another file.") from None


def _short(settings: Settings, bookings: Collection[Booking], now_s: float) -> Mapping[str, Infeasible]:
    """Bookings that there is no room for, by the wish that names them."""
    pool = settings.pool
    capacity = load_engine(settings).capacity()
    ours = Resources(*(has * (pool.memory_share if row == 1 else 1.0) for row, has in enumerate(capacity.as_tuple())))
    room = booking_room(capacity_rules(settings), ours, max(pool.ceiling, pool.floor))
    return {entry.wish: entry for entry in shortfalls(bookings, room, now_s)}


def _plain(booking: Booking, short: Mapping[str, Infeasible]) -> dict[str, Any]:
    entry = short.get(booked_wish(booking))
    told = asdict(booking) | {"users": sorted(booking.users), "short": 0, "why": ""}
    return told | ({"short": int(entry.asked - entry.free), "why": entry.reason.text} if entry else {})


def _tell_short(booking: Booking, short: Mapping[str, Infeasible]) -> None:
    entry = short.get(booked_wish(booking))
    if entry is not None:
        out.print(f"There is no room for all of them: {entry.reason.text}.", style="yellow", markup=False)


def _when(time_s: float, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(time_s, zone):%Y-%m-%d %H:%M}"

"""`ghostdesk privacy`: what is stored of a person, their consents, export and deletion."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from ghostdesk.cli.accounts import checked_user
from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.config import Settings
from ghostdesk.control.personal_consents import ConsentBook
from ghostdesk.control.personal_export import export_pieces
from ghostdesk.control.personal_read import personal_data, recent_detail
from ghostdesk.control.personal_views import ConsentView, PersonalData
from ghostdesk.control.ways import likely_of, ways_of_store
from ghostdesk.kernel.errors import ConfigError, NotAllowed, NotFound
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.telemetry.consent import SOURCE_TEXTS, Consent
from ghostdesk.telemetry.events import EventKind, TelemetrySource
from ghostdesk.wiring import file_histories, forget_copies, open_settings_store

app = typer.Typer(
    no_args_is_help=True,
    help="""What is stored of a person: show, export, delete, and their consents.

Everybody can do the same for themselves on the page, under *My data*. A running ghostdesk follows within seconds.""",
)
User = Annotated[str, typer.Argument(help="Whose data.", show_default=False)]
_SOURCES = ", ".join(source.value for source in TelemetrySource)


@app.command("show")
def show(user: User, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what is stored of USER: counts by source, places, modes, calendars, and why things were prepared."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    who = _known(store, user)
    data = _data(store, settings, who)
    store.close()
    if as_json:
        print_json(data)
        return
    zone = ZoneInfo(settings.forecast.timezone)
    out.print(_consent_table(data.consents, zone))
    for title, lines in (
        ("Places", [f"{p.name} ({p.kind}{', here now' if p.here else ''})" for p in data.places]),
        ("Modes", [f"{m.name}: {', '.join(m.apps) or 'no applications'}" for m in data.modes]),
        ("Calendars", [f"{c.name} ({c.kind}): {c.entries} entries {c.problem}".strip() for c in data.calendars]),
        ("Habits", list(data.habits)),
        ("Prepared lately", [f"{_local(p.time_s, zone)}  {p.what}: {p.reason}" for p in data.prepared[:10]]),
    ):
        if lines:
            out.print(f"[bold]{title}[/]")
        for line in lines:
            out.print(f"  {line}", markup=False, highlight=False)
    out.print(f"[dim]What is expected of {who}, and why: ghostdesk forecast {who}[/]")


@app.command("export")
def export(
    user: User,
    to: Annotated[Path | None, typer.Option("--to", help="The file to write; standard output without one.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write everything that is stored of USER as one JSON document."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    who, now_s = _known(store, user), time.time()
    pieces = export_pieces(store, who, now_s, file_histories(settings).records(who, now_s))
    if to is None:
        for piece in pieces:
            sys.stdout.write(piece)
    else:
        _write_private(to, pieces)
    store.add_audit(now_s, "operator", "export data", who, "by the command line")
    store.close()
    if to is not None:
        out.print(f"everything that is stored of {who} is in {to}")


@app.command("delete")
def delete(
    user: User,
    source: Annotated[str, typer.Option(help=f"Only what came from one source: {_SOURCES}.")] = "all",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete what was recorded of USER, for good. The account, its consents and the audit log stay."""
    settings = settings_of(config)
    what = None if source == "all" else _source(source)
    store = open_settings_store(settings)
    who, now_s = _known(store, user), time.time()
    if not yes:
        _confirm(who, what, sum(count.events for count in store.event_counts(who)))
    if what in (None, TelemetrySource.CALENDAR):
        SecretFiles(settings.state.directory / "secrets").forget(who)
    if what in (None, TelemetrySource.FILES):
        file_histories(settings).forget(who)
        forget_copies(settings, who)
    deleted = store.delete_personal_data(who, what, now_s)
    store.add_audit(now_s, "operator", "delete data", who, source)
    store.close()
    if as_json:
        print_json({"user": who, "source": source, "deleted_events": deleted})
    else:
        out.print(f"deleted {deleted:,} events of {who}; a running ghostdesk forgets the rest within seconds")


@app.command("allow-import")
def allow_import(user: User, config: ConfigOption = None) -> None:
    """Let a log from before USER's deletion be imported again, with their agreement or to mend a wrong import."""
    store = open_settings_store(settings_of(config))
    who = checked_user(user)
    lifted = store.lift_deletions(who)
    if lifted:
        store.add_audit(time.time(), "operator", "allow import", who, "by the command line")
    store.close()
    if not lifted:
        raise NotFound(f"Nothing of {who!r} was deleted.", "An import needs no permission then.")
    out.print(f"events of {who} from before their deletion can be imported again; what was deleted stays deleted")


@app.command("consent")
def consent(
    user: User,
    source: Annotated[str, typer.Argument(help=f"One of: {_SOURCES}. Without it all are listed.")] = "",
    choice: Annotated[str, typer.Argument(help="`on` or `off`.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show USER's consents, or set one: ghostdesk privacy consent alice camera off."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    who = _known(store, user)
    if source:
        wanted = _source(source)
        if choice not in ("on", "off"):
            raise ConfigError(f"{choice!r} is neither on nor off.", f"ghostdesk privacy consent {who} {wanted} off")
        if choice == "on" and wanted not in settings.telemetry.sources:
            raise NotAllowed(
                f"{SOURCE_TEXTS[wanted].label} is switched off here for everyone.",
                f"Add {wanted.value!r} to telemetry.sources first.",
            )
        now_s = time.time()
        store.put_consent(Consent(who, wanted, choice == "on", now_s))
        if wanted is TelemetrySource.FILES and choice == "off":
            file_histories(settings).forget(who)
            forget_copies(settings, who)
        store.add_audit(now_s, "operator", "set consent", who, f"{wanted.value} {choice}")
    consents = _data(store, settings, who).consents
    store.close()
    if as_json:
        print_json(consents)
    else:
        out.print(_consent_table(consents, ZoneInfo(settings.forecast.timezone)))


def _data(store: Store, settings: Settings, user: UserId) -> PersonalData:
    now_s = time.time()
    book = ConsentBook(settings.telemetry.sources)
    book.put(store.consents(user))
    here, chosen = (recent_detail(store, user, kind, now_s) for kind in (EventKind.PLACE, EventKind.MODE))
    zone, sources = settings.forecast.timezone, settings.telemetry.sources
    likely = likely_of(ways_of_store(store, zone, now_s, sources), user, now_s)
    times_s = [one["time_s"] for one in file_histories(settings).records(user, now_s)]
    return personal_data(store, book, user, now_s, ZoneInfo(zone), here, chosen, (), likely, times_s)


def _known(store: Store, text: str) -> UserId:
    """The user, if they have an account or anything is stored of them (an imported history needs no account)."""
    user = checked_user(text)
    if store.user(user) is None and not store.event_counts(user):
        raise NotFound(f"Nothing is known of {user!r}.", "`ghostdesk user list` shows who there is.")
    return user


def _source(name: str) -> TelemetrySource:
    try:
        return TelemetrySource(name)
    except ValueError:
        raise ConfigError(f"There is no source {name!r}.", f"Sources: {_SOURCES}.") from None


def _confirm(user: UserId, source: TelemetrySource | None, events: int) -> None:
    """Say exactly what goes, and ask; raises `ConfigError` where nobody can answer."""
    if not sys.stdin.isatty():
        raise ConfigError("Nobody is there to confirm the deletion.", "Give --yes to delete without being asked.")
    if source is None:
        what = f"all {events:,} events, places, modes, calendars and reasons"
    else:
        what = f"everything from {SOURCE_TEXTS[source].label}, and the reasons of what was prepared,"
    if not typer.confirm(f"Delete {what} of {user} for good? It cannot be undone."):
        raise typer.Exit(1)


def _consent_table(consents: tuple[ConsentView, ...], zone: ZoneInfo) -> Table:
    table = Table("source", "recorded", "what it is", "stored", "from", "to")
    for c in consents:
        recorded = "[green]yes[/]" if c.allowed else ("no" if c.operator_allows else "no (switched off here)")
        table.add_row(c.source, recorded, c.what, f"{c.events:,}", _local(c.first_s, zone), _local(c.last_s, zone))
    return table


def _local(time_s: float | None, zone: ZoneInfo) -> str:
    return "" if time_s is None else datetime.fromtimestamp(time_s, zone).strftime("%Y-%m-%d %H:%M")


def _write_private(path: Path, pieces: object) -> None:
    """Write the file for its owner's eyes alone, whole or not at all."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.writelines(pieces)  # type: ignore[arg-type]
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.", "Give another file with --to.") from None

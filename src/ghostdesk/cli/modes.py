"""`ghostdesk mode`: modes of work, such as video editing, with what each needs."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.table import Table

from ghostdesk.cli.accounts import checked_user
from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.config import Settings
from ghostdesk.control.personal import COMMAND_LINE, MOST_MODES
from ghostdesk.control.personal_read import recent_detail
from ghostdesk.control.ways import ways_of_store
from ghostdesk.kernel.errors import ConfigError, NotAllowed, NotFound
from ghostdesk.kernel.ids import AppId, UserId, app_id
from ghostdesk.kernel.resources import GIB, Resources
from ghostdesk.profiles.modes import NO_MODE, Mode
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.consent import allowed_sources
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent
from ghostdesk.wiring import open_settings_store

app = typer.Typer(
    no_args_is_help=True,
    help="""Modes of work: what a person needs for video editing, light browsing, or whatever they call it.

People define and choose their own on the page; a running ghostdesk hears of what is done here within seconds.""",
)
User = Annotated[str, typer.Argument(help="Whose modes.", show_default=False)]
Name = Annotated[str, typer.Argument(help="The mode, for example `video editing`.", show_default=False)]


@app.command("list")
def list_modes(user: User, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """USER's modes, which of them is chosen, and how likely each is at this hour."""
    settings, now_s = settings_of(config), time.time()
    store = open_settings_store(settings)
    who = checked_user(user)
    modes, chosen = store.modes(who), recent_detail(store, who, EventKind.MODE, now_s)
    ways = ways_of_store(store, settings.forecast.timezone, now_s, settings.telemetry.sources)
    store.close()
    likely = {one.name: one for one in ways.modes(who, now_s)}
    if as_json:
        told = {name: {"probability": one.probability, "reason": one.reason} for name, one in likely.items()}
        print_json({"modes": modes, "chosen": chosen, "likely": told})
        return
    if modes and not likely:
        out.print(f"Modes are switched off for {who}: nothing is learnt or prepared.", markup=False)
    table = Table("mode", "now", "applications", "file types", "resources")
    for mode in modes:
        amounts = _amounts(mode.resources)
        apps, file_types = ", ".join(mode.apps), ", ".join(mode.file_types)
        found = likely.get(mode.name)
        share = f"{found.probability:.0%}" if found is not None and found.reason else ""  # not before it was chosen
        table.add_row(mode.name, "chosen" if mode.name == chosen else share, apps, file_types, amounts)
    out.print(table)


@app.command("add")
def add(
    user: User,
    name: Name,
    apps: Annotated[list[str] | None, typer.Option("--app", help="An application; repeat it, important first.")] = None,
    file_types: Annotated[list[str] | None, typer.Option("--file-type", help="A MIME type, such as video/mp4.")] = None,
    cpu_cores: Annotated[float, typer.Option(min=0, help="Processor cores it takes.")] = 0.0,
    memory_gib: Annotated[float, typer.Option(min=0, help="Memory it takes, in GiB.")] = 0.0,
    gpu_share: Annotated[float, typer.Option(min=0, help="Share of one graphics device, 0 to 1.")] = 0.0,
    config: ConfigOption = None,
) -> None:
    """Define a mode, or change it: ghostdesk mode add alice "video editing" --app kdenlive --cpu-cores 4."""
    settings = settings_of(config)
    who = checked_user(user)
    resources = Resources(cpu_cores=cpu_cores, memory_bytes=memory_gib * GIB, gpu_share=gpu_share)
    mode = Mode(name, tuple(_app(text) for text in apps or ()), tuple(file_types or ()), resources)
    store = open_settings_store(settings)
    _need_account(store, who)
    known = {one.name for one in store.modes(who)}
    if name not in known and len(known) >= MOST_MODES:
        raise ConfigError(f"{who} has {MOST_MODES} modes already.", "Remove one first.")
    store.put_mode(who, mode)
    store.close()
    out.print(f"{who} can choose {name!r} now: ghostdesk mode choose {who} {name!r}", markup=False)


@app.command("choose")
def choose(
    user: User,
    name: Annotated[str, typer.Argument(help="The mode; without it the one chosen is left.")] = "",
    config: ConfigOption = None,
) -> None:
    """Choose a mode for USER, or leave the one chosen."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    who = checked_user(user)
    _need_account(store, who)
    _need_consent(store, settings, who)
    if name and name not in {mode.name for mode in store.modes(who)}:
        raise NotFound(f"{who} has no mode {name!r}.", f"`ghostdesk mode list {who}` shows them.")
    store.add_events([UsageEvent(time.time(), EventKind.MODE, who, detail=name or NO_MODE, source=COMMAND_LINE)])
    store.close()
    out.print(f"{who} is in the mode {name!r}" if name else f"{who} is in no mode", markup=False)


@app.command("remove")
def remove(user: User, name: Name, config: ConfigOption = None) -> None:
    """Remove a mode, and every record that it was chosen."""
    store = open_settings_store(settings_of(config))
    who = checked_user(user)
    found = store.delete_mode(who, name)
    store.close()
    if not found:
        raise NotFound(f"{who} has no mode {name!r}.", f"`ghostdesk mode list {who}` shows them.")
    out.print(f"the mode {name!r} of {who} is gone", markup=False)


def _app(text: str) -> AppId:
    try:
        return app_id(text)
    except ValueError as error:
        raise ConfigError(f"{error}.", "For example: org.kde.kdenlive.") from None


def _need_account(store: Store, user: UserId) -> None:
    if store.user(user) is None:
        raise NotFound(f"There is no user {user}.", "`ghostdesk user list` shows who there is.")


def _need_consent(store: Store, settings: Settings, user: UserId) -> None:
    choices = {consent.source: consent.allowed for consent in store.consents(user)}
    if TelemetrySource.MODE not in allowed_sources(choices, settings.telemetry.sources):
        raise NotAllowed(f"Modes are switched off for {user}.", f"ghostdesk privacy consent {user} mode on")


def _amounts(resources: Resources) -> str:
    parts = (
        (resources.cpu_cores, f"{resources.cpu_cores:g} cores"),
        (resources.memory_bytes, f"{resources.memory_bytes / GIB:g} GiB"),
        (resources.gpu_share, f"{resources.gpu_share:g} of a graphics device"),
    )
    return ", ".join(text for amount, text in parts if amount)

"""`ghostdesk user` and `ghostdesk sign-in-link`: who may have a desktop."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

import typer
from rich.table import Table

from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.config import Settings
from ghostdesk.kernel.errors import ConfigError, NotFound
from ghostdesk.kernel.ids import UserId, user_id
from ghostdesk.server.auth import make_sign_in_link
from ghostdesk.store.protocol import Store, StoredUser
from ghostdesk.wiring import open_settings_store

_MOST_ATTRIBUTE = 64
app = typer.Typer(no_args_is_help=True, help="Accounts: add, list, disable, enable.")

OPERATOR = UserId("operator")
"""The account that is there from the first start on."""


def checked_user(text: str) -> UserId:
    """A user id from the command line; raises `ConfigError` for a bad one."""
    try:
        return user_id(text)
    except ValueError as error:
        raise ConfigError(f"{error}.", "For example: alice, a.smith, pupil-17.") from None


def base_url(settings: Settings) -> str:
    """The address that browsers use: the first public one, if any is set."""
    if settings.server.public_origins:
        return settings.server.public_origins[0].rstrip("/")
    return local_url(settings)


def local_url(settings: Settings) -> str:
    """The address on this machine."""
    scheme = "https" if settings.server.tls_certificate else "http"
    host = "127.0.0.1" if settings.server.host in ("0.0.0.0", "::") else settings.server.host  # noqa: S104
    return f"{scheme}://{host}:{settings.server.port}"


def link_for(settings: Settings, store: Store, user: UserId) -> str:
    """A fresh one-time sign-in address."""
    return make_sign_in_link(store, user, base_url(settings), settings.server.sign_in_link_life_s, time.time())


@app.command("add")
def add(
    user: Annotated[str, typer.Argument(help="The account's id, for example `alice`.")],
    name: Annotated[str, typer.Option(help="The name to show.")] = "",
    operator: Annotated[bool, typer.Option("--operator", help="May see the status of everyone's desktops.")] = False,
    job_role: Annotated[
        str, typer.Option(help="What they do, for example `teacher`: alike people help each other's forecasts.")
    ] = "",
    department: Annotated[str, typer.Option(help="Where they belong, for example `physics`.")] = "",
    config: ConfigOption = None,
) -> None:
    """Add an account, or change its name, roles and department."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    who = checked_user(user)
    role = "operator" if operator else "user"
    account = StoredUser(who, name or user, role, job_role=_attribute(job_role), department=_attribute(department))
    store.put_user(account)
    out.print(f"{who} may sign in. Their one-time address: [bold]ghostdesk sign-in-link {who}[/]")
    store.close()


def _attribute(text: str) -> str:
    """A word or two about a person; raises `ConfigError` for what is more."""
    text = text.strip()
    if len(text) > _MOST_ATTRIBUTE or (text and not text.isprintable()):
        raise ConfigError(f"{text[:_MOST_ATTRIBUTE]!r} is too long or not printable.", "Use 64 characters at most.")
    return text


@app.command("list")
def list_users(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """All accounts."""
    store = open_settings_store(settings_of(config))
    users = store.users()
    store.close()
    if as_json:
        print_json(users)
        return
    table = Table("user", "name", "role", "may sign in", "job role", "department")
    for u in users:
        table.add_row(u.user, u.display_name, u.role, "no" if u.disabled else "yes", u.job_role, u.department)
    out.print(table)


@app.command("disable")
def disable(user: str, config: ConfigOption = None) -> None:
    """Lock an account: it cannot sign in, and no ghost is prepared for it."""
    _set_disabled(user, True, settings_of(config))


@app.command("enable")
def enable(user: str, config: ConfigOption = None) -> None:
    """Unlock an account."""
    _set_disabled(user, False, settings_of(config))


def _set_disabled(user: str, disabled: bool, settings: Settings) -> None:
    store = open_settings_store(settings)
    who = checked_user(user)
    found = store.user(who)
    if found is None:
        raise NotFound(f"There is no user {who}.", "`ghostdesk user list` shows who there is.")
    store.put_user(replace(found, disabled=disabled))
    if disabled:
        store.delete_web_sessions(who)
    out.print(f"{who} is {'disabled' if disabled else 'enabled'}.")
    store.close()


def sign_in_link(
    user: Annotated[str, typer.Argument(help="For whom.")] = "operator",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a one-time address that signs USER in. It works once, and for 15 minutes."""
    settings = settings_of(config)
    store = open_settings_store(settings)
    link = link_for(settings, store, checked_user(user))
    store.close()
    if as_json:
        print_json({"user": user, "url": link, "life_s": settings.server.sign_in_link_life_s})
    else:
        typer.echo(link)

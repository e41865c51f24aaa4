"""What every command shares: the --config option, consoles, and how errors look."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, NoReturn
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.text import Text

from ghostdesk.config import Settings, load_settings
from ghostdesk.kernel.errors import ConfigError, GhostdeskError

out = Console()
err = Console(stderr=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Settings file (TOML). Without one, the embedded defaults are used.", exists=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]

RayOption = Annotated[
    str,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on the Ray cluster there (HOST:6379, ray://HOST:10001 or auto); the results are the same.",
        show_default="this machine alone",
    ),
]


def settings_of(config: Path | None) -> Settings:
    """The settings, or the defaults."""
    return load_settings(config)


def zone_named(name: str) -> ZoneInfo:
    """The zone of that name; raises `ConfigError`."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ConfigError(f"There is no time zone {name!r}.", "Give an IANA name such as Europe/Berlin.") from None


def date_s(text: str, zone: tzinfo, option: str) -> float | None:
    """UTC seconds of the date that `option` was given, in the zone where it names none; None for no date.

    Raises:
        ConfigError: it is no date.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise ConfigError(f"{option} {text!r} is no date.", "Give one such as 2016-01-01.") from None


def fail(error: GhostdeskError) -> NoReturn:
    """Say what went wrong and how to mend it; exit status 1."""
    err.print(Text.assemble(("error: ", "bold red"), error.cause))
    if error.mend:
        err.print(Text.assemble(("mend:  ", "bold green"), error.mend))
    sys.exit(1)


def print_json(value: Any) -> None:
    """JSON on standard output; dataclasses become objects."""
    typer.echo(json.dumps(value, default=_plain, indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)

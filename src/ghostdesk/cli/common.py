"""What every command shares: the --config option, consoles, and how errors look."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from ghostdesk.config import Settings, load_settings
from ghostdesk.kernel.errors import GhostdeskError

out = Console()
err = Console(stderr=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Settings file (TOML). Without one, the embedded defaults are used.", exists=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]


def settings_of(config: Path | None) -> Settings:
    """The settings, or the defaults."""
    return load_settings(config)


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

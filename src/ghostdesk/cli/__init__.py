"""The `ghostdesk` command."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.console import Console

from ghostdesk import __version__
from ghostdesk.cli.common import fail
from ghostdesk.kernel.errors import GhostdeskError

_HELP = """Predictive virtual desktops: the desktop is ready before its user is.

Start with `ghostdesk run`, open the address it prints, and press *Open desktop*.
Teach it your past with `ghostdesk import FILE`, and see what it does and why with `ghostdesk status`."""

_COMMANDS = {
    "run": "run:run",
    "doctor": "doctor:doctor",
    "clean": "run:clean",
    "database": "database:app",
    "sign-in-link": "accounts:sign_in_link",
    "import": "history:import_history",
    "status": "show:status",
    "forecast": "show:forecast",
    "user": "accounts:app",
    "privacy": "privacy:app",
    "mode": "modes:app",
    "calendar": "calendar:app",
    "reserve": "reserve:app",
    "energy": "energy:app",
    "kubernetes": "kubernetes:app",
    "evaluate": "evaluate:app",
    "replay": "replay:replay",
    "image": "image:app",
    "train": "train:train",
    "model": "model:app",
    "simulate": "simulate:app",
    "bench": "bench:app",
}
"""Each command with the module below this one that holds it, in the order of `ghostdesk --help`."""


def _say_version() -> None:
    Console().print(f"ghostdesk {__version__}")


def _version(wanted: bool) -> None:
    if wanted:
        _say_version()
        raise typer.Exit


def _options(
    _version_wanted: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    pass


@cache
def made(command: str | None = None) -> typer.Typer:
    """The application with one command, or with all: whoever runs one does not wait for the others to be imported."""
    app = typer.Typer(
        no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_show_locals=False, help=_HELP
    )
    app.callback()(_options)
    for name in _COMMANDS if command is None else (command,):
        module, _, attribute = _COMMANDS[name].partition(":")
        found = getattr(import_module(f"{__name__}.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def __getattr__(name: str) -> Any:
    """`app`, with all commands (PEP 562)."""
    if name == "app":
        return made()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Entry point: errors that we know are one clear line or two, never a traceback."""
    try:
        first = sys.argv[1] if len(sys.argv) > 1 else ""
        if first == "--version":
            _say_version()
            return
        made(first if first in _COMMANDS else None)()
    except GhostdeskError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)

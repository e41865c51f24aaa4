"""The `ghostdesk` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from ghostdesk import __version__
from ghostdesk.cli import accounts, history, modes, privacy, run, show
from ghostdesk.cli.bench import app as bench_app
from ghostdesk.cli.calendar import app as calendar_app
from ghostdesk.cli.common import fail
from ghostdesk.cli.energy import app as energy_app
from ghostdesk.cli.evaluate import app as evaluate_app
from ghostdesk.cli.model import app as model_app
from ghostdesk.cli.replay import replay
from ghostdesk.cli.reserve import app as reserve_app
from ghostdesk.cli.simulate import app as simulate_app
from ghostdesk.cli.train import train
from ghostdesk.kernel.errors import GhostdeskError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    help="""Predictive virtual desktops: the desktop is ready before its user is.

Start with `ghostdesk run`, open the address it prints, and press *Open desktop*.
Teach it your past with `ghostdesk import FILE`, and see what it does and why with `ghostdesk status`.""",
)
app.command("run")(run.run)
app.command("doctor")(run.doctor)
app.command("clean")(run.clean)
app.command("sign-in-link")(accounts.sign_in_link)
app.command("import")(history.import_history)
app.command("status")(show.status)
app.command("forecast")(show.forecast)
app.add_typer(accounts.app, name="user")
app.add_typer(privacy.app, name="privacy")
app.add_typer(modes.app, name="mode")
app.add_typer(calendar_app, name="calendar")
app.add_typer(reserve_app, name="reserve")
app.add_typer(energy_app, name="energy")
app.add_typer(evaluate_app, name="evaluate")
app.command("replay")(replay)
app.command("train")(train)
app.add_typer(model_app, name="model")
app.add_typer(simulate_app, name="simulate")
app.add_typer(bench_app, name="bench")


def _version(wanted: bool) -> None:
    if wanted:
        Console().print(f"ghostdesk {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version_wanted: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: errors that we know are one clear line or two, never a traceback."""
    try:
        app()
    except GhostdeskError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)

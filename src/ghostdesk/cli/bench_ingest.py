"""`ghostdesk bench ingest`: events a second into the database."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ghostdesk.bench.host import this_host
from ghostdesk.bench.ingest import run_ingest
from ghostdesk.cli.common import JsonOption, err, out, print_json
from ghostdesk.kernel.errors import ConfigError


def ingest(
    database: Annotated[
        str, typer.Option(help='"sqlite", or the address of an EMPTY PostgreSQL database: postgresql://USER@HOST/NAME.')
    ] = "sqlite",
    events: Annotated[int, typer.Option(min=1000, help="Synthetic events for each run.")] = 200_000,
    batch: Annotated[int, typer.Option(min=1, help="Events in one call.")] = 5_000,
    writers: Annotated[str, typer.Option(help="Comma-separated numbers of processes that write at once.")] = "1,2",
    as_json: JsonOption = False,
) -> None:
    """How many synthetic events a second the store takes in, each on disk before its call returns."""
    try:
        counts = tuple(int(one) for one in writers.split(","))
        if min(counts) < 1:
            raise ValueError
    except ValueError:
        raise ConfigError(f"{writers!r} is no list of numbers of writers.", "For example --writers 1,2.") from None
    host = this_host(
        date=datetime.now(UTC).isoformat(timespec="minutes"), command="ghostdesk bench " + " ".join(sys.argv[2:])
    )
    with tempfile.TemporaryDirectory(prefix="ghostdesk-ingest-", dir=Path.cwd()) as folder:
        report = run_ingest(
            database, Path(folder), host, events=events, batch=batch, writers=counts,
            progress=lambda what: err.print(f"[dim]{what} …[/]"),
        )  # fmt: skip
    if as_json:
        print_json(report)
        return
    table = Table("database", "writers", "events", "seconds", "events a second")
    for run in report.runs:
        table.add_row(
            run.database, str(run.writers), f"{run.events:,}", f"{run.seconds:.1f}", f"{run.events_per_s:,.0f}"
        )
    out.print(table)
    out.print(f"[dim]{report.provenance.line()}[/]")

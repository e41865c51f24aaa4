"""`ghostdesk bench files`: what reading a home's files ahead brings, on its own disk or server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ghostdesk.bench.home_files import HomeFilesBench, bench_home_files
from ghostdesk.bench.host import this_host
from ghostdesk.cli.common import JsonOption, err, out, print_json


def files(
    home: Annotated[Path, typer.Argument(help="A home, or any folder of documents.", show_default=False)],
    most_files: Annotated[int, typer.Option("--files", min=1, help="Files to open, drawn at random.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="Times each.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Open files of a home cold, and after they were read ahead as for a ghost; nothing is written.

    The files' own pages are dropped before each time, no others: it can be run on a host in use. What rclone keeps on
    this host's disk stays; there, cold is a cold disk, not the server.
    """
    with err.status("opening files"):
        result = bench_home_files(home, most_files, rounds, seed)
    origin = this_host(
        date=datetime.now(UTC).strftime("%Y-%m-%d"), command=f"ghostdesk bench files --files {most_files}"
    )
    if as_json:
        print_json({"schema": "ghostdesk.bench.files/1", "provenance": origin, "result": result})
        return
    out.print(files_table(result))
    out.print(origin.line(), markup=False, highlight=False)


def files_table(result: HomeFilesBench) -> Table:
    """All files together, in milliseconds."""
    where = f"a server ({result.kind})" if result.kind else "this host"
    table = Table(
        title=f"{result.files} files, {result.total_bytes / 2**20:.1f} MiB, on {where}; {len(result.cold_s)} rounds",
        title_justify="left",
    )
    for heading in ("all files, ms", "median", "least", "most"):
        table.add_column(heading, justify="left" if heading.startswith("all") else "right")
    rows = (
        ("opened cold", result.cold),
        ("opened after reading ahead", result.ready),
        ("reading ahead", result.loading),
    )
    for name, sum_ in rows:
        table.add_row(name, *(f"{1e3 * one:.1f}" for one in (sum_.median, sum_.minimum, sum_.maximum)))
    table.add_row("cold over ready", f"{result.ratio:.1f} x", "", "")
    return table

"""`ghostdesk bench forecast`: what forecasting costs on this machine."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from ghostdesk.bench.forecast import ForecastCost, measure
from ghostdesk.cli.common import JsonOption, err, out, print_json
from ghostdesk.kernel.errors import ConfigError


def forecast(
    users: Annotated[str, typer.Option(help="Comma-separated numbers of synthetic users.")] = "10000,100000",
    seed: Annotated[int, typer.Option(help="Makes the synthetic people.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Time to take in an event, a tick's forecasts for everybody, and bytes a user; the people are synthetic.

    A million users (`--users 10000,100000,1000000`) take some minutes to make and 5 GiB of memory.
    """
    try:
        counts = [int(one) for one in users.split(",")]
    except ValueError:
        raise ConfigError(f"{users!r} is no list of numbers.", "For example --users 10000,100000.") from None
    if not counts or min(counts) < 1:
        raise ConfigError("At least one user is needed.", "For example --users 10000,100000.")
    cost = measure(counts, seed, lambda what: err.print(f"[dim]{what} …[/]"))
    if as_json:
        print_json(cost)
    else:
        _show(cost)


def _show(cost: ForecastCost) -> None:
    absorb, curve = np.array(cost.absorb_s) * 1e3, np.array(cost.curve_s) * 1e3
    out.print(
        f"An event taken in: {np.median(absorb):.2f} ms (median), {np.quantile(absorb, 0.99):.2f} ms (99 %), "
        f"n = {len(absorb)}. One user's curve after it: {np.median(curve):.2f} ms. "
        f"A person with {len(cost.absorb_s) and 400} events takes {cost.person_bytes / 1024:.0f} KiB beside the arrays."
    )
    table = Table(
        "synthetic users",
        "a tick",
        "first tick of an hour",
        "of a week",
        "an event, 99 %",
        "a user and tick",
        "hot bytes a user",
        "process at most",
    )
    for tick in cost.ticks:
        table.add_row(
            f"{tick.users:,}",
            f"{tick.tick_s:.2f} s",
            f"{tick.new_hour_s:.2f} s",
            f"{tick.new_week_s:.2f} s",
            f"{tick.absorb_s * 1e3:.2f} ms",
            f"{tick.tick_s / tick.users * 1e6:.1f} µs",
            f"{tick.hot_bytes:.0f}",
            f"{tick.peak_bytes / 2**20:,.0f} MiB",
        )
    out.print(table)

"""`ghostdesk bench plan`: what planning costs on this machine, and how near to the optimum plans are."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from ghostdesk.bench.host import Provenance, this_host
from ghostdesk.bench.plan import TARGET_GAP, PlanCost, ShapeGap, growth, measure_cost, measure_gaps
from ghostdesk.cli.common import JsonOption, err, out, print_json
from ghostdesk.kernel.errors import ConfigError

_MOST_USERS = 10_000_000


def plan(
    users: Annotated[str, typer.Option(help="Comma-separated numbers of synthetic users.")] = "10000,100000",
    hosts: Annotated[int, typer.Option(min=1, max=100_000, help="How many synthetic hosts.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1, help="Plans of each size.")] = 3,
    exact: Annotated[
        int, typer.Option(min=0, help="Also hold plans for so many small fleets of each shape against the optimum.")
    ] = 0,
    limit_s: Annotated[float, typer.Option(min=0.1, help="Most seconds for one optimum.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Makes the synthetic fleets.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Time and memory of one plan for so many synthetic users, and with `--exact` how near to the optimum plans are.

    People, hosts and the pool are drawn from a seed: a third of the people have a ghost, memory is scarce everywhere
    and the GPU on a quarter of the hosts. A million users (`--users 10000,100000,1000000`) take 1.5 GiB of memory.
    `--users none --exact 50` compares with the optimum alone (some minutes; needs the extra "bench").
    """
    sizes = _sizes(users)
    origin = this_host(date=datetime.now(UTC).date().isoformat(), command=shlex.join(["ghostdesk", *sys.argv[1:]]))
    costs, gaps = [], []
    with err.status("") as status:
        for size in sizes:
            status.update(f"{size:,} synthetic users on {hosts:,} hosts")
            costs.append(measure_cost(size, hosts, rounds, seed))
        if exact:
            gaps = measure_gaps(exact, seed, limit_s, status.update)
    if as_json:
        print_json(_json(costs, gaps, origin))
    else:
        _show(costs, gaps, origin)


def _sizes(text: str) -> list[int]:
    if text.strip().lower() == "none":
        return []
    try:
        sizes = [int(one) for one in text.split(",")]
    except ValueError:
        raise ConfigError(f"{text!r} is no list of numbers.", "For example --users 10000,100000.") from None
    if min(sizes) < 1 or max(sizes) > _MOST_USERS:
        raise ConfigError(f"Users must be between 1 and {_MOST_USERS:,}.", "For example --users 10000,100000.")
    return sizes


def _json(costs: list[PlanCost], gaps: list[ShapeGap], origin: Provenance) -> dict[str, Any]:
    return {
        "schema": "ghostdesk.bench.plan/1",
        "provenance": asdict(origin) | {"synthetic": True},
        "plans": [asdict(cost) | {"median_s": cost.median_s} for cost in costs],
        "growth_exponent": growth(costs),
        "exact": [asdict(gap) | {"worst": gap.worst, "p95": gap.p95, "mean": gap.mean} for gap in gaps],
    }


def _show(costs: list[PlanCost], gaps: list[ShapeGap], origin: Provenance) -> None:
    if costs:
        table = Table("users", "median", "slowest", "processor", "a user", "ghosts", "pool", "below bound", "memory")
        for cost in costs:
            table.add_row(
                f"{cost.users:,}",
                f"{cost.median_s:.2f} s",
                f"{max(cost.planned_s):.2f} s",
                f"{sorted(cost.cpu_s)[len(cost.cpu_s) // 2]:.2f} s",
                f"{cost.median_s / cost.users * 1e6:.1f} µs",
                f"{cost.held:,}",
                f"{cost.pooled:,}",
                f"{cost.gap:.2%}",
                f"{cost.peak_bytes / 2**20:.0f} MiB",
            )
        out.print(table)
        exponent = growth(costs)
        if exponent is not None:
            out.print(f"Time grows with users to the power of {exponent:.2f} (1 is linear).")
        out.print(f"{costs[0].hosts:,} hosts. Memory is what planning allocates beside its inputs.")
    if gaps:
        table = Table("small fleets", "n", "worst", "p95", "mean", f"within {TARGET_GAP:.0%}", "optimum proven", "plan")
        for gap in gaps:
            within = sum(1 for one in gap.gaps if one <= TARGET_GAP)
            table.add_row(
                gap.shape,
                f"{len(gap.gaps)}",
                *(f"{share:.2%}" for share in (max(gap.worst, 0.0), max(gap.p95, 0.0), max(gap.mean, 0.0))),
                f"{within}",
                f"{gap.proven}",
                f"{gap.plan_s:.2f} s",
            )
        out.print(table)
        out.print("Gaps are to the bound that HiGHS proved; where it proved no optimum in time, they are too large.")
    out.print(f"SYNTHETIC people and hosts. {origin.line()}", soft_wrap=True)

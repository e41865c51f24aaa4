"""`ghostdesk model`: which models there are, which one is live and why, and the way back."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.training.curves import curves_folder
from ghostdesk.training.drift import THRESHOLD
from ghostdesk.training.drift_check import CONTEXT_S, check_drift
from ghostdesk.training.plan import Room
from ghostdesk.training.registry import CurveRegistry, ModelRegistry, Promotion
from ghostdesk.training.run import models_folder
from ghostdesk.training.sources import file_source, store_source
from ghostdesk.wiring import open_settings_store

app = typer.Typer(no_args_is_help=True, help="The trained models: list, show, promote, roll back, watch for drift.")
_Which = Annotated[str, typer.Argument(help="Its number, or the first 6 or more digits of its digest.")]
_DAY_S = 86_400.0
_MIB = 2**20


_Curves = Annotated[bool, typer.Option("--curves", help="The models of the usage curves, not of applications.")]


def _registry(config: Path | None, *, curves: bool) -> ModelRegistry | CurveRegistry:
    state = settings_of(config).state.directory
    return CurveRegistry(curves_folder(state)) if curves else ModelRegistry(models_folder(state))


@app.command("list")
def list_models(curves: _Curves = False, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every model that is kept, oldest first."""
    versions = _registry(config, curves=curves).versions()
    if as_json:
        print_json(versions)
        return
    if not versions:
        out.print("There is no model yet. `ghostdesk train` makes one.")
        return
    table = Table("model", "digest", "trained", "held-out loss", "", "what was found")
    for one in versions:
        loss = one.metrics.get("gate_log_loss")
        state = "[bold green]live[/]" if one.live else ""
        told = one.problem or one.verdict
        held_out = "" if loss is None else f"{loss:.4f}"
        table.add_row(one.name, one.digest[:8], _when(one.trained_at_s), held_out, state, told)
    out.print(table)


@app.command("show")
def show_model(
    which: Annotated[str, typer.Argument(help="Its number or digest; the live one when left out.")] = "",
    curves: _Curves = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one model: how it was trained, what was found, and when it was live."""
    registry = _registry(config, curves=curves)
    version = registry.version(which) if which else registry.live()
    history = [change for change in registry.promotions() if version.name in (change.before, change.after)]
    if as_json:
        print_json({"model": version, "promotions": history})
        return
    out.print(f"Model {version.name} ({version.digest}){', live' if version.live else ''}", highlight=False)
    out.print(f"  {version.path}", highlight=False, soft_wrap=True)
    if version.problem:
        out.print(f"  cannot be used: {version.problem}", style="yellow", markup=False)
    out.print(f"  trained {_when(version.trained_at_s)}: {version.verdict or 'no verdict is kept'}", highlight=False)
    for name, value in sorted(version.metrics.items()):
        out.print(f"  {name.replace('_', ' ')}: {value:,.4g}", highlight=False)
    for change in history:
        out.print(f"  {_change(change)}", markup=False, highlight=False)


@app.command("promote")
def promote_model(
    which: _Which, curves: _Curves = False, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Make a model live, whatever the comparison said."""
    registry = _registry(config, curves=curves)
    _done(registry.promote(registry.version(which), "promoted by the operator", time.time()), as_json=as_json)


@app.command("rollback")
def rollback_model(curves: _Curves = False, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make the model live again that was so before the present one."""
    _done(_registry(config, curves=curves).rollback(time.time()), as_json=as_json)


@app.command("drift")
def drift(
    days: Annotated[
        float, typer.Option(min=0.01, max=3650, help="Look at the last so many days that are stored.")
    ] = 7.0,
    history: Annotated[
        Path | None, typer.Option(help="Look at the last days of this file instead.", show_default="the store")
    ] = None,
    memory_mib: Annotated[int, typer.Option(min=1, help="Memory that may be taken.")] = 1024,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether the live model still fits: its loss on the last days against the one at promotion."""
    settings = settings_of(config)
    registry, now_s = ModelRegistry(models_folder(settings.state.directory)), time.time()
    zone, work = settings.forecast.timezone, settings.state.directory / "training"
    if history is None:
        store = open_settings_store(settings)
        source = store_source(store, now_s, now_s - days * _DAY_S - CONTEXT_S)
    else:
        store, source = None, file_source(history, zone)
    try:
        report = check_drift(registry, source, zone, days * _DAY_S, now_s, Room(memory_mib * _MIB), work)
    finally:
        if store is not None:
            store.close()
    if as_json:
        print_json({name: _finite(value) for name, value in asdict(report).items()})
        return
    out.print(report.words, style="yellow" if report.drifted else "green", highlight=False)
    out.print(f"  {report.steps:,} steps foretold; {report.climb:.0f} of {THRESHOLD:.0f} nats climbed", highlight=False)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _done(change: Promotion, *, as_json: bool) -> None:
    if as_json:
        print_json(change)
        return
    out.print(f"Model {change.after} is live now ({change.before or 'none'} was). A ghostdesk that runs takes it up")
    out.print("within seconds, without a restart: `ghostdesk status` shows it.")


def _change(change: Promotion) -> str:
    return f"{_when(change.time_s)}: {change.before or 'none'} -> {change.after}: {change.reason}"


def _when(time_s: float | None) -> str:
    return "unknown" if time_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(time_s))

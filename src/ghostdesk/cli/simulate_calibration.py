"""`ghostdesk simulate calibrate` and `check`: figures of recorded history, and how closely what is made up has them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ghostdesk.cli.common import JsonOption, err, out, print_json
from ghostdesk.evaluate.json_out import check_folder
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.synthetic.checking import Compared, compare, synthetic_group
from ghostdesk.replay.synthetic.fitting import fit
from ghostdesk.replay.synthetic.measuring import (
    Measured,
    measure_apps,
    measure_desktops,
    measure_people,
    measure_resources,
)
from ghostdesk.replay.synthetic.parameters import Parameters, parse_parameters, shipped

_DIGITS = 5


def calibrate(
    states: Annotated[Path | None, typer.Option(help="State log of shared desktops.", show_default=False)] = None,
    terms: Annotated[
        Path | None, typer.Option(help="Terms of their house: CSV, start,end.", show_default=False)
    ] = None,
    states_until: Annotated[str, typer.Option(help="Take only what lies before this date (2016-01-01).")] = "",
    activity: Annotated[
        Path | None, typer.Option(help="When people worked: user,utc,tz_min.", show_default=False)
    ] = None,
    next_app: Annotated[Path | None, typer.Option(help="Sequences of applications.", show_default=False)] = None,
    resources: Annotated[Path | None, typer.Option(help="Usage of machines: vm,time_s,...", show_default=False)] = None,
    fit_rounds: Annotated[
        int, typer.Option(min=0, help="Then try so many settings of the simulator for each set, and keep the best.")
    ] = 0,
    to: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure recorded history: the figures that the simulator draws from. Figures only; no row and no name is written.

    Sets that are not given keep the figures that came with ghostdesk. `ghostdesk simulate check --figures FILE` shows
    how closely synthetic histories have them.
    """
    asked: dict[str, Callable[[], Measured] | None] = {
        "desktop-starts": _if_given(states, lambda path: measure_desktops(path, terms, _date(states_until))),
        "people": _if_given(activity, measure_people),
        "apps": _if_given(next_app, measure_apps),
        "resources": _if_given(resources, measure_resources),
    }
    chosen = {group: measure for group, measure in asked.items() if measure is not None}
    if not chosen:
        raise ConfigError("There is nothing to measure.", "Give --states, --activity, --next-app or --resources.")
    check_folder(to)
    parameters = shipped()
    for group, measure in chosen.items():
        with err.status(f"measuring {group}"):
            found = measure()
        figures = {name: _rounded(value) for name, value in found.figures.items()}
        about = f"{found.about}; measured {datetime.fromtimestamp(time.time(), UTC):%Y-%m-%d}"
        parameters = replace(
            parameters,
            measured={**parameters.measured, group: {**parameters.measured[group], **figures}},
            about={**parameters.about, group: about},
        )
        if fit_rounds:
            with err.status(f"fitting {group}"):
                parameters = fit(parameters, group, fit_rounds)
    if to is not None:
        _write(parameters, to)
    if as_json:
        print_json(asdict(parameters))
    else:
        _print_figures(parameters, list(chosen))
        if to is not None:
            out.print(f"Written: {to}", markup=False)


def check(
    figures: Annotated[
        Path | None, typer.Option(help="Figures of `calibrate`; those that came with ghostdesk without.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the synthetic histories.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make synthetic histories, measure them as recorded ones were, and print both side by side.

    Exit status 1 if a figure is further away than is allowed: a quarter of it, or 0.05 (0.12 of a correlation).
    """
    parameters = shipped() if figures is None else _read(figures)
    found: list[Compared] = []
    for group in parameters.measured:
        with err.status(f"simulating {group}"):
            synthetic = {group: synthetic_group(parameters, group, seed)}
        found += compare(parameters.measured, synthetic)
    wrong = [one for one in found if not one.agrees]
    if as_json:
        print_json({"about": parameters.about, "figures": found, "agree": len(found) - len(wrong)})
    else:
        for group, about in parameters.about.items():
            out.print(_compared(group, about, [one for one in found if one.group == group]))
        out.print(f"{len(found) - len(wrong)} of {len(found)} figures agree.")
    if wrong:
        raise typer.Exit(1)


def _if_given(path: Path | None, measure: Callable[[Path], Measured]) -> Callable[[], Measured] | None:
    return None if path is None else lambda: measure(path)


def _compared(group: str, about: str, rows: list[Compared]) -> Table:
    table = Table(title=f"{group}: {about}", title_justify="left")
    table.add_column("figure")
    for column in ("recorded", "SYNTHETIC", "difference"):
        table.add_column(column, justify="right")
    for one in rows:
        difference = "-" if one.difference != one.difference else f"{one.difference:+.0%}"
        style = "" if one.agrees else "bold red"
        table.add_row(Text(one.name), f"{one.measured:.3f}", f"{one.synthetic:.3f}", difference, style=style)
    return table


def _print_figures(parameters: Parameters, groups: list[str]) -> None:
    for group in groups:
        table = Table("figure", "recorded", title=f"{group}: {parameters.about[group]}", title_justify="left")
        for name, value in parameters.measured[group].items():
            table.add_row(name, f"{len(value)} shares" if isinstance(value, list) else f"{value:.3f}")
        out.print(table)


def _rounded(value: float | list[float]) -> float | list[float]:
    return [round(one, _DIGITS) for one in value] if isinstance(value, list) else round(value, _DIGITS)


def _write(parameters: Parameters, path: Path) -> None:
    fitted: Mapping[str, Any] = {name: round(value, _DIGITS) for name, value in parameters.fitted.items()}
    text = json.dumps({**asdict(parameters), "fitted": fitted}, indent=1)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.", "Give another file.") from None


def _read(path: Path) -> Parameters:
    try:
        return parse_parameters(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Give another file.") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{path} holds no figures of the simulator: {str(error)[:80]}.",
            "Write it with `ghostdesk simulate calibrate --to FILE`.",
        ) from None


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigError(f"--states-until {text!r} is no date.", "Give one such as 2016-01-01.") from None

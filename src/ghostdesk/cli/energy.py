"""`ghostdesk energy`: what this host draws, what was saved, and how to teach it its own watts."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from ghostdesk.allocator.energy_model import Calibration, UseReading, calibrated
from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.cli.show import fetch_status
from ghostdesk.control.host_power import WAKE_PORT, LocalSuspend, WakeOnLan
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import HostId
from ghostdesk.wiring import host_power_model

_MOST_ROWS = 1_000_000
app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="What this host draws, what sleeping saved, and how to teach ghostdesk its watts.",
)


@app.command("status")
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show watts now and where they are from, kilowatt-hours since the service began, and what was saved."""
    told = fetch_status(settings_of(config))
    energy = told["energy"]
    if as_json:
        print_json(energy)
        return
    for line in energy_lines(energy, told["now_s"]):
        out.print(line, markup=False, highlight=False)


@app.command("calibrate")
def calibrate(
    readings: Annotated[
        Path | None,
        typer.Option("--readings", help="CSV of a wall meter, `use,power_w` (use 0 to 1); else the service's sensors."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit this host's idle and busy watts to readings, and print the lines for the settings file.

    The running service collects what its own sensors say. Without sensors, put a meter at the wall, note the share of
    cores in use and the watts a dozen times from idle to busy, and give them with --readings.
    """
    settings = settings_of(config)
    model = host_power_model(settings)
    if readings is not None:
        found = calibrated(model, _readings(readings))
        told = _told(found)
    else:
        seen = fetch_status(settings)["energy"]
        told = {name: seen[f"fitted_{name}"] for name in ("idle_w", "busy_w", "kept", "dropped", "problem")}
    if as_json:
        print_json(told)
        return
    if told["problem"]:
        raise ConfigError(
            f"Nothing was fitted: {told['problem']}.",
            "Let the service run while the machine is idle and busy, or give --readings of a meter at the wall.",
        )
    out.print(f"Fitted to {told['kept']:,} readings; {told['dropped']:,} were dropped. For the settings file:")
    out.print(f"[power]\nidle_w = {told['idle_w']:.1f}\nbusy_w = {told['busy_w']:.1f}", markup=False)


@app.command("suspend")
def suspend(config: ConfigOption = None) -> None:
    """Suspend this machine now, if the settings allow it and nobody's desktop is open. Something else must wake it."""
    settings = settings_of(config)
    allowed = settings.energy.suspend_this_host
    claimed = 0
    if allowed:
        claimed = sum(one["owner"] is not None for one in fetch_status(settings)["ghosts"])
    asyncio.run(LocalSuspend(allowed, lambda: claimed).suspend(HostId("local")))
    out.print("This machine goes to sleep.")


@app.command("wake")
def wake(
    mac: Annotated[str, typer.Argument(help="Of the sleeping host's network card: 52:54:00:12:34:56.")],
    address: Annotated[str, typer.Option(help="Broadcast address of its network.")] = "255.255.255.255",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="UDP port.")] = WAKE_PORT,
) -> None:
    """Wake a host on this network by magic packets. Its card has to listen (`ethtool -s eth0 wol g`)."""
    host = HostId(mac)
    asyncio.run(WakeOnLan({host: mac}, address, port).wake(host))
    out.print(f"Three magic packets were sent to {address}. Nothing tells whether the host heard them.")


def energy_lines(energy: dict[str, Any], now_s: float) -> list[str]:
    """The status in sentences."""
    how = "modelled" if energy["modelled"] else "measured"
    power = "unknown" if energy["power_w"] is None else f"{energy['power_w']:.0f} W, {how} ({energy['source']})"
    minutes = max(now_s - energy["since_s"], 0.0) / 60.0
    since = f"{minutes:.0f} min" if minutes < 120.0 else f"{minutes / 60.0:.1f} h"
    lines = [
        f"Power now: {power}.",
        f"Ghosts that wait add {energy['held_w']:.2f} W to it (modelled: their memory; frozen, they use no CPU).",
        f"Since the service began, {since} ago: {energy['measured_kwh']:.3f} kWh measured, "
        f"{energy['modelled_kwh']:.3f} kWh modelled; {energy['unknown_s'] / 60.0:.0f} min without readings.",
        f"Saved by hosts that slept: {energy['saved_kwh']:.3f} kWh ({energy['hosts']}).",
        f"Worth of a watt: {energy['worth']:.2f} ({energy['worth_reason'].rstrip('.')}).",
    ]
    if energy["problem"]:
        lines.append(f"Problem: {energy['problem'].rstrip('.')}.")
    return lines


def _told(found: Calibration) -> dict[str, Any]:
    model = found.model
    return {
        "idle_w": model.idle_w, "busy_w": model.busy_w, "kept": found.kept, "dropped": found.dropped,
        "problem": found.problem,
    }  # fmt: skip


def _readings(path: Path) -> list[UseReading]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"use", "power_w"} <= set(rows.fieldnames or ()):
                raise ConfigError(f"{path} has no columns use and power_w.", "Its first line has to name them.")
            found: list[UseReading] = []
            for row in rows:
                if len(found) >= _MOST_ROWS:
                    raise ConfigError(f"{path} has more than {_MOST_ROWS:,} readings.", "Give fewer.")
                found.append(UseReading(_number(row["use"]), _number(row["power_w"])))
            return found
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no CSV"
        raise ConfigError(f"{path} cannot be read: {why}.", "Give a CSV file.") from None


def _number(text: str | None) -> float:
    """What is no number is dropped by the calibration, and counted."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")

"""The part of `ghostdesk status` that shows the host's pressure, trends, the warming gate and the lines to browsers."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_GATE_STYLE = {"open": "green", "slow": "yellow", "paused": "red"}
_ARROWS = {"rises": "↗", "falls": "↘", "steady": "→"}
_QUALITY_STYLE = {"good": "green", "far": "cyan", "slow": "yellow"}


def render_context(told: dict[str, Any]) -> RenderableType:
    """`told` is the status's `context`."""
    words = next((note for note in told["notes"] if note.startswith(told["gate_text"])), told["gate_text"])
    parts: list[RenderableType] = [Text(words, style=_GATE_STYLE.get(told["gate"], ""))]
    parts += [Text(note, style="yellow") for note in told["notes"] if note != words]
    if told["conditions"] is None:
        parts.append(Text("The host's conditions cannot be read.", style="yellow"))
    else:
        parts += [_gauges(told), _host(told["conditions"])]
    if told["links"]:
        parts.append(_links(told["links"]))
    for change in told["changes"][:3]:
        parts.append(
            Text(f"{time.strftime('%H:%M:%S', time.localtime(change['time_s']))} {change['text']}", style="dim")
        )
    return Group(*parts)


def _gauges(told: dict[str, Any]) -> Table:
    table = Table("", "now", "trend", "warming slows from", "pauses from", title="Host")
    for gauge in told["gauges"]:
        level = gauge["level"]
        style = "red" if level >= gauge["pause_at"] else "yellow" if level >= gauge["slow_at"] else ""
        trend = _ARROWS[gauge["trend"]]
        if gauge["trend"] != "steady":
            trend += f" {100 * gauge['per_minute']:+.1f} % a minute"
        if gauge["short_in_s"] is not None:
            trend += f", short in {duration(gauge['short_in_s'])}"
        limits = [f"{100 * gauge[key]:.0f} %" if gauge[key] <= 1 else "never" for key in ("slow_at", "pause_at")]
        table.add_row(gauge["name"], Text(f"{100 * level:.1f} %", style=style), trend, *limits)
    return table


def _host(told: dict[str, Any]) -> Text:
    words = [
        f"load {told['load']:.2f}",
        f"processors {100 * told['cpu_share']:.0f} % in use",
        f"{told['memory_available_bytes'] / 2**30:.1f} of {told['memory_bytes'] / 2**30:.1f} GiB memory available",
        f"disk {100 * told['disk_busy_share']:.0f} % busy, {told['disk_free_bytes'] / 1e9:.0f} GB free",
        f"network {told['network_in_bytes_per_s'] / 1e6:.2f} MB/s in, "
        f"{told['network_out_bytes_per_s'] / 1e6:.2f} MB/s out",
    ]
    if told["swap_bytes"]:
        used = told["swap_bytes"] - told["swap_free_bytes"]
        words.append(f"{used / 2**30:.1f} of {told['swap_bytes'] / 2**30:.1f} GiB swap in use")
    text = Text(", ".join(words))
    for fault in told["faults"]:
        text.append(f"\n{fault['text']}", style="red")
    for problem in told["problems"]:
        text.append(f"\n{problem}", style="dim")
    return text


def _links(links: list[dict[str, Any]]) -> Table:
    table = Table("whose", "line", "round trip", "carries", "waited for", title="Lines to browsers")
    for link in links:
        carries = "not tried" if link["bytes_per_s"] is None else f"{link['bytes_per_s'] / 1e6:.2g} MB/s"
        table.add_row(
            link["user"],
            Text(link["quality"], style=_QUALITY_STYLE.get(link["quality"], "")),
            f"{1000 * link['rtt_best_s']:.0f} ms (now {1000 * link['rtt_s']:.0f})",
            carries,
            f"{100 * link['waiting_share']:.0f} %",
        )
    return table


def duration(time_s: float) -> str:
    """In words of one unit."""
    if time_s < 90:
        return f"{time_s:.0f} s"
    return f"{time_s / 60:.0f} min" if time_s < 5400 else f"{time_s / 3600:.0f} h"

"""What `ghostdesk status` shows of capacity: resources, booked classes, and wishes that were not granted."""

from __future__ import annotations

import time
from typing import Any

from rich.table import Table
from rich.text import Text

from ghostdesk.allocator.bookings import DESKTOPS, RESOURCE_WORDS

_SCALE = {
    "cpu_cores": (1.0, "cores"),
    "memory_bytes": (2.0**30, "GiB"),
    "gpu_share": (1.0, "GPU"),
    "network_bytes_per_s": (1e6, "MB/s"),
    "storage_bytes_per_s": (1e6, "MB/s"),
    DESKTOPS: (1.0, "desktops"),
}


def amount(resource: str, value: float | None) -> str:
    """With its unit; a dash for what is not counted or not measured."""
    if value is None:
        return "-"
    scale, unit = _SCALE[resource]
    return f"{value / scale:,.3g} {unit}" if value / scale < 1000 else f"{value / scale:,.0f} {unit}"


def capacity_tables(found: dict[str, Any]) -> list[Table]:
    """Of the parts `capacity` and `infeasible` of a status, those that have something to say."""
    told = found["capacity"]
    tables = [_rooms(told)] if told["rooms"] else []
    if told["bookings"]:
        tables.append(_bookings(told["bookings"]))
    if found["infeasible"]:
        tables.append(_infeasible(found["infeasible"]))
    return tables


def _rooms(told: dict[str, Any]) -> Table:
    title = f"Capacity: {told['desktops']} of {told['most_desktops']} desktops, {told['ghosts']} of them ghosts"
    table = Table("resource", "has", "may promise", "people", "ghosts", "for classes", "used", "free", title=title)
    for room in told["rooms"]:
        name = room["resource"]
        cells = (room[key] for key in ("has", "allowed", "people", "ghosts", "reserved", "used", "free"))
        table.add_row(RESOURCE_WORDS[name], *(amount(name, cell) for cell in cells))
    return table


def _bookings(bookings: list[dict[str, Any]]) -> Table:
    table = Table("number", "class", "for", "from", "until", "desktops", "state", title="Booked classes")
    for one in bookings:
        when = (time.strftime("%a %d %b %H:%M", time.localtime(one[key])) for key in ("start_s", "end_s"))
        taken = "" if one["state"] == "booked" else f", {one['taken']} taken"
        cells = (str(one["number"]), one["name"], one["whose"], *when, f"{one['desktops']}{taken}", one["state"])
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _infeasible(entries: list[dict[str, Any]]) -> Table:
    table = Table("wish", "short of", "asked", "free", "why not", title="Not possible now")
    for one in entries:
        name = one["resource"]
        short = (RESOURCE_WORDS.get(name, name), amount(name, one["asked"]), amount(name, one["free"]))
        many = f" ({one['count']})" if one["count"] > 1 else ""
        table.add_row(
            *(Text(cell) for cell in (one["action"] + many, *(short if name else ("", "", "")), one["reason"]))
        )
    return table

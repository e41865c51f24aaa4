"""Parking containers that run on this machine: their memory goes to swap as the local engine's does.

The API has no call for it, so it works where the control plane sees the container's processes: the server, or the
member that the container is on, is this machine. Whether it is, is looked at each time: the process that the server
names has to be in a group of the instance's name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostdesk.engines.local import memory
from ghostdesk.engines.local.reclaim import Group, NoGroup, V1Group, V2Group, reclaim
from ghostdesk.engines.protocol import PARKING, Ability
from ghostdesk.engines.turns import Facts

ELSEWHERE = "it is on another machine, whose memory the API cannot push out"
_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Payload:
    """A container's processes as this machine sees them, and the group that counts their memory."""

    pids: tuple[int, ...]
    group: Group


def group_paths(text: str) -> dict[str, str]:
    """The groups of a process by controller ("" for v2), from /proc/PID/cgroup (cgroups(7))."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number.isdecimal() and path.startswith("/") and ".." not in path.split("/"):
            found |= dict.fromkeys(controllers.split(","), path)
    return found


def is_of(path: str, instance: str) -> bool:
    """Whether a group is the instance's payload: LXC names it `lxc.payload.[PROJECT_]INSTANCE`, perhaps in others."""
    return any(
        part.startswith("lxc.payload.") and (part == f"lxc.payload.{instance}" or part.endswith(f"_{instance}"))
        for part in path.split("/")
    )


def payload_of(state: Mapping[str, Any], instance: str, cgroups: Path = _CGROUPS, proc: Path = _PROC) -> Payload | None:
    """The container's processes here; None when it is on another machine, or gone."""
    pid = int(state.get("pid") or 0)
    if pid <= 0:
        return None
    try:
        paths = group_paths((proc / str(pid) / "cgroup").read_text())
    except OSError:
        return None
    ours = {controller: path.lstrip("/") for controller, path in paths.items() if is_of(path, instance)}
    if not ours:
        return None
    places: list[tuple[Path, type[V1Group] | type[V2Group]]] = []
    if "memory" in ours:
        places.append((cgroups / "memory" / ours["memory"], V1Group))
    if "" in ours:
        places += [(cgroups / ours[""], V2Group), (cgroups / "unified" / ours[""], V2Group)]
    for place, kind in places:
        if (place / "memory.stat").exists():
            pids = _pids_in(place)
            return Payload(pids, kind(place))
    return Payload((pid,), NoGroup((pid,)))


def _pids_in(group: Path) -> tuple[int, ...]:
    found = []
    for file in sorted(group.rglob("cgroup.procs")):
        with contextlib.suppress(OSError, ValueError):
            found += [int(word) for word in file.read_text().split()]
    return tuple(found)


def park(payload: Payload) -> Facts:
    """Push its memory out to swap; it should be frozen."""
    if memory.swap_total_bytes() == 0:
        return {"reclaimed_bytes": 0.0, "why": "no swap"}
    done = reclaim(payload.group, payload.pids)
    return {
        "reclaimed_bytes": float(max(0, done.before.anonymous_bytes - done.after.anonymous_bytes)),
        "left_bytes": float(done.after.anonymous_bytes),
        "why": done.verdict.text,
    }


def call_back(pids: Sequence[int]) -> Facts:
    """Fetch its pages from swap."""
    return {"called_back_bytes": float(sum(memory.call_back(pid) for pid in pids))}


def parking_ability(*, here: bool, swap_bytes: int) -> Ability:
    """Whether parking frees memory.

    Args:
        here: whether the server is spoken to over a socket of this machine, and sees its files.
        swap_bytes: how much swap this machine has.
    """
    if not here:
        return Ability(PARKING, False, f"not over the API: {ELSEWHERE}", "Use the local engine where parking matters.")
    if swap_bytes == 0:
        return Ability(PARKING, False, "this machine has no swap", "Set parking.zram_bytes, or add swap.")
    return Ability(PARKING, True, "containers on this machine; those on other members keep their memory")

"""The machines of a server or cluster: which are there, and what they have together. The reading is pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.resources import Resources

ALONE = ""
"""The name of a server that is no cluster's member."""


@dataclass(frozen=True, slots=True)
class Member:
    """One machine.

    Args:
        name: in the cluster; empty for a server that is in none.
        online: whether the others reach it.
        status: in the server's words.
        groups: the cluster groups that it is in.
    """

    name: str
    online: bool = True
    status: str = "Online"
    groups: tuple[str, ...] = ()


def members_of(told: Sequence[Mapping[str, Any]], group: str) -> tuple[Member, ...]:
    """The members that ghosts may be placed on, from `/1.0/cluster/members?recursion=1`; all when `group` is empty."""
    found = []
    for one in told:
        groups = tuple(str(name) for name in one.get("groups") or ())
        if group and group not in groups:
            continue
        status = str(one.get("status", ""))
        found.append(Member(str(one.get("server_name", "")), status == "Online", status, groups))
    return tuple(found)


def capacity_of(resources: Mapping[str, Mapping[str, Any]]) -> Resources:
    """What the machines have together, from the answer of each to `/1.0/resources`."""
    return Resources(
        cpu_cores=sum(float(told["cpu"]["total"]) for told in resources.values()),
        memory_bytes=sum(float(told["memory"]["total"]) for told in resources.values()),
    )


def conditions_of(
    members: Sequence[Member], resources: Mapping[str, Mapping[str, Any]], troubles: Sequence[str], now_s: float
) -> HostConditions:
    """What they are like together; what is not known is told in `problems`."""
    total = sum(float(told["memory"]["total"]) for told in resources.values())
    used = sum(float(told["memory"]["used"]) for told in resources.values())
    pools = [told.get("pool") or {} for told in resources.values()]
    disk = sum(float(pool.get("total") or 0) for pool in pools)
    disk_used = sum(float(pool.get("used") or 0) for pool in pools)
    away = [f"member {member.name} is {member.status.lower()}" for member in members if not member.online]
    return HostConditions(
        now_s,
        memory_bytes=total,
        memory_available_bytes=max(total - used, 1.0) if total else 0.0,
        disk_bytes=disk,
        disk_free_bytes=max(disk - disk_used, 0.0),
        load=sum(float((told.get("load") or {}).get("Average1Min") or 0) for told in resources.values()),
        problems=("the API tells no pressure", *away, *troubles),
    )

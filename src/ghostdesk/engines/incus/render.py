"""What is asked of Incus or LXD, and what is read from its answers: pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostdesk.engines.incus.states import NO_USAGE, Usage
from ghostdesk.engines.protocol import ObservedGhost
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import GhostId, HostId, UserId, ghost_id, user_id
from ghostdesk.kernel.resources import Priority, Resources

INSIDE_UID = 1000
_KEY = "user.ghostdesk"
OWNER, TEMPLATE, POOL, AGENT_UID = f"{_KEY}.owner", f"{_KEY}.template", f"{_KEY}.pool", f"{_KEY}.agent-uid"
_PERIOD_MS = 100
_PROCESSES = 4096
ALIVE = frozenset({"Running", "Frozen", "Freezing", "Thawed"})
"""An instance on its way from one of these to another is alive, too."""
SETTLED = frozenset({"Running", "Frozen"})


@dataclass(frozen=True, slots=True)
class InstancePlan:
    """What every instance of one ghostdesk has in common.

    Args:
        pool: tells our instances from another ghostdesk's; a few letters.
        image: fingerprint of the image that they are made from.
        storage: the storage pool that their disks are in.
        network: the server's network that they are connected to; empty for none.
        run_dir: the folder whose subfolders hold the desktops' sockets; None where the servers do not see it.
        binds: folders of the host that they see read-only, at the same place.
        machines: they are virtual machines, not containers.
    """

    pool: str
    image: str
    storage: str
    network: str
    run_dir: Path | None
    binds: tuple[str, ...] = ()
    machines: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


def instance_name(pool: str, ghost: GhostId) -> str:
    """The name of a ghost's instance: letters, digits and hyphens, as host names have."""
    return f"gd-{pool}-{ghost}".replace("_", "-")


def ghost_of(pool: str, instance: Mapping[str, Any]) -> GhostId:
    """The ghost whose instance this is."""
    return GhostId(str(instance["name"]).removeprefix(instance_name(pool, GhostId(""))))


def instance_request(
    plan: InstancePlan, ghost: GhostId, template: DesktopTemplate, limits: Resources
) -> dict[str, Any]:
    """The body that makes and starts one ghost's instance (rest-api: POST /1.0/instances)."""
    devices: dict[str, dict[str, str]] = {
        "root": root_device(plan.storage, limits),
    }
    if plan.run_dir is not None:
        devices["run"] = {"type": "disk", "source": str(plan.run_dir / ghost), "path": "/run/ghost"}
    for number, folder in enumerate(plan.binds):
        devices[f"host{number}"] = {"type": "disk", "source": folder, "path": folder, "readonly": "true"}
    if plan.network and template.network == "outbound":
        devices["eth0"] = network_device(plan.network, limits)
    variables = {
        **plan.variables,
        "GHOSTDESK_GHOST": ghost,
        "GHOSTDESK_GEOMETRY": f"{template.width_px}x{template.height_px}",
    }
    kind: dict[str, str] = {"limits.processes": str(_PROCESSES), "security.nesting": "false"}
    if plan.machines:
        kind = {"security.secureboot": "false"}
    return {
        "name": instance_name(plan.pool, ghost),
        "type": "virtual-machine" if plan.machines else "container",
        "source": {"type": "image", "fingerprint": plan.image},
        "profiles": [],
        "config": {
            POOL: plan.pool,
            TEMPLATE: template.template,
            "boot.autostart": "false",
            **kind,
            **{f"environment.{name}": value for name, value in variables.items()},
            **limit_keys(limits, Priority.GHOST, machine=plan.machines),
        },
        "devices": devices,
    }


def limit_keys(limits: Resources, priority: Priority, *, machine: bool = False) -> dict[str, str]:
    """Limits as configuration keys; an empty value takes a limit away (instance options, "Resource limits").

    A virtual machine has whole processors and a fixed memory, and both are changed live: processors are plugged, memory
    is taken and given by a balloon. It has no share of a processor and no priority.
    """
    memory = str(int(limits.memory_bytes)) if limits.memory_bytes else ""
    if machine:
        return {
            "limits.cpu": str(max(1, math.ceil(limits.cpu_cores))) if limits.cpu_cores else "",
            "limits.memory": memory,
        }
    quota_ms = max(1, round(limits.cpu_cores * _PERIOD_MS))
    return {
        "limits.cpu.allowance": f"{quota_ms}ms/{_PERIOD_MS}ms" if limits.cpu_cores else "",
        "limits.cpu.priority": "10" if priority is Priority.PERSON else "0",
        "limits.memory": memory,
    }


def root_device(storage: str, limits: Resources) -> dict[str, str]:
    """The instance's own disk, with its limits in bytes a second."""
    device = {"type": "disk", "path": "/", "pool": storage}
    if limits.storage_bytes_per_s:
        rate = str(int(limits.storage_bytes_per_s))
        device |= {"limits.read": rate, "limits.write": rate}
    return device


def network_device(network: str, limits: Resources) -> dict[str, str]:
    """The instance's card, with its limits in bits a second."""
    device = {"type": "nic", "network": network, "name": "eth0"}
    if limits.network_bytes_per_s:
        rate = f"{int(limits.network_bytes_per_s * 8)}bit"
        device |= {"limits.ingress": rate, "limits.egress": rate}
    return device


def home_device(home: Path) -> dict[str, str]:
    """A user's home in the instance."""
    return {"type": "disk", "source": str(home), "path": "/home/user"}


def host_uid(instance: Mapping[str, Any], inside: int = INSIDE_UID) -> int:
    """The uid that the host sees for a uid inside, from `volatile.idmap.current`; raises `ValueError` without one."""
    for entry in json.loads(instance["config"].get("volatile.idmap.current") or "[]"):
        first = int(entry["Nsid"])
        if entry.get("Isuid") and first <= inside < first + int(entry["Maprange"]):
            return int(entry["Hostid"]) + inside - first
    raise ValueError(f"instance {instance.get('name')} maps no uid {inside}")


def observed(instance: Mapping[str, Any], pool: str, usage: Usage = NO_USAGE) -> ObservedGhost | None:
    """One instance, as listed, with what it used when that was last read; None when its name is none of ours."""
    config = instance.get("config") or {}
    try:
        ghost = ghost_id(ghost_of(pool, instance))
        owner = UserId(user_id(config[OWNER])) if config.get(OWNER) else None
    except (GhostdeskError, ValueError):
        return None
    status = str(instance.get("status", ""))
    return ObservedGhost(
        ghost,
        alive=status in ALIVE,
        frozen=status == "Frozen",
        owner=owner,
        template=str(config.get(TEMPLATE, "")),
        memory_bytes=usage.memory_bytes,
        cpu_s=usage.cpu_s,
        host=HostId(str(instance.get("location") or "none")),
    )

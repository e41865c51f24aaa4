"""What this host enforces of each resource, and how; with the mend where it does not."""

from __future__ import annotations

from collections.abc import Iterable

from ghostdesk.engines.local import io_priority
from ghostdesk.engines.local.cgroup_limits import BlockDevice
from ghostdesk.engines.local.cgroups import PINS, Hierarchies
from ghostdesk.engines.protocol import Ability

_MEND = "Run as root on a host whose cgroup tree has the {} controller (systemd: Delegate=yes)."
_CONTROLLERS = {"cpu": ("cpu", "cpu"), "memory": ("memory", "memory"), "storage": ("io", "blkio")}
"""The controller of each resource, in v2 and in v1."""
PRIORITISING_SCHEDULERS = frozenset({"mq-deadline", "bfq"})


def describe_limits(
    trees: Hierarchies, disk: BlockDevice | None, scheduler: str, shaping_problem: str, *, isolated: bool
) -> Iterable[Ability]:
    """One line a resource.

    Args:
        trees: the control groups in use.
        disk: that homes are on.
        scheduler: its I/O scheduler, see `disks.scheduler_of`.
        shaping_problem: why networks cannot be limited, see `shaping.unusable`.
        isolated: whether ghosts have no network at all.
    """
    there = {name: _controlled(trees, *kinds) for name, kinds in _CONTROLLERS.items()}
    yield _ability("limit cpu", there["cpu"], "quota and weight; ghosts yield to people at once", "cpu")
    if trees.pin:
        pinned = _controlled(trees, PINS, PINS)
        yield _ability("pin cores", pinned, "whole numbers of cores are pinned", PINS)
    yield _ability(
        "limit memory", there["memory"], "hard limit, reclaimed before it is lowered; swap held too", "memory"
    )
    if isolated:
        yield Ability("limit network", True, "ghosts have no network")
    else:
        why = shaping_problem or "token buckets on the ghost's interface, both ways"
        yield Ability("limit network", not shaping_problem, why, "apt-get install iproute2" if shaping_problem else "")
    if there["storage"] and disk is None:
        mend = "Keep state.directory on a disk of its own: ext4, xfs or btrfs on a block device."
        yield Ability("limit storage", False, "the homes are on no disk that can be limited", mend)
    else:
        held = f"bytes a second on disk {disk}" + (
            "" if trees.mode == "v2" else "; buffered writes once they are synced"
        )
        yield _ability("limit storage", there["storage"], held, "io (v1: blkio)")
    yield _storage_priority(scheduler)


def _controlled(trees: Hierarchies, v2: str, v1: str) -> bool:
    if trees.mode != "v2" or trees.unified is None:
        return v1 in trees.v1
    try:
        return v2 in (trees.unified / "cgroup.controllers").read_text().split()
    except OSError:
        return False


def _ability(name: str, available: bool, detail: str, controller: str) -> Ability:
    if available:
        return Ability(name, True, detail)
    return Ability(name, False, f"no {controller} controller that we may write", _MEND.format(controller))


def _storage_priority(scheduler: str) -> Ability:
    """Whether a disk serves people before ghosts."""
    name = "people first on disk"
    if not io_priority.supported():
        return Ability(
            name, False, "I/O priorities are not known on this architecture", "Limit ghosts' storage instead."
        )
    if scheduler in PRIORITISING_SCHEDULERS:
        return Ability(name, True, f"idle I/O class for ghosts, by {scheduler}")
    detail = f"the disk's scheduler {scheduler or '(unknown)'} serves all alike"
    return Ability(name, False, detail, "echo mq-deadline > /sys/block/DISK/queue/scheduler")

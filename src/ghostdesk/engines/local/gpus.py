"""The host's GPUs as the engine holds them: looked at again and again, handed out, never a reason to fail."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from ghostdesk.engines.local.gpu import (
    GpuGrant,
    GpuHolding,
    GpuInventory,
    GpuReading,
    GpuRefusal,
    GpuWish,
)
from ghostdesk.engines.local.gpu_assign import assign, changes, lost
from ghostdesk.engines.local.gpu_inventory import MPS_PIPE, Cards, read_gpus_now, read_inventory
from ghostdesk.engines.local.gpu_nvml import Nvml, load_nvml
from ghostdesk.engines.local.gpu_sandbox import GpuView, view
from ghostdesk.engines.local.gpu_tree import NVIDIA_PROC, Tree
from ghostdesk.engines.local.timed import TimedReader
from ghostdesk.engines.protocol import Ability

log = logging.getLogger(__name__)
LOOK_EVERY_S = 10.0
"""How often devices are looked for; the files take well under a millisecond, the library some ten."""
ANSWER_WITHIN_S = 5.0


class Gpus:
    """Reads the inventory, remembers the last one, and gives devices out of it. Safe to use from several threads.

    Args:
        tree: the host's files.
        sharing: one of `gpu.SHARINGS`.
        load: gives NVIDIA's library.
        cgroup_root: where cgroup v2 is mounted.
        mps_pipe: where an MPS daemon would be; None for its default.
        one_uid: whether all desktops run under one uid.
        monotonic: the clock that says when to look again.
    """

    def __init__(
        self,
        tree: Tree | None = None,
        *,
        sharing: str = "auto",
        load: Callable[[], Nvml] = load_nvml,
        cgroup_root: str = "/sys/fs/cgroup",
        mps_pipe: str | None = None,
        one_uid: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sharing = sharing
        self._tree = tree or Tree()
        self._load = load
        self._cgroup_root = cgroup_root
        self._mps_pipe = mps_pipe or MPS_PIPE
        self._one_uid = one_uid
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: GpuInventory | None = None
        self._looked_s = float("-inf")
        self._timed_inventory = TimedReader[Cards]("NVIDIA's library", ANSWER_WITHIN_S)
        self._timed_now = TimedReader[list[GpuReading]]("NVIDIA's library", ANSWER_WITHIN_S)
        self._told_lost: frozenset[GpuHolding] = frozenset()

    @property
    def known(self) -> GpuInventory:
        """What was last seen, without looking."""
        return self._last or GpuInventory(problem="not looked for yet")

    def look(self, holdings: Sequence[GpuHolding] = (), *, now: bool = False) -> GpuInventory:
        """Look at the devices, at most every `LOOK_EVERY_S` unless `now`; changes and lost grants are logged once."""
        with self._lock:
            at_s = self._monotonic()
            if self._last is None or now or at_s - self._looked_s >= LOOK_EVERY_S:
                found = read_inventory(
                    self._tree,
                    self._load,
                    timed=self._timed_inventory,
                    cgroup_root=self._cgroup_root,
                    mps_pipe=self._mps_pipe,
                    one_uid=self._one_uid,
                )
                for change in changes(self._last, found) if self._last is not None else ():
                    log.warning("%s", change)
                self._last, self._looked_s = found, at_s
            gone = frozenset(lost(self._last, holdings))
            for holding in gone - self._told_lost:
                log.warning("Ghost %s holds a GPU that is gone: %s", holding.ghost, holding.grant.key)
            self._told_lost = gone
            return self._last

    def choose(self, share: float, holdings: Sequence[GpuHolding]) -> GpuGrant | GpuRefusal:
        """What a new desktop gets of what was last seen; nobody else may be given anything until it is on record."""
        return assign(GpuWish(share), self.known, holdings, self.sharing)

    def view(self, grant: GpuGrant | None) -> GpuView:
        """What the desktop's sandbox is given for its grant."""
        return view(grant, self.known, hide_cards=bool(self._tree.names(NVIDIA_PROC)))

    def read_now(self) -> list[GpuReading]:
        """What each device that was last seen does now."""
        return read_gpus_now(self._tree, self.known, self._load, self._timed_now)

    def share_capacity(self) -> float:
        """How many devices' worth can be handed out, from what was last seen."""
        if self.sharing == "off":
            return 0.0
        usable = [device for device in self.known.devices if not device.problem]
        return float(sum(sum(part.share for part in device.slices) if device.mig else 1.0 for device in usable))

    def ability(self, holdings: Sequence[GpuHolding] = ()) -> Ability:
        """For people: what there is, how it can be shared, what is wrong, whose is gone."""
        inventory = self.known
        name = "gpu"
        if self.sharing == "off":
            return Ability(name, False, "switched off: ghosts draw in software", 'Set engine.gpu_sharing = "auto".')
        if not inventory.devices:
            detail = f"no GPU ({inventory.problem}): ghosts draw in software"
            return Ability(name, False, detail, "Nothing to do: applications work without one, only slower in 3D.")
        parts = [f"{device.name}: {device.problem or _ways(inventory, device.key)}" for device in inventory.devices]
        gone = [f"ghost {holding.ghost} holds one that is gone" for holding in lost(inventory, holdings)]
        usable = any(not device.problem for device in inventory.devices)
        mend = inventory.problem or ("" if usable else "Mend what is said of each device; ghosts draw in software.")
        if gone:
            mend = f"{mend} Build those ghosts anew.".strip()
        return Ability(name, usable, "; ".join([*parts, *gone]), mend)


def _ways(inventory: GpuInventory, key: str) -> str:
    device = inventory.find(key)
    assert device is not None
    memory = f"{device.memory_bytes / 2**30:.0f} GiB, " if device.memory_bytes else ""
    if device.mig:
        return f"{memory}{len(device.slices)} MIG slices"
    if device.vendor != "nvidia":
        limited = "memory limits by dmem" if device.dmem_region else "without memory limits"
        return f"{memory}whole or shared, {limited}"
    if inventory.mps is not None and inventory.mps.any_user:
        return f"{memory}whole or in MPS shares"
    why = "no MPS daemon" if inventory.mps is None else "the MPS daemon serves one user at a time"
    return f"{memory}whole or time-sliced ({why}: no guarantee)"

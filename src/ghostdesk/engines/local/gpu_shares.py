"""Who holds what of the GPUs, on record: given when a desktop is built, changed where that can be done live."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace

from ghostdesk.engines.local.cgroups import Cgroups
from ghostdesk.engines.local.gpu import (
    DRM,
    GUARANTEES,
    MIG,
    WHOLE,
    GpuGrant,
    GpuHolding,
    GpuRefusal,
    grant_from_text,
    grant_to_text,
)
from ghostdesk.engines.local.gpu_sandbox import dmem_limit
from ghostdesk.engines.local.gpus import Gpus
from ghostdesk.engines.local.records import GhostRecord, Records
from ghostdesk.engines.turns import Facts

_SLACK = 1e-3


@dataclass(frozen=True)
class GpuShares:
    """Gives and changes shares; what is held is read from the ghosts' records, so that a crash forgets nothing.

    Args:
        gpus: the host's devices.
        records: where ghosts are on record.
        cgroups: where device memory is limited.
        lock: held while somebody is given something, until it is on record.
    """

    gpus: Gpus
    records: Records
    cgroups: Cgroups
    lock: threading.Lock

    def holdings(self) -> list[GpuHolding]:
        """What every ghost holds, dead ones too until they are destroyed."""
        found = []
        for ghost in self.records.ghosts():
            record = self.records.read(ghost)
            if record is not None and (grant := grant_from_text(record.gpu)) is not None:
                found.append(GpuHolding(ghost, grant))
        return found

    def choose(self, share: float) -> tuple[GpuGrant | None, Facts]:
        """What a new desktop gets and what is told of it; the caller holds `lock` until the grant is on record.

        Never a reason not to build: without a grant the desktop draws in software.
        """
        if share == 0:
            return None, {}
        chosen = self.gpus.choose(share, self.holdings())
        if isinstance(chosen, GpuRefusal):
            return None, {"gpu": f"none: {chosen.text}", "gpu_reason": chosen.code}
        return chosen, {"gpu": chosen.text}

    def limit(self, record: GhostRecord) -> dict[str, str]:
        """Limit the device memory of a ghost whose group is made; returns why its share is not enforced, if so."""
        grant = grant_from_text(record.gpu)
        if grant is None or grant.way in {WHOLE, MIG}:
            return {}
        if grant.way != DRM:
            return {"gpu": GUARANTEES[grant.way]}
        problem = self._write_dmem(record, grant)
        return {"gpu": "the driver takes turns, without shares" + (f"; {problem}" if problem else "")}

    def _write_dmem(self, record: GhostRecord, grant: GpuGrant) -> str:
        wanted = dmem_limit(grant)
        if wanted is None:
            return "its memory is not limited: the driver has no region in the dmem controller"
        unified = self.cgroups.trees.unified
        if unified is None or self.cgroups.trees.mode != "v2":
            return "its memory is not limited: that needs cgroup v2"
        name, value = wanted
        try:
            # Never O_CREAT: a file that is not there means a controller that is not there.
            descriptor = os.open(self.cgroups.group(unified, record.ghost) / name, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return "its memory is not limited: the kernel has no dmem controller (Linux 6.14 or later)"
        except OSError as error:
            return f"its memory is not limited: {name} = {value} was refused ({error.strerror})"
        return ""

    def resize(self, record: GhostRecord, share: float) -> Facts:
        """Change the share of a living desktop, as far as that goes: the memory limit of a DRM device.

        Device nodes and environment are fixed when a desktop is built; for more, somebody moves to another ghost.
        """
        if share == 0:
            return {}
        grant = grant_from_text(record.gpu)
        if grant is None:
            text = "none: this desktop was built without a GPU; one that has it must be built"
            return {"gpu": text, "gpu_reason": "gpu-at-build"}
        if abs(grant.share - share) <= _SLACK:
            return {}
        if grant.way != DRM:
            text = f"unchanged, {grant.text}; another share needs another desktop"
            return {"gpu": text, "gpu_reason": "gpu-at-build"}
        with self.lock:
            others = sum(h.grant.share for h in self.holdings() if h.grant.key == grant.key and h.ghost != record.ghost)
            if not 0 < share <= 1 - others + _SLACK:
                text = f"unchanged, {grant.text}; {share:.0%} is not free on that device"
                return {"gpu": text, "gpu_reason": "gpu-full"}
            device = self.gpus.known.find(grant.key)
            memory = share * device.memory_bytes if device is not None else grant.memory_bytes
            changed = replace(grant, share=min(1.0, share), memory_bytes=memory)
            problem = self._write_dmem(record, changed)
            if not problem:
                latest = self.records.read(record.ghost) or record
                self.records.write(replace(latest, gpu=grant_to_text(changed)))
        return {"gpu": f"{changed.text}; {problem}" if problem else changed.text}

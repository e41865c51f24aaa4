"""Limits of one desktop, all resources together: what is enforced, and what is not and why."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ghostdesk.engines.local import io_priority, shaping
from ghostdesk.engines.local.cgroup_limits import checked
from ghostdesk.engines.local.cgroup_writer import CgroupWriter, GroupGone
from ghostdesk.engines.local.cgroups import Cgroups
from ghostdesk.engines.local.processes import descendants, is_alive
from ghostdesk.engines.local.records import GhostRecord
from ghostdesk.engines.turns import Facts
from ghostdesk.kernel.errors import EngineError
from ghostdesk.kernel.resources import NOTHING, Priority, Resources


@dataclass(frozen=True)
class Limiter:
    """Sets what a desktop may use, and whether it yields.

    Args:
        cgroups: the groups of all ghosts.
        writer: what writes into them.
        host: what this machine has; limits beyond it are cut.
        ghosts_yield: whether a ghost's priority makes any difference.
    """

    cgroups: Cgroups
    writer: CgroupWriter
    host: Resources
    ghosts_yield: bool = True

    def prepare(
        self, record: GhostRecord, limits: Resources, priority: Priority
    ) -> tuple[dict[str, str], Mapping[str, str]]:
        """Limits of a ghost whose groups are made and that has no process yet; its network has to wait for one.

        Returns:
            Why limits are not enforced, and which were cut, both by resource.
        """
        limits, cut = self._checked(limits)
        return self.writer.apply(record.ghost, limits, self.meant(priority)), cut

    def apply(self, record: GhostRecord, limits: Resources, priority: Priority) -> Facts:
        """Limits and priority of a living desktop: quick writes, and the network in one call of tc.

        Returns:
            `not_limited` (which resources) and `not_limited_why`; `cut`, what was beyond this machine; `mended`, what
            had vanished. Each only where there is something to say.

        Raises:
            EngineError: the kernel refused a limit; the one before stays in force, and nothing was killed.
        """
        limits, cut = self._checked(limits)
        priority = self.meant(priority)
        self._io_class(record, priority)
        problems, mended = self._groups(record, limits, priority)
        problems |= self.network(record, limits)
        return told(problems, cut) | ({"mended": mended} if mended else {})

    def network(self, record: GhostRecord, limits: Resources) -> dict[str, str]:
        """Limit what a ghost sends and receives; returns why it could not be, by resource."""
        if record.network == "isolated":
            return {}
        problem = shaping.shape(record.pid, limits.network_bytes_per_s)
        return {"network": problem} if problem else {}

    def let_go(self, record: GhostRecord) -> None:
        """Lift all for a ghost that is to end: dying takes CPU too, and a ghost gets none on a busy host."""
        with contextlib.suppress(EngineError, OSError):
            self.writer.apply(record.ghost, NOTHING, Priority.PERSON)

    def meant(self, priority: Priority) -> Priority:
        """The priority that counts here."""
        return priority if self.ghosts_yield else Priority.PERSON

    def _checked(self, limits: Resources) -> tuple[Resources, Mapping[str, str]]:
        try:
            return checked(limits, self.host.cpu_cores, self.host.memory_bytes)
        except ValueError as error:
            raise EngineError(f"The limits make no sense: {error}.", "A zero amount means no limit.") from None

    def _groups(self, record: GhostRecord, limits: Resources, priority: Priority) -> tuple[dict[str, str], str]:
        try:
            return self.writer.apply(record.ghost, limits, priority), ""
        except GroupGone as gone:
            # Somebody removed it (its processes then run in a group above, without limits): make it again.
            helpers = [record.network_pid] if is_alive(record.network_pid, record.network_start_ticks) else []
            self.cgroups.adopt(record.ghost, record.uid, _session(record), helpers)
            return self.writer.apply(record.ghost, limits, priority), gone.cause

    def _io_class(self, record: GhostRecord, priority: Priority) -> None:
        """Reads and writes of ghosts wait for those of people. One call, where the ghost has a uid of its own."""
        if os.geteuid() == 0 and record.uid != 0:
            io_priority.set_for_user(record.uid, priority)
        else:
            io_priority.set_for_processes(_session(record), priority)


def _session(record: GhostRecord) -> Sequence[int]:
    return [process.pid for process in descendants(record.pid) if process.state not in "ZX"]


def told(problems: Mapping[str, str], cut: Mapping[str, str]) -> Facts:
    """What is worth telling, as facts of an outcome."""
    facts: Facts = {}
    if problems:
        facts["not_limited"] = ", ".join(sorted(problems))
        facts["not_limited_why"] = "; ".join(f"{name}: {why}" for name, why in sorted(problems.items()))
    if cut:
        facts["cut"] = "; ".join(cut[name] for name in sorted(cut))
    return facts

"""Ghosts that are parked as an image: they keep their folders, groups and limits, and no process until they are woken.

Only a ghost that is nobody's may rest so: a clone of its template's image is as good as the desktop that was there,
which had nothing of anybody in it. What has an owner is frozen and its memory reclaimed, as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ghostdesk.engines.local.builder import Builder
from ghostdesk.engines.local.limits import told
from ghostdesk.engines.local.processes import boot_id
from ghostdesk.engines.local.records import GhostRecord
from ghostdesk.engines.turns import Facts
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CallBackMemory,
    Destroy,
    EngineCommand,
    Freeze,
    ReclaimMemory,
    SetLimits,
    Thaw,
)
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import NOTHING, Priority, Resources

CODE = "image"
"""Of parking: the memory is free because the ghost rests as an image."""


def template_of(record: GhostRecord) -> DesktopTemplate:
    """The template that a ghost was built from, as far as its image depends on it."""
    return DesktopTemplate(TemplateId(record.template), record.width_px, record.height_px, network=record.network)


class Resting:
    """Takes the commands that concern resting ghosts, before the engine carries out all others.

    Args:
        builder: ends and restores their sessions.
        rest: whether any more may rest; those that do are woken in any case.
    """

    def __init__(self, builder: Builder, *, rest: bool = False) -> None:
        self._builder = builder
        self._rest_wanted = rest
        self._told: dict[GhostId, tuple[Resources, Priority]] = {}

    def tidy(self, ghosts: Sequence[GhostId]) -> None:
        """After a crash: end what is left of ghosts that were about to rest, or to wake."""
        for ghost in ghosts:
            record = self._builder.records.read(ghost)
            if record is not None and record.resting and record.boot == boot_id():
                self._end(record)

    def rests(self, ghost: GhostId) -> bool:
        """Whether it has no process, and needs none."""
        record = self._builder.records.read(ghost)
        return record is not None and record.resting

    def instead(self, command: EngineCommand) -> Facts | None:
        """Carry out what means something else for a ghost that rests, or is to; None for all that does not."""
        match command:
            case Build() | SetLimits():
                self._told[command.ghost] = (command.limits, command.priority)
            case Destroy():
                self._told.pop(command.ghost, None)
                return None
        record = self._builder.records.read(command.ghost)
        if record is None or not self._builder.is_alive(record):
            return None
        if not record.resting:
            return self._rest(record) if isinstance(command, ReclaimMemory) else None
        return self._of_resting(command, record)

    def _of_resting(self, command: EngineCommand, record: GhostRecord) -> Facts | None:  # noqa: PLR0911 - one a command
        match command:
            case Build():
                return {"path": "already"}
            case SetLimits():
                problems, cut = self._builder.limiter.prepare(record, command.limits, command.priority)
                return told(problems, cut)
            case Thaw():
                return self._wake(record)
            case CallBackMemory() if command.priority is Priority.GHOST:
                facts = self._wake(record)
                self._builder.cgroups.freeze(record.ghost)
                return facts
            case AttachHome():
                self._wake(record)
                self._builder.cgroups.freeze(record.ghost)
                return None
            case Freeze() | ReclaimMemory() | CallBackMemory():
                return {"by": CODE}
        return None

    def _rest(self, record: GhostRecord) -> Facts | None:
        builder = self._builder
        nobodys = record.owner is None and not record.attached
        if not self._rest_wanted or not nobodys or builder.image_for(record, template_of(record)) is None:
            return None
        held_bytes, _ = builder.cgroups.use(record.ghost)
        resting = replace(record, resting=True)
        builder.records.write(resting)
        self._end(resting)
        return {
            "reclaimed_bytes": float(held_bytes),
            "kept_bytes": 0.0,
            "code": CODE,
            "why": "it rests as its template's image, and a clone of that wakes in its place",
        }

    def _end(self, record: GhostRecord) -> None:
        """The record says that it rests before its processes end, and forgets them afterwards: either way it is told
        from a ghost that died."""
        self._builder.end_all(record)
        ended = replace(record, pid=0, start_ticks=0, network_pid=0, network_start_ticks=0)
        self._builder.records.write(ended)

    def _wake(self, record: GhostRecord) -> Facts:
        """Restore it; raises `BuildFailed` when a cold start, which is tried where that cannot be, fails too."""
        builder = self._builder
        builder.end_all(record)
        limits, priority = self._told.get(record.ghost, (NOTHING, Priority.GHOST))
        image = builder.image_for(record, template_of(record))
        _, problem, facts = builder.come_up(record, limits, priority, image)
        return facts | told(problem, {})

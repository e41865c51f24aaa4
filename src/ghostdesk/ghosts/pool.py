"""The Ghost Desktop Manager: which ghosts exist, in which state, whose they are.

It holds the ghosts as values and moves them by `lifecycle.step`; it carries nothing out. The control plane is its only
writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ghostdesk.ghosts.events import GhostEvent
from ghostdesk.ghosts.ghost import LIVE, RUNG, Ghost, GhostState
from ghostdesk.ghosts.lifecycle import Step, step
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId

_CHOICE = (GhostState.WARM, GhostState.READY, GhostState.PARKED)
Watcher = Callable[[Ghost | None, Ghost | None], None]
"""Told of every ghost before and after a change; None where there is none."""


def _building(ghost: Ghost) -> bool:
    return ghost.owner is None and ghost.coming and ghost.pending != "wake"


def _draining(ghost: Ghost) -> bool:
    return ghost.state is GhostState.DRAINING


class GhostDesktopManager:
    """All ghosts of one control plane, in memory."""

    def __init__(self) -> None:
        self._ghosts: dict[GhostId, Ghost] = {}
        # Whose they are, so that a sign-in does not look through everybody's. Dicts keep the order in which they came.
        self._of_owner: dict[UserId | None, dict[GhostId, None]] = {None: {}}
        # Counted as they change: a batch of a thousand builds would otherwise look at all of them a thousand times.
        self._counts = {_building: 0, _draining: 0}
        self.watchers: list[Watcher] = []

    def __iter__(self) -> Iterator[Ghost]:
        return iter(tuple(self._ghosts.values()))

    def __len__(self) -> int:
        return len(self._ghosts)

    def __contains__(self, ghost: object) -> bool:
        return ghost in self._ghosts

    def ids(self) -> frozenset[GhostId]:
        """The ids of all, at this moment."""
        return frozenset(self._ghosts)

    def get(self, ghost: GhostId) -> Ghost:
        """One ghost; raises `NotFound`."""
        try:
            return self._ghosts[ghost]
        except KeyError:
            raise NotFound(f"There is no desktop {ghost}.", "It may have ended; open a new one.") from None

    def add(self, ghost: GhostId, template: TemplateId) -> Ghost:
        """A new, absent ghost."""
        if ghost in self._ghosts:
            raise ValueError(f"ghost ids are used once, and {ghost} exists")
        made = Ghost(ghost, template)
        self._put(made)
        return made

    def restore(self, ghost: Ghost) -> None:
        """Take over a ghost that was found running after a restart."""
        self._put(ghost)

    def apply(self, ghost: GhostId, event: GhostEvent, now_s: float) -> Step:
        """Move one ghost; ghosts that became absent are forgotten."""
        result = step(self.get(ghost), event, now_s)
        if result.refused:
            return result
        if result.ghost.state is GhostState.ABSENT:
            self._drop(ghost)
        else:
            self._put(result.ghost)
        return result

    def of_nobody(self) -> list[Ghost]:
        """Ghosts that belong to nobody yet, in whatever state, in the order in which they were added."""
        return [self._ghosts[ghost] for ghost in self._of_owner[None]]

    def building(self) -> int:
        """How many are being built; what is being built belongs to nobody yet."""
        return self._counts[_building]

    def draining(self) -> int:
        """How many are being removed."""
        return self._counts[_draining]

    def _note(self, before: Ghost | None, after: Ghost | None) -> None:
        for kind in self._counts:
            self._counts[kind] += (after is not None and kind(after)) - (before is not None and kind(before))
        for watcher in self.watchers:
            watcher(before, after)

    def _put(self, ghost: Ghost) -> None:
        before = self._ghosts.get(ghost.ghost)
        self._note(before, ghost)
        if before is None or before.owner != ghost.owner:
            if before is not None:
                self._disown(before)
            self._of_owner.setdefault(ghost.owner, {})[ghost.ghost] = None
        self._ghosts[ghost.ghost] = ghost

    def _drop(self, ghost: GhostId) -> None:
        gone = self._ghosts.pop(ghost)
        self._disown(gone)
        self._note(gone, None)

    def _disown(self, ghost: Ghost) -> None:
        theirs = self._of_owner[ghost.owner]
        del theirs[ghost.ghost]
        if not theirs and ghost.owner is not None:
            del self._of_owner[ghost.owner]

    def of_user(self, user: UserId) -> Ghost | None:
        """The user's own ghost on the highest rung, if they have one that is not being destroyed."""
        own = [g for g in map(self.get, self._of_owner.get(user, ())) if g.state in LIVE]
        return max(own, key=lambda g: (RUNG[g.state], g.generation, g.ghost), default=None)

    def find_instance_for(self, user: UserId, app: AppId | None = None) -> Ghost | None:
        """The best ghost to hand to `user`: their own desktop, else a warm one of theirs (with `app` hidden in it if
        possible), else any that belongs to nobody, the quickest to wake first and among equals the oldest."""
        own = self.of_user(user)
        if own is not None:
            return own
        generic = [g for g in self.of_nobody() if g.state in _CHOICE and g.pending is None]
        return min(generic, key=lambda g: (_CHOICE.index(g.state), app not in g.apps, g.since_s, g.ghost), default=None)

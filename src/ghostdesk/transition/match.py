"""Which ghost answers a sign-in or a launch, and how fast that will be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import AppId, UserId


class Path(StrEnum):
    """How a person was served; the words that the status view and the launch records use."""

    ACTIVE = "active"
    """It was their desktop already."""
    WARM = "warm"
    READY = "ready"
    PARKED = "parked"
    BUILT = "built"
    """Nothing was ready: it had to be built while they waited."""


@dataclass(frozen=True, slots=True)
class Match:
    """A ghost for a person, how they are served by it, and why."""

    ghost: Ghost | None
    path: Path
    why: str


_PATH = {
    GhostState.ACTIVE: Path.ACTIVE,
    GhostState.WARM: Path.WARM,
    GhostState.READY: Path.READY,
    GhostState.PARKED: Path.PARKED,
}


def match(ghost: Ghost | None, user: UserId, app: AppId | None = None) -> Match:
    """What `ghost`, the best at hand (or None), means for `user`."""
    if ghost is None:
        return Match(None, Path.BUILT, "no ghost was ready")
    path = _PATH[ghost.state]
    if ghost.owner is None:
        return Match(ghost, path, "a generic ghost was ready")
    hidden = f", {app} waits hidden in it" if app in ghost.apps else ""
    return Match(ghost, path, f"prepared for {user}: {ghost.reason}{hidden}" if ghost.reason else f"kept for {user}")

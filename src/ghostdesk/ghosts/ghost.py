"""A ghost: a desktop that is kept for somebody who has not come yet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ghostdesk.kernel.ids import AppId, GhostId, HostId, TemplateId, UserId
from ghostdesk.kernel.resources import NOTHING, Priority, Resources


class GhostState(StrEnum):
    """The rungs of the ladder, lowest first. Each costs more than the one below and wakes faster."""

    ABSENT = "absent"
    """Nothing of it exists."""
    CACHED = "cached"
    """The template's files are in the page cache, and a build may be under way."""
    PARKED = "parked"
    """Booted, frozen, its anonymous memory pushed out to compressed swap where there is any."""
    READY = "ready"
    """Booted, with minimal limits; generic, or bound to a user."""
    WARM = "warm"
    """Bound to a predicted user, likely applications launched, hidden, and frozen."""
    ACTIVE = "active"
    """Claimed by its user, with full resources."""
    DRAINING = "draining"
    """Being destroyed; never handed to anybody again."""


RUNG: dict[GhostState, int] = {state: rung for rung, state in enumerate(GhostState)}
LIVE = frozenset({GhostState.PARKED, GhostState.READY, GhostState.WARM, GhostState.ACTIVE})
"""States in which a real desktop runs."""


LOCAL_HOST = HostId("local")


@dataclass(frozen=True, slots=True)
class DesktopTemplate:
    """What a generic desktop is made of.

    Args:
        template: its id.
        width_px, height_px: the screen before a browser has said what it wants.
        apps: applications offered, by desktop-file id; empty offers all that are installed.
        network: "isolated" (loopback only) or "outbound" (the internet, not the host's loopback).
    """

    template: TemplateId
    width_px: int = 1280
    height_px: int = 800
    apps: tuple[AppId, ...] = ()
    network: str = "outbound"


@dataclass(frozen=True, slots=True)
class Ghost:
    """One desktop as the control plane knows it.

    Args:
        ghost: its id; never used twice.
        template: what it was built from.
        state: its rung.
        owner: whose it is; once set it never changes until the ghost is gone.
        generation: grows by one when it gets its owner; fences late answers and old tickets.
        apps: applications launched inside and hidden.
        failed_apps: applications that could not be launched ahead in it; not tried again.
        pending: the name of the command under way, if any: "build", "bind", "warm", "resize", "park", "wake", "claim",
            "destroy".
        since_s: when it entered this state.
        reason: why it is where it is, for people.
        host: where it runs.
        limits: what it was last told that it may use; a zero amount means no limit.
        priority: whether it yields to others.
    """

    ghost: GhostId
    template: TemplateId
    state: GhostState = GhostState.ABSENT
    owner: UserId | None = None
    generation: int = 0
    apps: tuple[AppId, ...] = ()
    failed_apps: tuple[AppId, ...] = ()
    pending: str | None = None
    since_s: float = 0.0
    reason: str = ""
    host: HostId = LOCAL_HOST
    limits: Resources = NOTHING
    priority: Priority = Priority.GHOST

    @property
    def coming(self) -> bool:
        """Whether it is being made, or woken; one that was just added has its build begun in this moment."""
        return self.pending in ("build", "wake") or self.state is GhostState.ABSENT

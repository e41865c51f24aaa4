"""What the control plane tells engines and agents to do, as values. Every command may be given twice with no harm."""

from __future__ import annotations

from dataclasses import dataclass, field

from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.kernel.resources import Priority, Resources


@dataclass(frozen=True, slots=True)
class CacheTemplate:
    """Bring the template's files into the page cache."""

    ghost: GhostId
    template: DesktopTemplate


@dataclass(frozen=True, slots=True)
class Build:
    """Start a generic desktop; done when its screen answers. A person's priority is for one that somebody waits for."""

    ghost: GhostId
    template: DesktopTemplate
    limits: Resources
    priority: Priority = Priority.GHOST


@dataclass(frozen=True, slots=True)
class AttachHome:
    """Attach the user's home to the running (or frozen) desktop."""

    ghost: GhostId
    user: UserId


@dataclass(frozen=True, slots=True)
class SetLimits:
    """Change what the desktop may use, and whether it yields. A zero amount means no limit."""

    ghost: GhostId
    limits: Resources
    priority: Priority = Priority.GHOST


@dataclass(frozen=True, slots=True)
class Freeze:
    """Stop every process of the desktop."""

    ghost: GhostId


@dataclass(frozen=True, slots=True)
class Thaw:
    """Let a frozen desktop run on."""

    ghost: GhostId


@dataclass(frozen=True, slots=True)
class ReclaimMemory:
    """Push the frozen desktop's anonymous memory out to swap; does nothing where there is no swap."""

    ghost: GhostId


@dataclass(frozen=True, slots=True)
class CallBackMemory:
    """Fetch pages from swap ahead of a wake; for a person who waits already, before all others."""

    ghost: GhostId
    priority: Priority = Priority.GHOST


@dataclass(frozen=True, slots=True)
class Destroy:
    """End every process of the desktop, detach the home, and remove all that was the ghost's own."""

    ghost: GhostId


EngineCommand = (
    CacheTemplate | Build | AttachHome | SetLimits | Freeze | Thaw | ReclaimMemory | CallBackMemory | Destroy
)


@dataclass(frozen=True, slots=True)
class LaunchHidden:
    """Start an application off-screen with its pixels kept, and freeze it once it has painted."""

    ghost: GhostId
    app: AppId


@dataclass(frozen=True, slots=True)
class ShowApp:
    """The fast path: put the application's window on the screen; start it first if it is not there."""

    ghost: GhostId
    app: AppId


@dataclass(frozen=True, slots=True)
class HideApp:
    """Move the application's window off-screen and freeze it."""

    ghost: GhostId
    app: AppId


@dataclass(frozen=True, slots=True)
class CloseApp:
    """Ask the application to close, then end it."""

    ghost: GhostId
    app: AppId


@dataclass(frozen=True, slots=True)
class TellBound:
    """Tell the agent that the desktop now has an owner, so that it starts to report."""

    ghost: GhostId
    user: UserId


AgentCommand = LaunchHidden | ShowApp | HideApp | CloseApp | TellBound
Command = EngineCommand | AgentCommand


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command.

    Args:
        command: the command.
        error: why it failed; None when it was done.
        duration_s: how long it took.
        facts: what is worth showing, such as ``{"path": "shown"}`` or ``{"reclaimed_bytes": 1e8}``.
    """

    command: Command
    error: GhostdeskError | None = None
    duration_s: float = 0.0
    facts: dict[str, float | str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.error is None

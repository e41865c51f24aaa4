"""The two seams that an engine fills: `Engine` for desktops, `AgentLink` for what happens inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ghostdesk.ghosts.commands import AgentCommand, EngineCommand, Outcome
from ghostdesk.ghosts.ghost import LOCAL_HOST
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.ids import GhostId, HostId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.prefetch.file_history import FileEvent
from ghostdesk.telemetry.events import UsageEvent

PARKING = "parked in swap"
"""The ability under which an engine says whether parking a ghost frees its memory here."""
FREEZING = "freeze"
"""The ability under which an engine says that it cannot freeze a desktop here; absent or true otherwise."""
RESIZING = "resize"
"""The ability under which an engine says that a running desktop keeps the limits it was built with; else as above.

A command that an ability rules out comes back with `Unsupported` and changes nothing; conformance skips it, visibly."""
DESKTOPS = "desktops"
"""The ability under which an engine says that desktops cannot run here at all; absent or true otherwise."""


@dataclass(frozen=True, slots=True)
class ObservedGhost:
    """A desktop as the engine finds it, whoever started it and before whatever crash.

    Args:
        ghost: its id.
        alive: whether its first process runs.
        frozen: whether it is frozen now.
        owner: whose home is attached, if any.
        template: the template it was built from.
        generation: not the engine's business, but kept for the control plane (see `Engine.remember`).
        memory_bytes: what it holds now; 0 when unknown.
        cpu_s: CPU seconds used so far; 0 when unknown.
        resting: whether it is kept as an image, frozen by having no process at all: its agent is back after a thaw.
        host: where it runs, of an engine with several hosts.
    """

    ghost: GhostId
    alive: bool
    frozen: bool
    owner: UserId | None
    template: str
    memory_bytes: int = 0
    cpu_s: float = 0.0
    resting: bool = False
    host: HostId = LOCAL_HOST


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a desktop can be reached on this machine.

    Args:
        rfb_path: unix socket that speaks RFB (no password: the folder's permissions are the guard).
        agent_path: unix socket on which the control plane listens for this ghost's agent.
        agent_token: the credential that the agent must show. Never logged.
        agent_uid: the uid, as the host sees it, that the agent must have.
    """

    rfb_path: str
    agent_path: str
    agent_token: str
    agent_uid: int

    def __repr__(self) -> str:
        return f"Endpoint(rfb_path={self.rfb_path!r})"


@dataclass(frozen=True, slots=True)
class Ability:
    """Something the engine can or cannot do on this host, with the mend when it cannot."""

    name: str
    available: bool
    detail: str
    mend: str = ""


class Engine(Protocol):
    """Makes, changes, finds and destroys desktops. Every call may be repeated; none blocks the event loop."""

    async def start(self) -> None:
        """Prepare the host (folders, cgroups); raises `MissingRequirement` when desktops cannot run here."""
        ...

    async def observe(self) -> Sequence[ObservedGhost]:
        """Every desktop of ours on the host, found anew from the host itself."""
        ...

    async def apply(self, command: EngineCommand) -> Outcome:
        """Carry out one command; failures come back in the outcome, never as exceptions."""
        ...

    def endpoint(self, ghost: GhostId) -> Endpoint:
        """Where the desktop answers; raises `NotFound`."""
        ...

    def abilities(self) -> Sequence[Ability]:
        """What works on this host and what does not."""
        ...

    def capacity(self) -> Resources:
        """What the host has in all."""
        ...

    async def conditions(self) -> HostConditions:
        """What the host is like now; what cannot be read is 0 and named in `problems`, and nothing is raised for it."""
        ...

    async def stop(self, *, keep_ghosts: bool) -> None:
        """Leave the host; with `keep_ghosts` false, leave nothing of ours behind."""
        ...


class AgentEvents(Protocol):
    """Receives what agents report."""

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        """A usage event; the receiver adds the user, since agents do not know whose desktop they are in."""
        ...

    def on_agent_lost(self, ghost: GhostId) -> None:
        """The agent's connection ended."""
        ...


class AgentLink(Protocol):
    """Talks to the agents inside the desktops."""

    async def connect(self, ghost: GhostId, endpoint: Endpoint) -> None:
        """Listen for the ghost's agent, if not listening already."""
        ...

    async def wait_connected(self, ghost: GhostId, timeout_s: float) -> None:
        """Wait until the agent has shown its credential; raises `AgentError` after `timeout_s`."""
        ...

    async def apply(self, command: AgentCommand) -> Outcome:
        """Have the agent do it; failures come back in the outcome."""
        ...

    async def disconnect(self, ghost: GhostId) -> None:
        """Stop listening for it."""
        ...


@dataclass(frozen=True, slots=True)
class HomeLoad:
    """Files of one home to have at hand.

    Args:
        files: paths beneath the home, most wanted first.
        most_bytes: in all; `largest_bytes`: of one file.
    """

    ghost: GhostId
    user: UserId
    files: Sequence[str]
    most_bytes: float
    largest_bytes: float


@dataclass(frozen=True, slots=True)
class HomeLoaded:
    """What came of it.

    Args:
        files: path and bytes, of each that was loaded.
        skipped: path and reason (a stable word) of the others.
        duration_s: how long it took.
        stopped: why it ended early; empty when it did not.
        remote: the kind of file system where the home is not on this host, such as "nfs"; else empty.
    """

    files: Sequence[tuple[str, int]] = ()
    skipped: Sequence[tuple[str, str]] = ()
    duration_s: float = 0.0
    stopped: str = ""
    remote: str = ""


class HomeFiles(Protocol):
    """What an engine knows of files in the homes attached to its desktops."""

    def watch(self, ghost: GhostId, user: UserId) -> str:
        """Tell of files that applications open there from now on; returns why not, empty when it does."""
        ...

    def unwatch(self, user: UserId) -> None:
        """Tell no more."""
        ...

    def forget(self, user: UserId) -> None:
        """Remove copies of a person's files that were kept to be quicker; the files themselves stay."""
        ...

    def events(self, now_s: float) -> Sequence[tuple[UserId, FileEvent]]:
        """What happened since the last call, in order; openings come two seconds late."""
        ...

    async def load(self, wish: HomeLoad) -> HomeLoaded:
        """Read files ahead, at the lowest priority. Whatever the home holds, it answers and raises nothing."""
        ...


@runtime_checkable
class HasHomeFiles(Protocol):
    """An engine whose desktops' homes can be read from here."""

    def home_files(self) -> HomeFiles:
        """The files of its homes."""
        ...


@runtime_checkable
class HasSessionLog(Protocol):
    """An engine that can tell what a desktop's session printed while it came up."""

    def session_log(self, ghost: GhostId) -> str:
        """The last lines; empty where there are none."""
        ...

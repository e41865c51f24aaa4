"""Launches on their way to the agents: the engine records what they touch, and prefetching learns that they came."""

from __future__ import annotations

from collections.abc import Callable

from ghostdesk.engines.prefetcher import Prefetcher
from ghostdesk.engines.protocol import AgentLink, Endpoint
from ghostdesk.ghosts.commands import AgentCommand, LaunchHidden, Outcome, ShowApp
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import AppId, GhostId

_STARTED = frozenset({"cold", "hidden"})
"""What agents call a start (agent.wire); "shown" and "raised" had been running."""


class LaunchWatch:
    """An `AgentLink` that passes everything on.

    Args:
        agents: the real one.
        prefetcher: the engine's part; None where it has none.
        manager: which ghosts are in use.
        launched: told of every application that was started.
    """

    def __init__(
        self,
        agents: AgentLink,
        prefetcher: Callable[[], Prefetcher | None],
        manager: GhostDesktopManager,
        launched: Callable[[AppId], None],
    ) -> None:
        self._agents, self._prefetcher, self._manager, self._launched = agents, prefetcher, manager, launched

    async def connect(self, ghost: GhostId, endpoint: Endpoint) -> None:
        """See `AgentLink`."""
        await self._agents.connect(ghost, endpoint)

    async def wait_connected(self, ghost: GhostId, timeout_s: float) -> None:
        """See `AgentLink`."""
        await self._agents.wait_connected(ghost, timeout_s)

    async def disconnect(self, ghost: GhostId) -> None:
        """See `AgentLink`."""
        await self._agents.disconnect(ghost)

    async def apply(self, command: AgentCommand) -> Outcome:
        """See `AgentLink`. What waits hidden is only shown: then nothing here costs a thing."""
        if not isinstance(command, LaunchHidden | ShowApp) or self._waits_hidden(command):
            return await self._agents.apply(command)
        prefetcher = self._prefetcher()
        if prefetcher is not None:
            prefetcher.launch_begins(command.ghost, command.app, in_use=self._in_use(command.ghost))
        started, duration_s = False, 0.0
        try:
            outcome = await self._agents.apply(command)
            started = outcome.ok and outcome.facts.get("path", "cold") in _STARTED
            duration_s = outcome.duration_s
        finally:
            if prefetcher is not None:
                prefetcher.launch_ended(command.ghost, duration_s, started=started)
        if started:
            self._launched(command.app)
        return outcome

    def _waits_hidden(self, command: LaunchHidden | ShowApp) -> bool:
        try:
            return isinstance(command, ShowApp) and command.app in self._manager.get(command.ghost).apps
        except NotFound:
            return False

    def _in_use(self, ghost: GhostId) -> bool:
        try:
            return self._manager.get(ghost).state is GhostState.ACTIVE
        except NotFound:
            return True

"""One real ghost under observation: built, its agent connected, its screen watched; destroyed at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ghostdesk.bench.rfb import RfbClient
from ghostdesk.engines.protocol import Endpoint, Engine
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy, EngineCommand, Outcome, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.kernel.resources import Priority, Resources

AGENT_TIMEOUT_S = 150.0
"""A cold start of a heavy application on a slow disk answers within this."""


class BenchError(GhostdeskError):
    """A benchmark cannot be run, or a trial did not give a figure."""

    code = "bench"


class Hub(Protocol):
    """What the benchmarks need of `control.agent_hub.AgentHub`."""

    async def connect(self, ghost: GhostId, endpoint: Endpoint) -> None:
        """Listen for the ghost's agent."""
        ...

    async def wait_connected(self, ghost: GhostId, timeout_s: float) -> None:
        """Wait until the agent has shown its credential."""
        ...

    async def call(self, ghost: GhostId, method: str, params: dict[str, Any], timeout_s: float) -> Mapping[str, Any]:
        """Call one of `agent.wire`'s methods; raises `AgentError`."""
        ...

    async def disconnect(self, ghost: GhostId) -> None:
        """Stop listening for it."""
        ...


@dataclass(frozen=True)
class Desk:
    """A ghost in use by a benchmark. `engine` and `hub` are those it was built with."""

    engine: Engine
    hub: Hub
    ghost: GhostId

    async def apply(self, command: EngineCommand) -> Outcome:
        """Have the engine do it; raises what went wrong."""
        outcome = await self.engine.apply(command)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def call(self, method: str, **params: Any) -> Mapping[str, Any]:
        """Have the agent do it; raises `AgentError`."""
        return await self.hub.call(self.ghost, method, params, AGENT_TIMEOUT_S)

    async def installed(self) -> frozenset[AppId]:
        """Ids of the applications that the agent can start."""
        catalogue = await self.call("catalogue")
        return frozenset(AppId(str(app["id"])) for app in catalogue["apps"])

    async def running(self) -> frozenset[AppId]:
        """Ids of the applications that run."""
        listing = await self.call("list")
        return frozenset(AppId(str(app["app"])) for app in listing["apps"])

    async def watch(self) -> RfbClient:
        """Connect an observer to the screen; close it yourself."""
        return await RfbClient.connect(self.engine.endpoint(self.ghost).rfb_path)


@asynccontextmanager
async def desk(
    engine: Engine,
    hub: Hub,
    ghost: GhostId,
    template: DesktopTemplate,
    user: UserId | None = None,
    *,
    in_use: bool = False,
) -> AsyncIterator[Desk]:
    """Build a ghost without limits, wait for its agent, attach the user's home if one is given; destroy it at the end.

    With `in_use` it has a person's priority, as a claimed desktop has; otherwise a ghost's, which yields to all others.
    Raises what the engine or the agent raise.
    """
    here = Desk(engine, hub, ghost)
    try:
        await here.apply(Build(ghost, template, Resources(), Priority.PERSON if in_use else Priority.GHOST))
        await hub.connect(ghost, engine.endpoint(ghost))
        await hub.wait_connected(ghost, AGENT_TIMEOUT_S)
        if user is not None:
            await here.apply(AttachHome(ghost, user))
            await here.call("bound", user=str(user), files=[])
        yield here
    finally:
        await asyncio.shield(_destroy(here))


async def _destroy(here: Desk) -> None:
    with contextlib.suppress(GhostdeskError):
        await here.engine.apply(Thaw(here.ghost))
        await here.hub.disconnect(here.ghost)
    await here.engine.apply(Destroy(here.ghost))

"""A warm desktop: an application is started, hidden, for the user who is expected, and shown when they come."""

from __future__ import annotations

from ghostdesk.engines.protocol import FREEZING
from ghostdesk.ghosts.commands import (
    AgentCommand,
    AttachHome,
    CloseApp,
    Destroy,
    Freeze,
    LaunchHidden,
    Outcome,
    ShowApp,
    TellBound,
    Thaw,
)
from ghostdesk.kernel.errors import NotFound
from ghostdesk.testing.base import Conformance
from ghostdesk.testing.checks import MakeEngine, done, has, require, seen, skip, started

_AGENT_TIMEOUT_S = 90.0
_SHOWN = frozenset({"shown", "raised"})


class WarmChecks(Conformance):
    """The engine's desktops and the agents inside them together."""

    async def test_an_application_waits_hidden_and_is_shown(self, make_engine: MakeEngine) -> None:
        """Bound, launched hidden, frozen, thawed, shown by the fast path, closed; each of it once and twice."""
        if self.remote:
            skip("the agents' sockets of this engine are on other machines")
        user = self.users[0]
        async with started(make_engine) as engine:
            agents = self.make_agents(engine)
            ghost = await self.build(engine)
            try:
                await agents.connect(ghost, engine.endpoint(ghost))
                await agents.wait_connected(ghost, _AGENT_TIMEOUT_S)
                await done(engine, AttachHome(ghost, user))
                _check(await agents.apply(TellBound(ghost, user)))
                first = await agents.apply(LaunchHidden(ghost, self.app))
                if isinstance(first.error, NotFound):
                    skip(f"the desktop has no {self.app}: {first.error.cause}")
                for outcome in (first, await agents.apply(LaunchHidden(ghost, self.app))):
                    _check(outcome)
                    require(outcome.facts.get("path") == "hidden", "an application launched hidden stays hidden")
                if has(engine, FREEZING):
                    await done(engine, Freeze(ghost))
                    require((await seen(engine, ghost)).frozen, "a warm ghost is frozen")
                    await done(engine, Thaw(ghost))
                shown = await agents.apply(ShowApp(ghost, self.app))
                _check(shown)
                require(shown.facts.get("path") in _SHOWN, f"it is shown, not started: {shown.facts.get('path')}")
                _check(await agents.apply(CloseApp(ghost, self.app)))
            finally:
                await agents.disconnect(ghost)
                await done(engine, Destroy(ghost))
            self.check_nothing_left()


def _check(outcome: Outcome) -> None:
    name = type(outcome.command).__name__
    require(isinstance(outcome.command, AgentCommand), "agents answer for agents' commands")
    require(outcome.ok, f"{name} has to succeed in a desktop that was just built, but: {outcome.error}")

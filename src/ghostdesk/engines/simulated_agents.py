"""Agents inside simulated desktops."""

from __future__ import annotations

from ghostdesk.engines.protocol import AgentEvents, Endpoint
from ghostdesk.engines.simulated_host import SIMULATED, SimulatedDesktop, SimulatedHost
from ghostdesk.ghosts.commands import AgentCommand, CloseApp, HideApp, LaunchHidden, Outcome, ShowApp, TellBound
from ghostdesk.kernel.errors import AgentError, GhostdeskError, NotFound
from ghostdesk.kernel.ids import AppId, GhostId
from ghostdesk.telemetry.events import EventKind, UsageEvent


class SimulatedAgents:
    """An `AgentLink` to the desktops of a `SimulatedHost`.

    An agent in a frozen desktop answers nothing: commands to it fail with `AgentError` after `timeout_s` of the clock's
    time, as real ones do. A bound agent reports the launches that it served.

    Args:
        host: the host of the engine beside it.
        events: who is told of launches and lost agents; may also be set later.
        timeout_s: how long an answer is waited for.
    """

    def __init__(self, host: SimulatedHost, events: AgentEvents | None = None, timeout_s: float = 5.0) -> None:
        self._host = host
        self.events = events
        self._timeout_s = timeout_s
        self._connected: set[GhostId] = set()

    async def connect(self, ghost: GhostId, endpoint: Endpoint) -> None:
        """Listen for the ghost's agent; a second call does nothing."""
        if endpoint.agent_token == self._host.endpoint(ghost).agent_token:
            self._connected.add(ghost)

    async def wait_connected(self, ghost: GhostId, timeout_s: float) -> None:
        """Return at once when the agent lives and may run; else wait in vain and raise `AgentError`."""
        if not self._answers(ghost):
            await self._host.clock.sleep(timeout_s)
        if not self._answers(ghost):
            raise AgentError(f"The simulated agent of {ghost} did not come within {timeout_s:g} s.")

    async def apply(self, command: AgentCommand) -> Outcome:
        """Do it in virtual time; failures come back in the outcome."""
        start_s = self._host.clock.now_s()
        facts = dict(SIMULATED)
        error: GhostdeskError | None = None
        try:
            async with self._host.lock(command.ghost):
                facts["path"] = await self._do(command)
        except GhostdeskError as raised:
            error = raised
        return Outcome(command, error, self._host.clock.now_s() - start_s, facts)

    async def disconnect(self, ghost: GhostId) -> None:
        """Stop listening; the agent is not told."""
        self._connected.discard(ghost)

    def die(self, ghost: GhostId) -> None:
        """A fault for tests: the agent ends, and the control plane hears of it."""
        if desktop := self._host.desktops.get(ghost):
            desktop.agent_alive = False
        if ghost in self._connected:
            self._connected.discard(ghost)
            if self.events is not None:
                self.events.on_agent_lost(ghost)

    def _answers(self, ghost: GhostId) -> bool:
        desktop = self._host.desktops.get(ghost)
        return bool(desktop and desktop.agent_alive and not desktop.frozen and ghost in self._connected)

    async def _do(self, command: AgentCommand) -> str:
        desktop = self._host.desktops.get(command.ghost)
        if desktop is None:
            raise NotFound(f"There is no simulated desktop {command.ghost}.")
        if not self._answers(command.ghost):
            await self._host.clock.sleep(self._timeout_s)
            raise AgentError(f"The simulated agent of {command.ghost} did not answer within {self._timeout_s:g} s.")
        path, name = _path(desktop, command)
        if not isinstance(command, TellBound) and self._host.apps and command.app not in self._host.apps:
            raise NotFound(f"There is no application {command.app!r} (simulated).", "Choose one of the catalogue.")
        await self._host.clock.sleep(self._host.duration_s(command.ghost, name))
        if refusal := self._host.refusal(command):
            raise refusal
        if not self._answers(command.ghost):
            raise AgentError(f"The simulated agent of {command.ghost} ended before it answered.")
        self._take_effect(desktop, command, path)
        return path

    def _take_effect(self, desktop: SimulatedDesktop, command: AgentCommand, path: str) -> None:
        match command:
            case TellBound(_, user):
                desktop.bound = user
            case LaunchHidden(_, app):
                desktop.apps.setdefault(app, "hidden")
            case ShowApp(_, app):
                desktop.apps[app] = "shown"
                self._report(desktop, EventKind.APP_LAUNCH, app, path)
            case HideApp(_, app):
                if app in desktop.apps:
                    desktop.apps[app] = "hidden"
            case CloseApp(_, app):
                if desktop.apps.pop(app, None) == "shown":
                    self._report(desktop, EventKind.APP_EXIT, app, None)

    def _report(self, desktop: SimulatedDesktop, kind: EventKind, app: AppId, detail: str | None) -> None:
        if self.events is None or desktop.bound is None:
            return
        now_s = self._host.clock.now_s()
        event = UsageEvent(now_s, kind, app=app, desktop=desktop.ghost, detail=detail, source="simulated")
        self.events.on_usage(desktop.ghost, event)


def _path(desktop: SimulatedDesktop, command: AgentCommand) -> tuple[str, str]:
    """How the command is served, and the name of the time that it takes."""
    state = None if isinstance(command, TellBound) else desktop.apps.get(command.app)
    match command:
        case LaunchHidden():
            return ("hidden", "nothing") if state else ("hidden", "cold")
        case ShowApp():
            return {"hidden": ("shown", "ShowApp"), "shown": ("raised", "ShowApp"), None: ("cold", "cold")}[state]
        case _:
            return "done", type(command).__name__

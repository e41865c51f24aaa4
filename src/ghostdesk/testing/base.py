"""What all checks share: what differs from engine to engine, and what the protocol does not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.engines.protocol import AgentLink, Endpoint, Engine
from ghostdesk.ghosts.commands import Build
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import MIB, Resources
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.testing.checks import MakeEngine, done, new_ghost, require, rfb_greeting, skip

_UNIX_PATH_BYTES = 107


class _Nobody:
    """Hears what agents report, and keeps nothing of it."""

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        """A usage event."""

    def on_agent_lost(self, ghost: GhostId) -> None:
        """The agent's connection ended."""


class Conformance:
    """Override what differs. All of it may be left as it is.

    Attributes:
        template: the `DesktopTemplate` that is built.
        limits: the first limits of each desktop.
        users: two users whose homes may be attached.
        real_desktops: False for engines that only pretend: no socket is then opened.
        remote: True where the endpoint's paths are not on this machine: they are then not looked at.
        in_memory: True where the desktops live in the memory of this process, which then cannot be killed.
        app: an application of the template, to be started hidden.
        crash_effects: the control plane is killed right before it touches the world for the n-th time: each n here.
        crash_starts: the same in a build, but counted from the first program that it starts: what runs already, and may
            not be on record yet.
        crash_after_s: and so long after a command began; for engines whose work is a conversation with a server.
        cancel_after_s: when a command is given up in the middle.
    """

    template: ClassVar[DesktopTemplate] = DesktopTemplate(TemplateId("conformance"), width_px=800, height_px=600)
    limits: ClassVar[Resources] = Resources(cpu_cores=1.0, memory_bytes=1024.0 * MIB)
    users: ClassVar[tuple[UserId, UserId]] = (UserId("ann"), UserId("bob"))
    real_desktops: ClassVar[bool] = True
    remote: ClassVar[bool] = False
    in_memory: ClassVar[bool] = False
    app: ClassVar[AppId] = AppId("org.xfce.mousepad")
    crash_effects: ClassVar[tuple[int, ...]] = (1, 3, 12)
    crash_starts: ClassVar[tuple[int, ...]] = (1,)
    crash_after_s: ClassVar[tuple[float, ...]] = ()
    cancel_after_s: ClassVar[float] = 0.1

    # What the protocol does not tell. Where one is not overridden, the tests that need it skip and say so.

    async def limits_seen(self, engine: Engine, ghost: GhostId) -> Resources | None:  # noqa: ARG002
        """The limits that hold, read from the host or the hypervisor; a field that cannot be read is -1."""
        return None

    async def kill(self, engine: Engine, ghost: GhostId) -> None:  # noqa: ARG002
        """End the desktop's first process behind the engine's back, as a crash inside it would."""
        skip("this suite was not told how to kill a desktop (override `kill`)")

    async def take_away(self, engine: Engine, ghost: GhostId) -> None:
        """Remove the desktop behind the engine's back, as an operator would by hand; by default it is killed."""
        await self.kill(engine, ghost)

    def leftovers(self) -> Sequence[str]:
        """What of the ghosts is still on the host once all were destroyed (processes, mounts, disks), in words."""
        return ()

    def broken(self) -> Mapping[str, MakeEngine]:
        """Engines whose `start` has to fail, by what is wrong: credentials, address, image, quota."""
        return {}

    def make_agents(self, engine: Engine) -> AgentLink:  # noqa: ARG002
        """What talks to the agents inside the desktops of this engine."""
        return AgentHub(_Nobody(), sources=(), sample_every_s=30.0, clock=SystemClock())

    # What all checks use.

    async def build(self, engine: Engine, ghost: GhostId | None = None) -> GhostId:
        """Build a desktop and say its id."""
        ghost = ghost or new_ghost()
        await done(engine, Build(ghost, self.template, self.limits))
        return ghost

    async def check_endpoint(self, endpoint: Endpoint) -> None:
        """The desktop has to answer where the endpoint says. Override it where RFB is not spoken on a unix socket."""
        require(len(endpoint.agent_token) >= 16, "an agent's credential has 16 characters or more")
        require(endpoint.agent_token not in repr(endpoint), "an endpoint's repr never shows the credential")
        if self.remote:
            return
        for path in (endpoint.rfb_path, endpoint.agent_path):
            require(path.startswith("/"), f"{path!r} has to be an absolute path")
            require(len(path.encode()) <= _UNIX_PATH_BYTES, f"{path!r} is too long for a unix socket")
        if self.real_desktops:
            greeting = await rfb_greeting(endpoint.rfb_path)
            require(greeting.startswith(b"RFB 003."), f"the screen has to greet in RFB, but said {greeting!r}")

    async def check_limits(self, engine: Engine, ghost: GhostId, limits: Resources) -> bool:
        """Whether the host could be asked; the CPU and the memory then have to be what was set (0 is no limit)."""
        found = await self.limits_seen(engine, ghost)
        if found is None:
            return False
        for name in ("cpu_cores", "memory_bytes"):
            wanted, is_now = getattr(limits, name), getattr(found, name)
            near = is_now < 0 or abs(is_now - wanted) <= 0.01 * max(wanted, is_now)
            require(near, f"{name} was set to {wanted:g}, and the host says {is_now:g}")
        return True

    def check_nothing_left(self) -> None:
        """Nothing of the ghosts may be on the host any more."""
        left = list(self.leftovers())
        require(not left, f"destroyed ghosts leave nothing, but there is: {', '.join(left)}")

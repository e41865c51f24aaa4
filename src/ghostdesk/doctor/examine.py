"""The examination: an engine is started, a desktop built, looked at, typed into, put to sleep, woken and destroyed.

Everything is done through `engines.protocol`, as the control plane does it, so that it holds for any engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ghostdesk.bench.desk import Hub
from ghostdesk.bench.rfb import RfbClient
from ghostdesk.bench.rfb_screen import Pixels
from ghostdesk.doctor.report import Report
from ghostdesk.doctor.steps import LeftOut, Say, Sick, Steps
from ghostdesk.engines.protocol import FREEZING, PARKING, RESIZING, Ability, Engine, HasSessionLog
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CallBackMemory,
    Destroy,
    EngineCommand,
    Freeze,
    Outcome,
    ReclaimMemory,
    SetLimits,
    Thaw,
)
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import EngineError, GhostdeskError
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import MIB, Priority, Resources

GHOST = GhostId("doctor")
USER = UserId("doctor")
_LEAST_DISK_BYTES = 64.0 * MIB
_LEAST_MEMORY_BYTES = 256.0 * MIB
_KEY_PIXELS = 3000
"""A menu is larger; a clock, a caret or an icon that lights up is not."""
_MENU_KEYS = (0xFFE3, 0xFF1B)
"""Control and Escape, which opens the desktop's menu (engines/local/desktop/rc.xml)."""
_ESCAPE = 0xFF1B
_QUIET_S = 0.5


@dataclass(frozen=True, slots=True)
class Wish:
    """What is examined.

    Args:
        engine: its name.
        desktop: whether a desktop is built.
        template, limits: what desktop.
        home: whether a home is attached; not where homes are on a server that does not know us.
        patience_s: how long a step may take, in seconds, on the busiest host.
    """

    engine: str
    template: DesktopTemplate
    limits: Resources
    desktop: bool = True
    home: bool = True
    patience_s: float = 60.0


@dataclass
class Examination:
    """One run over one engine that has not been started."""

    engine: Engine
    hub: Hub
    wish: Wish
    say: Say
    clock: Callable[[], float] = time.monotonic
    _abilities: tuple[Ability, ...] = ()
    _steps: Steps = field(init=False)
    _screen: RfbClient | None = None
    _build_began_s: float = 0.0

    def __post_init__(self) -> None:
        self._steps = Steps(self.say, self.clock)

    @property
    def left(self) -> bool:
        """Whether the engine was left with nothing of ours in it."""
        return self._steps.went_well("leave")

    async def run(self) -> Report:
        """Examine; whatever happens on the way, what was built is destroyed and the engine is left."""
        try:
            await self._steps.do("start", self._start)
            await self._steps.do("leftovers", self._leftovers, after="start")
            await self._steps.do("room", self._room, after="start")
            if self.wish.desktop:
                await self._examine_desktop()
        finally:
            await asyncio.shield(self._leave())
        return Report(self.wish.engine, self._abilities, tuple(self._steps.findings))

    async def _examine_desktop(self) -> None:
        do = self._steps.do
        try:
            await do("build", self._build, after="leftovers")
            await do("picture", self._picture, after="build")
            await do("agent", self._agent, after="build")
            await do("key", self._key, after="picture")
            await do("home", self._home, after="build")
            await do("limits", self._limits, after="build", needed=False)
            await do("freeze", self._freeze, after="build", needed=False)
            await do("park", self._park, after="freeze", needed=False)
            await do("wake", self._wake, after="freeze")
        finally:
            await asyncio.shield(do("destroy", self._destroy, after="start"))

    # The steps.

    async def _start(self) -> str:
        self._abilities = tuple(self.engine.abilities())
        await self.engine.start()
        self._abilities = tuple(self.engine.abilities())
        capacity = self.engine.capacity()
        return f"{capacity.cpu_cores:g} cores, {capacity.memory_bytes / MIB / 1024:.1f} GiB of memory"

    async def _leftovers(self) -> str:
        """What a doctor that was killed left in its own folders; nobody else's desktops are there."""
        found = [one.ghost for one in await self.engine.observe()]
        for ghost in found:
            await self._apply(Destroy(ghost))
        return f"removed {len(found)} that a killed doctor left" if found else "none"

    async def _room(self) -> str:
        told = await self.engine.conditions()
        if told.disk_bytes and told.disk_free_bytes < _LEAST_DISK_BYTES:
            raise Sick(
                f"The disk of the state folder has {told.disk_free_bytes / MIB:.0f} MiB free.",
                "Free space there, or move state.directory.",
            )
        if told.memory_bytes and told.memory_available_bytes < _LEAST_MEMORY_BYTES:
            raise Sick(
                f"Only {told.memory_available_bytes / MIB:.0f} MiB of memory are available.",
                "End what holds it, or add memory: a desktop needs some 100 MiB and its applications more.",
            )
        free = f"{told.memory_available_bytes / MIB / 1024:.1f} GiB of memory"
        return f"{free} and {told.disk_free_bytes / MIB / 1024:.1f} GiB of disk are free" if told.disk_bytes else free

    async def _build(self) -> str:
        self._build_began_s = self.clock()
        facts = (await self._apply(Build(GHOST, self.wish.template, self.wish.limits, Priority.PERSON))).facts
        found = [one for one in await self.engine.observe() if one.ghost == GHOST]
        if not found or not found[0].alive:
            raise Sick("The desktop was built, and is not alive.", "Look at the engine's own log.")
        return ", ".join(f"{name}: {value}" for name, value in facts.items() if isinstance(value, str))

    async def _picture(self) -> str:
        screen = self._screen = await RfbClient.connect(self.engine.endpoint(GHOST).rfb_path, self.wish.patience_s)
        if not await screen.wait_until(lambda: colours(screen.live()) > 1, self.wish.patience_s):
            raise Sick(
                f"The screen answers, and stayed one colour for {self.wish.patience_s:g} s.{self._log()}",
                "What draws on it does not run: see that the window manager and the panel are installed, and in the "
                "image if the engine uses one, and that they are not broken.",
            )
        width, height = screen.size
        seconds = self.clock() - self._build_began_s
        return f"{width}x{height}, painted {seconds:.2f} s after the build began"

    async def _agent(self) -> str:
        await self.hub.connect(GHOST, self.engine.endpoint(GHOST))
        await self.hub.wait_connected(GHOST, self.wish.patience_s)
        apps = (await self.hub.call(GHOST, "catalogue", {}, self.wish.patience_s)).get("apps")
        return f"{len(apps) if isinstance(apps, list) else 0} applications"

    async def _key(self) -> str:
        screen = self._require_screen()
        deadline_s = self.clock() + self.wish.patience_s
        while True:
            # The window manager may just be starting, or the menu be written: then a key goes nowhere.
            await screen.wait_quiet(_QUIET_S, max(0.0, deadline_s - self.clock()))
            before, pressed_s = screen.picture(), self.clock()
            screen.press(*_MENU_KEYS)
            if await screen.wait_until(lambda was=before: changed(was, screen.live()) >= _KEY_PIXELS, 2.0):  # type: ignore[misc]
                echo_s = self.clock() - pressed_s
                screen.press(_ESCAPE)
                return f"its menu was painted {echo_s * 1000:.0f} ms after the key"
            if self.clock() >= deadline_s:
                raise Sick(
                    f"Keys reach the screen, and nothing of them was painted for {self.wish.patience_s:g} s."
                    f"{self._log()}",
                    "See that the window manager (openbox) runs in the desktop and has our settings.",
                )

    async def _home(self) -> str:
        if not self.wish.home:
            raise LeftOut("homes are on a server, which knows nobody by the doctor's name")
        facts = (await self._apply(AttachHome(GHOST, USER))).facts
        found = [one.owner for one in await self.engine.observe() if one.ghost == GHOST]
        if found != [USER]:
            raise Sick("A home was attached, and the desktop is not seen to have it.", "Look at the engine's own log.")
        return str(facts.get("attached", ""))

    async def _limits(self) -> str:
        self._need(RESIZING)
        limits = self.wish.limits
        facts = (await self._apply(SetLimits(GHOST, limits.scaled(0.5), Priority.PERSON))).facts
        await self._apply(SetLimits(GHOST, limits, Priority.PERSON))
        return f"not limited here: {facts['not_limited']}" if facts.get("not_limited") else ""

    async def _freeze(self) -> str:
        self._need(FREEZING)
        await self._apply(Freeze(GHOST))
        if not await self._frozen():
            raise Sick("The desktop was frozen, and is not seen to be.", "Look at the engine's own log.")
        return ""

    async def _park(self) -> str:
        self._need(PARKING)
        reclaimed = (await self._apply(ReclaimMemory(GHOST))).facts.get("reclaimed_bytes", 0.0)
        await self._apply(CallBackMemory(GHOST))
        return f"{float(reclaimed) / MIB:.0f} MiB went out and came back"

    async def _wake(self) -> str:
        await self._apply(Thaw(GHOST))
        if await self._frozen():
            raise Sick("The desktop was thawed, and is still frozen.", "Look at the engine's own log.")
        async with await RfbClient.connect(self.engine.endpoint(GHOST).rfb_path, self.wish.patience_s) as screen:
            if colours(screen.live()) < 2 and self._steps.went_well("picture"):
                raise Sick("The desktop woke, and its screen is empty.", "Look at the engine's own log.")
        return "its picture is there again"

    async def _destroy(self) -> str:
        await self._disconnect()
        await self._apply(Destroy(GHOST))
        if left := [one.ghost for one in await self.engine.observe()]:
            raise Sick(f"Destroyed, and still there: {', '.join(left)}.", "`ghostdesk clean` tries again.")
        return ""

    async def _leave(self) -> None:
        await self._disconnect()
        await self._steps.do("leave", self._stop, needed=False)

    async def _stop(self) -> str:
        await self.engine.stop(keep_ghosts=False)
        return ""

    # Inside.

    async def _apply(self, command: EngineCommand) -> Outcome:
        outcome = await self.engine.apply(command)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def _frozen(self) -> bool:
        return any(one.frozen for one in await self.engine.observe() if one.ghost == GHOST)

    async def _disconnect(self) -> None:
        screen, self._screen = self._screen, None
        if screen is not None:
            await screen.close()
        with contextlib.suppress(GhostdeskError):
            await self.hub.disconnect(GHOST)

    def _need(self, ability: str) -> None:
        for one in self._abilities:
            if one.name == ability and not one.available:
                raise LeftOut(one.detail)

    def _require_screen(self) -> RfbClient:
        if self._screen is None:
            raise EngineError("The screen is not watched.")
        return self._screen

    def _log(self) -> str:
        """The end of what the desktop's session printed, where the engine can tell it."""
        told = self.engine.session_log(GHOST) if isinstance(self.engine, HasSessionLog) else ""
        return f" Its log ends: {told}" if told else ""


def colours(picture: Pixels) -> int:
    """1 for a picture of one colour, 2 for any other; 0 for none."""
    return 0 if picture.size == 0 else 1 if bool((picture == picture.flat[0]).all()) else 2


def changed(before: Pixels, now: Pixels) -> int:
    """How many pixels differ; all, if the screen has another size."""
    return now.size if before.shape != now.shape else int(np.count_nonzero(before != now))

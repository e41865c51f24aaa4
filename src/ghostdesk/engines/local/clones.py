"""Clones of running desktops, as the engine sees them: whether they can be had, when images are made, who rests."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ghostdesk.engines.local import criu
from ghostdesk.engines.local.builder import Builder
from ghostdesk.engines.local.image_maker import ImageMaker
from ghostdesk.engines.local.images import Images
from ghostdesk.engines.local.memory import swap_total_bytes
from ghostdesk.engines.local.records import Records
from ghostdesk.engines.local.resting import Resting
from ghostdesk.engines.protocol import PARKING, Ability
from ghostdesk.engines.turns import Facts
from ghostdesk.ghosts.commands import EngineCommand
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import GhostId

log = logging.getLogger(__name__)
ABILITY = "clones of running desktops"
FOLDER = "images"
SETTLE_TIMEOUT_S = 60.0
RETRY_S = 600.0
"""The host may have been too busy for a ghost's priority."""


@dataclass(frozen=True, slots=True)
class CloneOptions:
    """What the operator says of clones.

    Args:
        criu: path of the CRIU to use; empty looks for one.
        apps: applications that are launched ahead in every image, by desktop-file id.
        rest: whether parked ghosts that are nobody's rest as an image (else they are frozen and reclaimed); None is
            where there is no swap to push their memory out to.
    """

    criu: str = ""
    apps: tuple[str, ...] = ()
    rest: bool | None = None


class Clones:
    """Nothing of it does anything where clones are not wanted or cannot be had.

    Args:
        options: None where they are not wanted.
        records: the ghosts'.
    """

    def __init__(self, options: CloneOptions | None, records: Records) -> None:
        self._options = options
        self._records = records
        self._criu: criu.Criu | None = None
        self._why, self._mend = ("engine.clones is off", "") if options is None else ("not looked for yet", "")
        self._rests = False
        self._resting: Resting | None = None
        self._maker: ImageMaker | None = None
        self._stop = threading.Event()
        self._making: dict[Path, asyncio.Task[None]] = {}
        self._failed_s: dict[Path, float] = {}

    def start(self, builder: Builder) -> Builder:
        """Look what the host can; returns the builder that restores ghosts from images, where it can."""
        options = self._options
        if options is None:
            return builder
        self._criu, self._why, self._mend = criu.find(options.criu)
        if self._criu is not None and builder.cgroups.kind == "none":
            self._criu, self._why = None, "there is no control group that holds a desktop's processes together"
        if self._criu is None:
            self._resting = Resting(builder)
            return builder
        images = Images(self._records.state_dir / FOLDER, self._criu, options.apps, builder.runtime, builder.cgroups)
        builder = replace(builder, images=images)
        self._rests = swap_total_bytes() == 0 if options.rest is None else options.rest
        self._resting = Resting(builder, rest=self._rests)
        self._resting.tidy([*self._records.ghosts()])
        self._stop = threading.Event()
        self._maker = ImageMaker(builder, images, self._stop, SETTLE_TIMEOUT_S)
        self._maker.tidy()
        return builder

    def rests(self, ghost: GhostId) -> bool:
        """Whether the ghost rests as an image."""
        return self._resting is not None and self._resting.rests(ghost)

    def instead(self, command: EngineCommand) -> Facts | None:
        """See `Resting.instead`."""
        return None if self._resting is None else self._resting.instead(command)

    def make_soon(self, template: DesktopTemplate, in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        """Have the template's image made beside everything else, if there is none; one that failed is tried again with
        a desktop that is built `RETRY_S` later or more."""
        maker = self._maker
        if maker is None or self._stop.is_set():
            return
        place = maker.images.place(template)
        failed_s = self._failed_s.get(place)
        too_soon = failed_s is not None and time.monotonic() - failed_s < RETRY_S
        if too_soon or any(not task.done() for task in self._making.values()):
            return

        async def make() -> None:
            if await in_thread(lambda: maker.images.of(template)) is None:
                await in_thread(lambda: self._make(maker, template, place))

        self._making[place] = asyncio.create_task(make())

    def _make(self, maker: ImageMaker, template: DesktopTemplate, place: Path) -> None:
        try:
            maker.make(template)
        except (GhostdeskError, OSError) as error:
            self._failed_s[place] = time.monotonic()
            maker.images.problem = str(error)
            log.warning("no image of the template %s: %s", template.template, error)

    async def made(self) -> None:
        """Wait until no image is being made."""
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    async def stop(self) -> None:
        """Make no more."""
        self._stop.set()
        await self.made()
        self._making.clear()

    def tell(self, *told: Ability) -> tuple[Ability, ...]:
        """Add how it stands with clones, where they are wanted, to what the engine can; parking may need no swap."""
        if self._options is None:
            return told
        if self._criu is None:
            return (*told, Ability(ABILITY, False, self._why, self._mend or "Install CRIU 4.1 or later."))
        problem = self._maker.images.problem if self._maker is not None else ""
        detail = f"CRIU {'.'.join(map(str, self._criu.version))} ({self._criu.program})"
        own = Ability(
            ABILITY,
            not problem,
            f"{detail}; but: {problem}" if problem else detail,
            "See docs/how-to/clones.md." if problem else "",
        )
        if self._rests:
            parks = Ability(PARKING, True, "ghosts that are nobody's rest as an image of their template")
            told = tuple(parks if one.name == PARKING and not one.available else one for one in told)
        return (*told, own)

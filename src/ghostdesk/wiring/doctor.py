"""The doctor's own place beside a service that may be running: its folders, its lock, and what a killed one left.

An engine tells its desktops from another's by the state folder, so the doctor's has one of its own below the service's
and meets nothing of it. The folders exist while a doctor is at work, and after one that was killed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ghostdesk.config import HomeSettings, Settings, StateSettings
from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.doctor.examine import Examination, Wish
from ghostdesk.doctor.report import Finding, Report, State
from ghostdesk.engines.local.mounts import mounted_under
from ghostdesk.engines.local.records import clear_disk_errors
from ghostdesk.engines.protocol import Ability
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import ConfigError, EngineError, GhostdeskError
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import Resources
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.wiring.host import load_engine
from ghostdesk.wiring.store import sole_control_plane

STATE_NAME, RUN_NAME = "doctor", ".doctor"


class _Nobody:
    """Hears what the test desktop's agent reports, and keeps nothing."""

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        """A usage event."""

    def on_agent_lost(self, ghost: GhostId) -> None:
        """The agent's connection ended."""


def doctor_settings(settings: Settings) -> Settings:
    """The same engine on folders of the doctor's own, with nothing that reaches beyond its desktop.

    Homes on a server stay away, as the server knows nobody by the doctor's name; so does merging of pages, which is
    the whole host's.
    """
    state = settings.state
    own = StateSettings(state.directory / STATE_NAME, state.run_directory / RUN_NAME)
    parking = replace(settings.parking, same_page_merging=False)
    return replace(settings, state=own, homes=HomeSettings(), parking=parking)


async def examine(settings: Settings, say: Callable[[str], None], *, desktop: bool, patience_s: float) -> Report:
    """Examine the engine that the settings name; what keeps it from being looked at at all is a finding too."""
    own = doctor_settings(settings)
    try:
        with _place(settings, own) as place:
            engine = load_engine(own)
            hub = AgentHub(_Nobody(), sources=(), sample_every_s=30.0, clock=SystemClock())
            examination = Examination(engine, hub, _wish(settings, desktop, patience_s), say)
            try:
                return await examination.run()
            finally:
                place.empty = examination.left
                await hub.close()
    except GhostdeskError as error:
        told = Finding("place", State.FAILED, code=error.code, cause=error.cause, mend=error.mend)
        return Report(settings.engine.name, _abilities(settings), (told,))


async def sweep(settings: Settings, warn: Callable[[str], None]) -> int:
    """Remove what a killed doctor left; how many desktops. What cannot be is told, and does not hold up the rest."""
    own = doctor_settings(settings)
    if not (own.state.directory.exists() or own.state.run_directory.exists()):
        return 0
    try:
        with _place(settings, own) as place:
            place.empty = False
            engine = load_engine(own)
            await engine.start()
            try:
                found = len(await engine.observe())
            finally:
                await engine.stop(keep_ghosts=False)
            place.empty = True
            return found
    except GhostdeskError as error:
        warn(f"what a doctor left is still there: {error}")
        return 0


@dataclass
class _Place:
    """The doctor's folders while they are held; `empty` is whether no desktop is left in them."""

    empty: bool = True


@contextlib.contextmanager
def _place(settings: Settings, own: Settings) -> Iterator[_Place]:
    """The doctor's folders, held alone; gone afterwards, unless a desktop is still there that they tell of."""
    place = _Place()
    state, run = settings.state.directory, settings.state.run_directory
    made = [folder for folder in (state, run) if not folder.exists()]
    mine = (own.state.directory, own.state.run_directory)
    try:
        with _sole(own):
            with clear_disk_errors(own.state.directory):
                own.state.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            try:
                yield place
            finally:
                if place.empty:
                    _remove(mine)
    except OSError as error:
        raise EngineError(f"The doctor's folders cannot be used: {error}.", "See state.directory.") from error
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only if it is empty


@contextlib.contextmanager
def _sole(own: Settings) -> Iterator[None]:
    run = own.state.run_directory
    held = contextlib.ExitStack()
    try:
        held.enter_context(sole_control_plane(run))
    except ConfigError as error:
        if "already runs" in error.cause:
            raise ConfigError("Another `ghostdesk doctor` is at work here.", "Wait until it has ended.") from None
        raise
    with held:
        yield


def _remove(folders: tuple[Path, ...]) -> None:
    """Remove the folders, unless something is mounted in them: then removing would reach beyond them."""
    for folder in folders:
        if mounted := mounted_under(folder):
            raise EngineError(f"{mounted[0]} is still mounted.", "Unmount it, and run `ghostdesk clean`.")
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _wish(settings: Settings, desktop: bool, patience_s: float) -> Wish:
    engine, pool = settings.engine, settings.pool
    template = DesktopTemplate(TemplateId("doctor"), engine.width_px, engine.height_px, network=engine.network)
    limits = Resources(
        cpu_cores=pool.ghost_cpu_cores,
        memory_bytes=pool.ghost_memory_bytes,
        network_bytes_per_s=pool.ghost_network_bytes_per_s,
        storage_bytes_per_s=pool.ghost_storage_bytes_per_s,
    )
    return Wish(engine.name, template, limits, desktop, not settings.homes.remote, patience_s)


def _abilities(settings: Settings) -> tuple[Ability, ...]:
    try:
        return tuple(load_engine(settings).abilities())
    except GhostdeskError:
        return ()

"""What settings say of this host: its engine, its swap, what was learnt on it."""

from __future__ import annotations

import logging
from dataclasses import asdict
from importlib.metadata import entry_points
from typing import Any

from ghostdesk.config import EngineSettings, PowerSettings, Settings
from ghostdesk.control.model_feed import ServedModel
from ghostdesk.engines.local.clones import CloneOptions
from ghostdesk.engines.local.parking_swap import ParkingSwap
from ghostdesk.engines.local.power_meter import power_options
from ghostdesk.engines.local.remote_homes import RemoteHomes, RemoteSource
from ghostdesk.engines.protocol import Engine
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.store.file_histories import FileHistories
from ghostdesk.store.protocol import Store
from ghostdesk.telemetry.history import History
from ghostdesk.training.curves import curves_folder
from ghostdesk.training.live import LiveCurves, LiveModels
from ghostdesk.training.run import models_folder
from ghostdesk.wiring.rules import remote_source

log = logging.getLogger(__name__)


def make_profiles(settings: Settings, served: ServedModel | None = None) -> UserProfileEngine:
    """The profile engine, with the trained models where they can be used; `served` where it is read already."""
    forecast = settings.forecast
    model = served or LiveModels(models_folder(settings.state.directory)).load()
    curves = LiveCurves(curves_folder(settings.state.directory)).load()
    for problem in (model.problem, curves.problem):
        if problem:
            log.warning("%s", problem)
    return UserProfileEngine(
        forecast.timezone, forecast.horizon_s, forecast.slot_s, model.trained, curves.models, judged=model.judged
    )


HISTORY_WEEKS = 17


def recent_history(store: Store, now_s: float) -> History:
    """What forecasts are learnt from."""
    return History.of(store.events(since_s=now_s - HISTORY_WEEKS * 7 * 86_400))


def forget_copies(settings: Settings, user: UserId) -> None:
    """Have copies of a person's files that an engine keeps of a remote home removed: when nobody uses them any more."""
    RemoteHomes(RemoteSource("rclone", "{user}"), settings.state.directory / "remote-cache").forget(user, in_use=True)


def load_engine(settings: Settings) -> Engine:
    """The engine that the settings name, found by its entry point; raises `ConfigError` for an unknown one."""
    found = {point.name: point for point in entry_points(group="ghostdesk.engines")}
    point = found.get(settings.engine.name)
    if point is None or settings.engine.name == "simulated":
        known = ", ".join(sorted(set(found) - {"simulated"}))
        raise ConfigError(f"There is no engine {settings.engine.name!r}.", f"Engines here: {known}.")
    found_engine = point.load()
    if hasattr(found_engine, "from_settings"):
        made: Engine = found_engine.from_settings(
            settings.engine, settings.state.directory, settings.state.run_directory
        )
        return made
    engine: Engine = found_engine(
        settings.state.directory,
        settings.state.run_directory,
        cgroup_mode=settings.engine.cgroup_mode,
        build_timeout_s=settings.engine.build_timeout_s,
        network=settings.engine.network,
        **_local_options(settings),
    )
    return engine


def parking_swap(settings: Settings) -> ParkingSwap:
    """The swap that is ours on this host."""
    return ParkingSwap(settings.state.directory)


def _local_options(settings: Settings) -> dict[str, Any]:
    """What only some engines know: those that do not are not told, unless it is set."""
    sharing = settings.engine.gpu_sharing
    options = {
        "pin_cores": settings.engine.pin_cores,
        "same_page_merging": settings.parking.same_page_merging,
        "remote_homes": remote_source(settings) if settings.homes.remote else None,
        "gpu_sharing": sharing if sharing != "auto" else "",
        "clones": clone_options(settings.engine),
        "power": power_options(**asdict(settings.power)) if settings.power != PowerSettings() else None,
    }
    told = {name: value for name, value in options.items() if value}
    return told if settings.engine.ghosts_yield else told | {"ghosts_yield": False}


def clone_options(engine: EngineSettings) -> CloneOptions | None:
    """What the settings say of clones of running desktops; None where none are wanted."""
    if engine.clones == "off":
        return None
    rest = {"build": False, "park": True}.get(engine.clones)
    return CloneOptions(str(engine.criu or ""), engine.clone_apps, rest)


def file_histories(settings: Settings) -> FileHistories:
    """Where the names of files that people opened are kept."""
    return FileHistories(settings.state.directory / "file-history")

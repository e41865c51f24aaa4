"""What settings say of this host: its engine, database, swap, and the lock of the one control plane on its folders."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ghostdesk.config import PowerSettings, Settings
from ghostdesk.control.model_feed import ServedModel
from ghostdesk.control.turn import Turn
from ghostdesk.engines.local.parking_swap import ParkingSwap
from ghostdesk.engines.local.power_meter import power_options
from ghostdesk.engines.local.remote_homes import RemoteHomes, RemoteSource
from ghostdesk.engines.protocol import Engine
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.store.file_histories import FileHistories
from ghostdesk.store.protocol import Store
from ghostdesk.store.sqlite import open_store
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
        "power": power_options(**asdict(settings.power)) if settings.power != PowerSettings() else None,
    }
    told = {name: value for name, value in options.items() if value}
    return told if settings.engine.ghosts_yield else told | {"ghosts_yield": False}


def store_path(settings: Settings) -> Path:
    """Where the embedded database is."""
    return settings.state.directory / "ghostdesk.db"


def file_histories(settings: Settings) -> FileHistories:
    """Where the names of files that people opened are kept."""
    return FileHistories(settings.state.directory / "file-history")


def open_settings_store(settings: Settings, *, repair: bool = False) -> Store:
    """Open the database, making its folder; see `store.sqlite.open_store` for `repair` and errors."""
    if settings.state.database:
        from ghostdesk.store.postgres import PostgresStore

        return PostgresStore(settings.state.database)
    path = store_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    except OSError as error:
        raise ConfigError(
            f"{path.parent} cannot be made: {error.strerror}.", "Set state.directory to a folder you can write to."
        ) from None
    return open_store(path, now_s=time.time(), repair=repair)


def planner_turn(store: Store) -> Turn | None:
    """The right to plan, where the database is shared; None where it is a file of this machine's own."""
    make: Callable[[], Turn] | None = getattr(store, "planner_turn", None)
    return None if make is None else make()


@contextlib.contextmanager
def sole_control_plane(run_dir: Path) -> Iterator[None]:
    """Hold the lock that says that one control plane runs on these folders; raises `ConfigError` when another does."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        if (
            (found := run_dir.lstat()).st_uid != os.geteuid()
            or not stat.S_ISDIR(found.st_mode)
            or found.st_mode & 0o022
        ):
            raise ConfigError(
                f"{run_dir} is not ours alone: somebody else made it, or may write to it.",
                "Remove it, or set state.run_directory to a folder of your own.",
            )
        handle = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{run_dir} cannot be used: {error.strerror}.", "Set state.run_directory to a folder you can write to."
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(
            f"Another ghostdesk already runs with {run_dir}.",
            "Stop it, or give this one its own state.directory, state.run_directory and server.port.",
        ) from None
    try:
        yield
    finally:
        os.close(handle)

"""Files of the homes on this host: what their owners' applications open, and reading the likely ones ahead."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ghostdesk.engines.local.beneath import NotOpened, find_beneath, open_home
from ghostdesk.engines.local.filesystems import remote_kind
from ghostdesk.engines.local.home_loader import Order, Report
from ghostdesk.engines.local.home_watch import HomeEvent, HomeWatch
from ghostdesk.engines.local.mount_watch import MountWatch
from ghostdesk.engines.local.processes import PROC
from ghostdesk.engines.local.records import Records
from ghostdesk.engines.local.remote_homes import RemoteHomes, is_mounted
from ghostdesk.engines.protocol import HomeLoad, HomeLoaded
from ghostdesk.kernel.ids import AppId, GhostId, UserId, app_id
from ghostdesk.prefetch.file_history import (
    FileEvent,
    FileOpened,
    FileRemoved,
    FileRenamed,
    OpenFilter,
    checked_path,
)

log = logging.getLogger(__name__)
_LOADER = "ghostdesk.engines.local.home_loader"
_APP_VARIABLE = b"GHOSTDESK_APP="
_MOST_ENVIRONMENT_BYTES = 256 * 1024
LIMIT_S = 60.0
_GRACE_S = 5.0
_BACKUPS = ("~", ".bak", ".part", ".crdownload", ".tmp")


class LocalHomeFiles:
    """`engines.protocol.HomeFiles` for the local engine. Its calls may come from different threads.

    Args:
        records: the engine's folders and ghosts.
        limit_s: most time one load takes.
        remote: where homes are on a server.
    """

    def __init__(self, records: Records, limit_s: float = LIMIT_S, remote: RemoteHomes | None = None) -> None:
        self._records = records
        self._limit_s = limit_s
        self._remote = remote
        self._watch: HomeWatch | None = None
        self._mounts: MountWatch | None = None
        self._homes: dict[UserId, Path] = {}
        self._filters: dict[UserId, OpenFilter] = {}
        self._loading: set[UserId] = set()

    def home(self, ghost: GhostId, user: UserId) -> Path | None:
        """Where this host finds the home that is attached to the ghost; None when it is not the user's."""
        record = self._records.read(ghost)
        if record is None or record.owner != user or not record.attached:
            return None
        resting = self._records.homes_dir / user
        return resting if record.attached == "idmap" else self._records.paths(ghost).home

    def watch(self, ghost: GhostId, user: UserId) -> str:
        """See `HomeFiles.watch`."""
        home = self.home(ghost, user)
        if home is None:
            return "no home is attached"
        try:
            if is_mounted(home) and remote_kind(home):
                self._mounts = self._mounts or MountWatch()
                self._mounts.add(user, home)
            else:
                self._watch = self._watch or HomeWatch()
                self._watch.add(user, home)
        except OSError as error:
            return f"files of homes cannot be watched here: {error.strerror}"
        self._homes[user], self._filters[user] = home, OpenFilter()
        return ""

    def unwatch(self, user: UserId) -> None:
        """See `HomeFiles.unwatch`."""
        for watch in (self._watch, self._mounts):
            if watch is not None:
                watch.remove(user)
        self._homes.pop(user, None)
        self._filters.pop(user, None)

    def forget(self, user: UserId) -> None:
        """See `HomeFiles.forget`."""
        if self._remote is not None:
            ghosts = [self._records.read(ghost) for ghost in self._records.ghosts()]
            self._remote.forget(user, any(one is not None and one.owner == user for one in ghosts))

    def events(self, now_s: float) -> Sequence[tuple[UserId, FileEvent]]:
        """See `HomeFiles.events`."""
        found: list[tuple[UserId, FileEvent]] = []
        for watch in (self._watch, self._mounts):
            for event in watch.read() if watch is not None else ():
                with contextlib.suppress(ValueError):  # a name that could not be written down
                    found += self._heard(event, now_s)
        for user, waiting in list(self._filters.items()):
            found += [(user, sized) for one in waiting.take(now_s) if (sized := self._sized(user, one)) is not None]
        return found

    def _heard(self, event: HomeEvent, now_s: float) -> Sequence[tuple[UserId, FileEvent]]:
        user, path, waiting = event.user, checked_path(event.path), self._filters.get(event.user)
        if waiting is None:
            return ()
        if event.what == "opened":
            app = application_of(event.pid)
            if app is not None and not path.endswith(_BACKUPS):
                waiting.add(FileOpened(now_s, app, path, 0))
            return ()
        if event.what == "renamed" and event.new_path:
            change = FileRenamed(now_s, path, checked_path(event.new_path))
            waiting.rename(change)
            return ((user, change),)
        return ((user, FileRemoved(now_s, path)),)

    def _sized(self, user: UserId, opened: FileOpened) -> FileOpened | None:
        """With the size it has now; None for what is gone again, or no regular file."""
        try:
            home = open_home(self._homes[user])
        except (OSError, KeyError):
            return None
        try:
            handle, status = find_beneath(home, opened.path)
            os.close(handle)
        except NotOpened:
            return None
        finally:
            os.close(home)
        return FileOpened(opened.time_s, opened.app, opened.path, status.st_size)

    async def load(self, wish: HomeLoad) -> HomeLoaded:
        """See `HomeFiles.load`. One load a home at a time: while a server does not answer there is no second."""
        home = self.home(wish.ghost, wish.user)
        if home is None:
            return HomeLoaded(stopped="no home is attached")
        if wish.user in self._loading:
            return HomeLoaded(stopped="files of this home are being loaded already")
        self._loading.add(wish.user)
        order = Order(str(home), list(wish.files), wish.most_bytes, wish.largest_bytes, self._limit_s)
        begun_s = time.monotonic()
        try:
            report = await self._run(order)
        except (OSError, ValueError, TypeError) as error:
            log.warning("files of a home are not loaded: %s", error)
            return HomeLoaded(duration_s=time.monotonic() - begun_s, stopped=f"the loader failed: {error}")
        finally:
            self._loading.discard(wish.user)
        remote = await asyncio.to_thread(remote_kind, home)
        files = [(path, size) for path, size in report.loaded]
        skipped = [(path, reason) for path, reason in report.skipped]
        return HomeLoaded(files, skipped, report.duration_s, report.stopped, remote)

    async def _run(self, order: Order) -> Report:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _LOADER,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(Path(__file__).parents[3])},
        )  # fmt: skip
        try:
            async with asyncio.timeout(order.limit_s + _GRACE_S):
                told, complaint = await process.communicate(json.dumps(asdict(order)).encode())
        except TimeoutError:
            return Report(stopped="time", duration_s=order.limit_s + _GRACE_S)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                with contextlib.suppress(
                    TimeoutError
                ):  # waiting for a server that is gone, it ends when its mount does
                    async with asyncio.timeout(_GRACE_S):
                        await process.wait()
        if process.returncode != 0:
            lines = complaint.decode(errors="replace").strip().splitlines()
            raise OSError(lines[-1] if lines else f"it ended with {process.returncode}")
        return Report(**json.loads(told))


def application_of(pid: int) -> AppId | None:
    """The application that a process of a desktop belongs to, as the agent marked it; None for any other process."""
    try:
        with (PROC / str(pid) / "environ").open("rb") as file:
            variables = file.read(_MOST_ENVIRONMENT_BYTES).split(b"\0")
    except OSError:
        return None
    found = next((one[len(_APP_VARIABLE) :] for one in variables if one.startswith(_APP_VARIABLE)), b"")
    try:
        return app_id(found.decode())
    except ValueError:
        return None

"""Prefetching on this host: the recorder while applications start, and the loader ahead of their launches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ghostdesk.engines.local import pagecache
from ghostdesk.engines.local.launch_sets import LaunchSets
from ghostdesk.engines.local.launch_sets_recorder import LaunchRecorder, can_record
from ghostdesk.engines.local.page_loader import Loaded, Order
from ghostdesk.engines.local.records import GhostRecord, Records
from ghostdesk.engines.prefetcher import Prefetched
from ghostdesk.engines.protocol import Ability
from ghostdesk.kernel.ids import AppId, GhostId
from ghostdesk.prefetch.launch_set import LaunchSet
from ghostdesk.prefetch.plan import LoadLimits, PrefetchWish

log = logging.getLogger(__name__)
_LOADER = "ghostdesk.engines.local.page_loader"
CHANGED_SHARE = 0.05
"""Of a set's files; when more are not as recorded, its next launch is recorded anew."""
_TELL_S, _KILL_S = 2.0, 5.0
_SHARE_FOR_S = 60.0


class LocalPrefetcher:
    """`engines.prefetcher.Prefetcher` for the local engine.

    Args:
        records: the engine's folders and ghosts.
        processes: the pids of a ghost.
    """

    def __init__(self, records: Records, processes: Callable[[GhostRecord], Sequence[int]]) -> None:
        self.sets = LaunchSets(records.state_dir / "launch-sets")
        self.recorder = LaunchRecorder(self.sets)
        self.cannot_record = can_record()
        self._records, self._processes = records, processes
        self.launch_sets()  # read now, in a thread of the engine's, rather than on somebody's way
        self._shares: dict[AppId, tuple[float, float]] = {}

    def launch_sets(self) -> Mapping[AppId, LaunchSet]:
        """See `engines.prefetcher.Prefetcher`."""
        return {app: found for app in self.sets.apps() if (found := self.sets.of(app)) is not None}

    async def resident_share(self, app: AppId) -> float:
        """See `engines.prefetcher.Prefetcher`; estimated from some of the files, and kept for a minute."""
        now_s = time.monotonic()
        kept = self._shares.get(app)
        if kept is not None and now_s - kept[0] < _SHARE_FOR_S:
            return kept[1]
        found = self.sets.of(app)
        share = await asyncio.to_thread(pagecache.resident_share, found.files) if found is not None else 1.0
        self._shares[app] = (now_s, share)
        return share

    async def recorded(self, app: AppId) -> LaunchSet | None:
        """See `engines.prefetcher.Prefetcher`."""
        await asyncio.to_thread(self.recorder.settle)
        return self.sets.of(app)

    async def load(self, wish: PrefetchWish, limits: LoadLimits) -> Prefetched:
        """See `engines.prefetcher.Prefetcher`."""
        by_app: dict[AppId, int] = {}
        skipped: dict[str, int] = {}
        resident = files = 0
        duration_s, stopped, left_bytes = 0.0, "", wish.budget_bytes
        for app in wish.apps:
            found = self.sets.of(app)
            if found is None:
                skipped["unknown-application"] = skipped.get("unknown-application", 0) + 1
                continue
            try:
                loaded = await self._load(found, left_bytes, limits)
            except OSError as error:
                stopped = f"the loader failed: {error}"
                log.warning("files of %s are not loaded: %s", app, error)
                break
            self._shares.pop(app, None)
            by_app[app] = loaded.read_bytes
            left_bytes -= loaded.read_bytes
            resident, files, duration_s = (
                resident + loaded.resident_bytes, files + loaded.files, duration_s + loaded.duration_s
            )  # fmt: skip
            for reason, count in loaded.skipped.items():
                skipped[reason] = skipped.get(reason, 0) + count
            gone = loaded.skipped.get("changed", 0) + loaded.skipped.get("deleted", 0)
            if gone > CHANGED_SHARE * len(found.files):
                self.sets.found_changed(app)
            if loaded.stopped:
                stopped = loaded.stopped
                break
        return Prefetched(wish, by_app, resident, files, duration_s, skipped, stopped)

    async def _load(self, found: LaunchSet, budget_bytes: float, limits: LoadLimits) -> Loaded:
        """Have the loader's process do it; cancelled, it is told to end and does so within a chunk.

        Raises:
            OSError: it cannot be started, or broke.
        """
        files = [(file.path, file.size_bytes, file.mtime_ns, file.ranges) for file in found.files]
        order = Order(
            files,
            found.folders,
            found.links,
            budget_bytes,
            limits.bytes_per_s,
            limits.reserve_bytes,
            limits.most_pressure,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _LOADER,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": _import_path()},
        )  # fmt: skip
        try:
            told, complaint = await process.communicate(json.dumps(asdict(order)).encode())
        finally:
            if process.returncode is None:
                await asyncio.shield(_end(process))
        try:
            return Loaded(**json.loads(told))
        except (ValueError, TypeError):
            lines = complaint.decode(errors="replace").strip().splitlines()
            raise OSError(lines[-1] if lines else f"it ended with {process.returncode}") from None

    def launch_begins(self, ghost: GhostId, app: AppId, *, in_use: bool) -> None:
        """See `engines.prefetcher.Prefetcher`."""
        self.recorder.interrupt(ghost)
        record = self._records.read(ghost)
        if self.cannot_record or record is None or not self.sets.due(app, time.time()):
            return
        self.recorder.begin(app, ghost, lambda: self._processes(record), only_new=in_use)

    def launch_ended(self, ghost: GhostId, duration_s: float, *, started: bool) -> None:
        """See `engines.prefetcher.Prefetcher`."""
        self.recorder.end(ghost, duration_s, keep=started)

    def stop(self) -> None:
        """Record nothing more (at a stop); loads are ended by whoever awaits them."""
        self.recorder.stop()


def ability(prefetcher: LocalPrefetcher | None) -> Ability:
    """Whether launches are recorded and loaded ahead here, for people; without a `prefetcher` it is tried."""
    if os.geteuid() != 0:
        return Ability("prefetch", False, "needs root", "Run as root; without, launches read from the disk.")
    problem = can_record() if prefetcher is None else prefetcher.cannot_record
    if problem:
        return Ability("prefetch", False, problem, "Use a kernel with fanotify (CONFIG_FANOTIFY).")
    return Ability("prefetch", True, "launches are recorded by fanotify, and loaded in the disk's idle class")


def _import_path() -> str:
    """Where the loader finds this package, installed or not."""
    return str(Path(__file__).parents[3])


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_TELL_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        async with asyncio.timeout(_KILL_S):
            await process.wait()

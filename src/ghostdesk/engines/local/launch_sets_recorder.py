"""Recording what a launch in a ghost touches, while it happens: opens by fanotify, then maps and page tables.

One launch at a time, for at most `MOST_SECONDS`. It needs root; without it nothing is recorded, and nothing fails.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ghostdesk.engines.local.fanotify import Opened, OpenWatch, open_group
from ghostdesk.engines.local.launch_sets import LaunchSets
from ghostdesk.engines.local.launch_sets_touched import (
    FROM_HOST,
    links_to,
    listed_folders,
    mapped_ranges,
    touched_files,
)
from ghostdesk.engines.local.processes import PROC, TICKS_A_SECOND, read_process
from ghostdesk.kernel.ids import AppId, GhostId
from ghostdesk.prefetch.launch_set import MOST_FILES, Recording

log = logging.getLogger(__name__)
MOST_SECONDS = 60.0
LINGER_S = 2.0
"""After the window is there: what is loaded late belongs to the launch, too."""
_WAIT_S = 0.1
_STOP_WITHIN_S = 10.0


def can_record() -> str:
    """Why launches cannot be recorded here; "" when they can."""
    try:
        os.close(open_group())
    except OSError as error:
        return f"fanotify: {error.strerror}"
    return ""


class LaunchRecorder:
    """Records one launch at a time into the launch sets.

    Args:
        sets: where recordings go.
        now_s: the clock, UTC seconds.
        linger_s: how long to go on after the window is there.
    """

    def __init__(self, sets: LaunchSets, now_s: Callable[[], float] = time.time, linger_s: float = LINGER_S) -> None:
        self._sets, self._now_s, self._linger_s = sets, now_s, linger_s
        self._busy = threading.Lock()
        self._current: _Session | None = None
        self._stopped = False
        self.problem = ""
        """Why the last launch was not recorded; "" when it was."""

    def begin(self, app: AppId, ghost: GhostId, pids: Callable[[], Sequence[int]], *, only_new: bool) -> bool:
        """A launch is about to be asked for. Returns at once; whether it is recorded.

        Args:
            app, ghost: what, and where.
            pids: the ghost's processes; whatever is opened through its mounts is told of.
            only_new: leave out processes that ran before: in a desktop in use they do other work.
        """
        if self._stopped or not self._busy.acquire(blocking=False):
            return False
        session = self._current = _Session(app, ghost, pids, only_new)
        threading.Thread(target=self._record, args=(session,), name="launch-recorder", daemon=True).start()
        return True

    def end(self, ghost: GhostId, duration_s: float, *, keep: bool) -> None:
        """The launch in that ghost came to an end. Returns at once.

        Args:
            ghost: where.
            duration_s: how long until its window was there.
            keep: false when it failed, or was no launch after all.
        """
        session = self._current
        if session is not None and session.ghost == ghost:
            session.finish(duration_s if keep else None)

    def interrupt(self, ghost: GhostId) -> None:
        """Something else begins in that ghost: a launch that has its window is not listened to any longer."""
        session = self._current
        if session is not None and session.ghost == ghost:
            session.interrupted.set()

    def stop(self) -> None:
        """Record nothing more; what is under way is dropped, and nothing of it runs afterwards."""
        self._stopped = True
        session = self._current
        if session is not None:
            session.finish(None)
            session.interrupted.set()
        self.settle(_STOP_WITHIN_S)

    def settle(self, timeout_s: float = MOST_SECONDS) -> bool:
        """Wait until nothing is being recorded."""
        if not self._busy.acquire(timeout=timeout_s):
            return False
        self._busy.release()
        return True

    def _record(self, session: _Session) -> None:
        try:
            recording = session.run(self._now_s, self._linger_s)
            if recording is not None and not self._stopped:
                self._sets.add_quietly(recording)
            self.problem = session.problem
        except OSError as error:
            self.problem = f"{error.strerror or error}"
            log.warning("the launch of %s is not recorded: %s", session.app, error)
        except Exception:  # beside everything else: whatever a process table holds, launches go on
            self.problem = "a fault of the recorder"
            log.exception("the launch of %s is not recorded", session.app)
        finally:
            self._current = None
            self._busy.release()


class _Session:
    """One launch under observation."""

    def __init__(self, app: AppId, ghost: GhostId, pids: Callable[[], Sequence[int]], only_new: bool) -> None:
        self.app, self.ghost = app, ghost
        self.problem = ""
        self._pids, self._only_new = pids, only_new
        self._begun_ticks = time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS_A_SECOND
        self._ended = threading.Event()
        self.interrupted = threading.Event()
        self._duration_s: float | None = None
        self._others: frozenset[int] = frozenset()
        self._files: dict[str, tuple[int, int]] = {}
        self._folders: dict[str, tuple[int, int]] = {}

    def finish(self, duration_s: float | None) -> None:
        self._duration_s = duration_s
        self._ended.set()

    def run(self, now_s: Callable[[], float], linger_s: float) -> Recording | None:
        pids = self._pids()
        watch = _watch(pids)  # before anything else: the launch does not wait for us
        try:
            before = frozenset(pid for pid in pids if self._ran_before(pid))
            read_before = _read_from_disk(before)
            if self._only_new:
                self._others = before
            self._listen(watch, linger_s)
        finally:
            watch.close()
        if self._duration_s is None:
            self.problem = "it was no launch, or did not end in time"
            return None
        if watch.lost:
            self.problem = "the kernel's queue of opens overflowed"
            return None
        pids = [pid for pid in self._pids() if not (self._only_new and pid in before)]
        cold_bytes = max(0, _read_from_disk(pids) - (0 if self._only_new else read_before))
        files, left_out = touched_files(self._files, mapped_ranges(pids))
        folders = listed_folders(self._folders)
        log.info("%s: %d files recorded, left out: %s", self.app, len(files), Counter(left_out) or "none")
        if not files:
            self.problem = "nothing was opened"
            return None
        links = links_to(files)
        return Recording(self.app, self.ghost, now_s(), self._duration_s, cold_bytes, tuple(files), folders, links)

    def _ran_before(self, pid: int) -> bool:
        """Whether the process started before the launch was asked for; it may have been since before we looked."""
        process = read_process(pid)
        return process is not None and process.start_ticks + 1 < self._begun_ticks

    def _listen(self, watch: OpenWatch, linger_s: float) -> None:
        give_up_s = time.monotonic() + MOST_SECONDS
        until_s = give_up_s
        while time.monotonic() < until_s and not self.interrupted.is_set():
            if watch.wait(_WAIT_S):
                self._take_in(watch, give_up_s)
            if self._ended.is_set() and until_s == give_up_s:
                until_s = min(give_up_s, time.monotonic() + (linger_s if self._duration_s is not None else 0.0))
        self._take_in(watch, give_up_s)  # what was opened in time and waits in the kernel's queue

    def _take_in(self, watch: OpenWatch, give_up_s: float) -> None:
        for event in watch.read():
            self._note(event)
            if time.monotonic() > give_up_s:  # a host that opens files quicker than we hear of them
                return

    def _note(self, event: Opened) -> None:
        kept = self._folders if event.folder else self._files
        if len(kept) >= MOST_FILES or event.path in kept or not f"{event.path}/".startswith(FROM_HOST):
            return
        if event.pid in self._others:
            return
        kept[event.path] = (event.device, event.inode)


def _watch(pids: Sequence[int]) -> OpenWatch:
    """Through the mounts of whichever of its processes has a ghost's: the first may have started it from among ours."""
    problem = OSError(errno.ESRCH, "the ghost has no process")
    for pid in pids:
        try:
            return OpenWatch(pid, FROM_HOST)
        except OSError as error:
            problem = error
    raise problem


def _read_from_disk(pids: Iterable[int]) -> int:
    """Bytes that these processes, and those of their children that ended, had the disk read (/proc/PID/io)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (PROC / str(pid) / "io").read_text().splitlines():
                if line.startswith("read_bytes:"):
                    total += int(line.split()[1])
    return total

"""The launch sets of all applications on this host: one versioned JSON file each, in the state folder."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.local.beneath import NotOpened
from ghostdesk.engines.local.records import write_atomically
from ghostdesk.engines.local.safe_open import open_plain
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.launch_set import (
    MOST_RECORDINGS,
    MOST_TEXT_BYTES,
    LaunchSet,
    Recording,
    add_recording,
    from_text,
    merge,
    to_text,
)

log = logging.getLogger(__name__)
FRESH_FOR_S = 7 * 86_400.0
"""A full set is recorded again after so long: applications change what they touch with use."""
SETTLES_S = 300.0
"""Between two recordings of one application, so that a busy hour does not fill the set with one moment."""


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: tuple[int, int]
    recordings: tuple[Recording, ...]
    merged: LaunchSet | None


class LaunchSets:
    """Reads and writes them; what was read is kept until its file changes. For any thread.

    Args:
        folder: where they are; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[AppId, _Kept] = {}
        self._lock = threading.Lock()
        self._changed: set[AppId] = set()

    def path(self, app: AppId) -> Path:
        """The application's file. The id becomes a file name: nothing in it leads elsewhere."""
        return self._folder / f"{''.join(c if c.isalnum() or c in '-_.+' else '_' for c in app).lstrip('.')}.json"

    def apps(self) -> tuple[AppId, ...]:
        """Applications that have a set."""
        try:
            names = sorted(path for path in self._folder.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return ()
        return tuple(AppId(path.stem) for path in names if self.of(AppId(path.stem)) is not None)

    def of(self, app: AppId) -> LaunchSet | None:
        """What its launches have in common; None when nothing was recorded, or the file is not to be believed."""
        kept = self._read(app)
        return kept.merged if kept is not None else None

    def _read(self, app: AppId) -> _Kept | None:
        path = self.path(app)
        with self._lock:
            try:
                handle = open_plain(str(path.absolute()), own=True)
            except NotOpened as refused:
                if refused.reason != "deleted":
                    log.warning("the launch set %s is not read: %s", path, refused.reason)
                return None
            with open(handle, "rb") as stream:  # noqa: PTH123 - a descriptor
                status = path.stat()
                stamp = (status.st_size, status.st_mtime_ns)
                kept = self._kept.get(app)
                if kept is not None and kept.stamp == stamp:
                    return kept
                try:
                    recordings = from_text(stream.read(MOST_TEXT_BYTES + 1).decode())
                    recordings = tuple(each for each in recordings if each.app == app)
                except ValueError as problem:
                    log.warning("the launch set %s is not used: %s; it is recorded anew", path, problem)
                    recordings = ()
            kept = self._kept[app] = _Kept(stamp, recordings, merge(recordings))
            return kept

    def due(self, app: AppId, now_s: float) -> bool:
        """Whether a launch of it should be recorded: few recordings, old ones, or other files than recorded."""
        kept = self._read(app)
        if kept is None or kept.merged is None:
            return True
        age_s = now_s - kept.merged.recorded_s
        if not 0 <= age_s < FRESH_FOR_S or app in self._changed:
            return True
        return len(kept.recordings) < MOST_RECORDINGS and age_s >= SETTLES_S

    def found_changed(self, app: AppId) -> None:
        """Some of its files are not as they were recorded: the package was updated. Record the next launch."""
        self._changed.add(app)

    def add(self, recording: Recording) -> None:
        """Keep a recording; raises `InsufficientCapacity` when the disk is full."""
        kept = self._read(recording.app)
        recordings = add_recording(kept.recordings if kept is not None else (), recording)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self.path(recording.app), to_text(recordings))
        self._changed.discard(recording.app)
        self._read(recording.app)  # so that nobody who must not wait has to

    def add_quietly(self, recording: Recording) -> None:
        """The same, where nobody waits for it: a failure is logged."""
        try:
            self.add(recording)
        except (GhostdeskError, OSError) as error:
            log.warning("the launch of %s was recorded and cannot be kept: %s", recording.app, error)

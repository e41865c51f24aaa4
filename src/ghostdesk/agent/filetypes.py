"""Types of the files that are opened in the home: the MIME type alone, never a name, a path or a content."""

from __future__ import annotations

import os
import time

from ghostdesk.agent import inotify
from ghostdesk.agent.loop import Loop
from ghostdesk.agent.reporting import Reporter

MAX_FOLDERS = 1000
MAX_DEPTH = 6
AGAIN_AFTER_S = 60.0
"""The same type within this time is the same piece of work."""
_EVENTS = inotify.OPENED | inotify.CREATED | inotify.MOVED_IN


def mime_type(name: str) -> str:
    """The type that a file's name promises; "" when it promises none."""
    import mimetypes

    return mimetypes.guess_type(name, strict=False)[0] or ""


class FileTypes:
    """Watches the visible folders of a home."""

    def __init__(self, loop: Loop, reporter: Reporter, home: str) -> None:
        self._loop = loop
        self._reporter = reporter
        self._home = home
        self._inotify: inotify.Inotify | None = None
        self._folders: dict[int, tuple[str, int]] = {}
        self._last: dict[str, float] = {}

    def start(self) -> None:
        """Begin, or (after a home was attached) begin anew."""
        self.stop()
        try:
            self._inotify = inotify.Inotify()
        except OSError:
            return  # no watches left on this host: the source is silent, as if switched off
        self._add(self._home, 0)
        self._loop.watch(self._inotify.fileno(), self._read)

    def stop(self) -> None:
        """Watch no more."""
        if self._inotify is not None:
            self._loop.forget(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None
            self._folders.clear()

    def _add(self, folder: str, depth: int) -> None:
        if self._inotify is None or depth > MAX_DEPTH or len(self._folders) >= MAX_FOLDERS:
            return
        try:
            self._folders[self._inotify.add(folder, _EVENTS | inotify.ONLY_FOLDER)] = (folder, depth)
            with os.scandir(folder) as entries:
                inner = [e.path for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)]
        except OSError:
            return
        for path in inner:
            self._add(path, depth + 1)

    def _read(self) -> None:
        if self._inotify is None:
            return
        for watch, events, name in self._inotify.read():
            if name.startswith(".") or watch not in self._folders:
                continue
            if events & inotify.IS_FOLDER:
                folder, depth = self._folders[watch]
                if events & (inotify.CREATED | inotify.MOVED_IN):
                    self._add(f"{folder}/{name}", depth + 1)
            elif name:
                self._seen(mime_type(name))

    def _seen(self, mime: str) -> None:
        now_s = time.monotonic()
        if mime and now_s - self._last.get(mime, -AGAIN_AFTER_S) >= AGAIN_AFTER_S:
            self._last[mime] = now_s
            self._reporter.report("file-opened", detail=mime)

"""What files one person opened, with what, and when. Pure values: they stay in a private file of the host.

Names never become usage events (`EventKind.FILE_OPENED` carries a MIME type alone); see docs/designs/0003.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ghostdesk.kernel.ids import AppId

MOST_OPENS = 5000
MOST_AGE_S = 17 * 7 * 86_400.0
LONGEST_PATH_BYTES = 1024
_LISTED_FILES = 8
_LISTED_WITHIN_S = 2.0
_SAME_WITHIN_S = 60.0
_MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class FileOpened:
    """A file of the home was opened; `path` is relative to the home."""

    time_s: float
    app: AppId
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileRenamed:
    """A file or folder has another name now."""

    time_s: float
    path: str
    new_path: str


@dataclass(frozen=True, slots=True)
class FileRemoved:
    """A file or folder is gone."""

    time_s: float
    path: str


FileEvent = FileOpened | FileRenamed | FileRemoved


def checked_path(text: str) -> str:
    """A path of a file beneath a home; raises `ValueError` for one that could lead out of it, or is no plain name."""
    if not text or "\0" in text or len(text.encode(errors="surrogateescape")) > LONGEST_PATH_BYTES:
        raise ValueError("a path is 1 to 1024 bytes without a zero byte")
    if any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError("a path is relative to the home and has no empty part, . or ..")
    return text


def within(path: str, changed: str) -> bool:
    """Whether a change of `changed` (a file or folder) is one of `path`."""
    return path == changed or path.startswith(changed + "/")


def renamed(path: str, event: FileRenamed) -> str:
    """What `path` is called after the renaming."""
    return event.new_path + path[len(event.path) :] if within(path, event.path) else path


@dataclass
class FileHistory:
    """One person's openings, oldest first, under the names that the files have now; bounded in number and age."""

    opens: list[FileOpened] = field(default_factory=list)

    def apply(self, event: FileEvent) -> None:
        """Take one event over. Openings of what was removed go with it."""
        if isinstance(event, FileOpened):
            self.opens.append(event)
            if len(self.opens) > MOST_OPENS + MOST_OPENS // 4:
                del self.opens[:-MOST_OPENS]
        elif isinstance(event, FileRenamed):
            # what had the new name keeps its past: applications save by renaming a new file onto the old one
            self.opens = [replace(one, path=renamed(one.path, event)) for one in self.opens]
        else:
            self.opens = [one for one in self.opens if not within(one.path, event.path)]

    def bound(self, now_s: float) -> None:
        """Drop what is too old or too much."""
        self.opens = [one for one in self.opens if now_s - one.time_s <= MOST_AGE_S][-MOST_OPENS:]


class OpenFilter:
    """Tells a person's opening of a file from a program that reads through a folder.

    A file dialog, a thumbnailer or a search opens many files of one folder within a moment; a person opens few. So an
    opening waits two seconds: if by then the same application opened more than eight files of the folder, all of them
    are dropped. The same file again within a minute is the same piece of work.
    """

    def __init__(self) -> None:
        self._waiting: list[FileOpened] = []
        self._listed_until: dict[tuple[AppId, str], float] = {}
        self._last: dict[tuple[AppId, str], float] = {}

    def add(self, event: FileOpened) -> None:
        """Something was opened; events come in the order of time."""
        folder = (event.app, _folder(event.path))
        listed = event.time_s < self._listed_until.get(folder, float("-inf"))
        if not listed:
            self._waiting.append(event)
            since_s = event.time_s - _LISTED_WITHIN_S
            near = {
                one.path for one in self._waiting if (one.app, _folder(one.path)) == folder and one.time_s >= since_s
            }
            listed = len(near) > _LISTED_FILES
        if len(self._waiting) > _MOST_WAITING:  # a program that reads through everything
            self._waiting.clear()
        if listed:
            self._waiting = [one for one in self._waiting if (one.app, _folder(one.path)) != folder]
            self._listed_until[folder] = event.time_s + _LISTED_WITHIN_S

    def rename(self, event: FileRenamed) -> None:
        """What waits has another name now: applications save by writing a new file and renaming it."""
        self._waiting = [replace(one, path=renamed(one.path, event)) for one in self._waiting]

    def take(self, now_s: float) -> Iterator[FileOpened]:
        """The openings of a person that have waited long enough."""
        ripe = [one for one in self._waiting if one.time_s <= now_s - _LISTED_WITHIN_S]
        self._waiting = [one for one in self._waiting if one.time_s > now_s - _LISTED_WITHIN_S]
        self._listed_until = {key: until_s for key, until_s in self._listed_until.items() if until_s > now_s}
        self._last = {key: last_s for key, last_s in self._last.items() if now_s - last_s < _SAME_WITHIN_S * 2}
        for one in ripe:
            key = (one.app, one.path)
            if one.time_s - self._last.get(key, float("-inf")) >= _SAME_WITHIN_S:
                self._last[key] = one.time_s
                yield one


def sizes(opens: Iterable[FileOpened]) -> dict[str, int]:
    """The size of each file when it was opened last."""
    return {one.path: one.size_bytes for one in opens}


def _folder(path: str) -> str:
    return path.rpartition("/")[0]

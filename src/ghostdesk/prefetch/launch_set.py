"""What a launch of an application touches of the host's disk, as values: recordings, and the set they agree on. Pure.

A recording holds the files of one real launch with the byte ranges that were in the page cache after it. On a host in
use that is more than the launch needed, as other programs' pages are there too; what most of several recordings have in
common is what the launch itself needs, so a set is their majority, range by range.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ghostdesk.kernel.ids import AppId

SCHEMA = "ghostdesk.launch-sets/1"
PAGE_BYTES = 4096
"""Ranges begin and end on multiples of this; kernels with larger pages round them up themselves."""
CLOSE_GAPS_BYTES = 32 * 1024
"""Holes smaller than this are read with the rest: one request costs a slow disk more than a few pages."""
MOST_RECORDINGS = 5
MOST_FILES, MOST_FOLDERS, MOST_RANGES = 20_000, 5_000, 512
MOST_TEXT_BYTES = 64 * 1024 * 1024
LARGEST_FILE_BYTES = 4 * 1024**3
"""A file larger than this is no part of an application."""

Range = tuple[int, int]
"""First byte and the byte after the last."""


@dataclass(frozen=True, slots=True)
class TouchedFile:
    """A file of the host and what of it was in the page cache.

    Args:
        path: absolute and without symbolic links: links of packages are resolved when it is recorded.
        size_bytes, mtime_ns: as it was; with others it is another file.
        ranges: rising, apart, page by page; the last may end at the file's size.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    ranges: tuple[Range, ...]

    @property
    def touched_bytes(self) -> int:
        """Bytes of all ranges."""
        return sum(end - start for start, end in self.ranges)


@dataclass(frozen=True, slots=True)
class Recording:
    """One launch of one application.

    Args:
        app: which.
        ghost: in which ghost; only the last recording of a ghost counts, so that one desktop cannot outvote others.
        recorded_s: when, UTC seconds.
        duration_s: from the call until its window was there.
        cold_bytes: bytes that came from the disk during the launch; 0 when all was cached.
        files: what was touched.
        folders: what was listed.
        links: symbolic links to the files, in their folders: names by which they may have been opened.
    """

    app: AppId
    ghost: str
    recorded_s: float
    duration_s: float
    cold_bytes: int
    files: tuple[TouchedFile, ...]
    folders: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LaunchSet:
    """What launches of an application have in common.

    Args:
        app: which.
        recordings: of how many launches.
        recorded_s: when the last one was, UTC seconds.
        files, folders, links: what most of them touched.
        seconds_saved: how much longer its launches took from the disk than from memory, as they were recorded; None
            where both were not seen.
    """

    app: AppId
    recordings: int
    recorded_s: float
    files: tuple[TouchedFile, ...]
    folders: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    seconds_saved: float | None = None

    @property
    def bytes_total(self) -> int:
        """Bytes of all ranges of all files."""
        return sum(file.touched_bytes for file in self.files)


def closed(ranges: Iterable[Range], gap_bytes: int = CLOSE_GAPS_BYTES, most: int = MOST_RANGES) -> tuple[Range, ...]:
    """The same ranges in order, those that touch or lie at most `gap_bytes` apart joined; then, where they are still
    more than `most`, the smallest gaps closed."""
    joined: list[list[int]] = []
    for start, end in sorted(ranges):
        if end <= start:
            continue
        if joined and start <= joined[-1][1] + gap_bytes:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    if len(joined) > most:
        gaps = sorted(b[0] - a[1] for a, b in pairwise(joined))
        return closed([(a, b) for a, b in joined], gaps[len(joined) - most - 1], most)
    return tuple((start, end) for start, end in joined)


def majority(voters: Sequence[Sequence[Range]], wanted: int) -> tuple[Range, ...]:
    """The bytes that at least `wanted` of the voters have."""
    edges: Counter[int] = Counter()
    for ranges in voters:
        for start, end in closed(ranges, 0, 1 << 30):
            edges[start] += 1
            edges[end] -= 1
    held, since, found = 0, 0, []
    for place in sorted(edges):
        before, held = held, held + edges[place]
        if before < wanted <= held:
            since = place
        elif held < wanted <= before:
            found.append((since, place))
    return closed(found, 0, 1 << 30)


def add_recording(known: Sequence[Recording], new: Recording) -> tuple[Recording, ...]:
    """The recordings to keep, newest first: the latest of each ghost, at most `MOST_RECORDINGS`."""
    others = (each for each in sorted(known, key=lambda r: -r.recorded_s) if each.ghost != new.ghost)
    return (new, *others)[:MOST_RECORDINGS]


def merge(recordings: Sequence[Recording]) -> LaunchSet | None:
    """What more than half of the recordings touched, as the files are in the newest that has them; None for none.

    A file whose size or time changed since (the package was updated) counts as it was seen last, from those recordings
    alone that saw it so: after an update its first recording decides.
    """
    ordered = sorted(recordings, key=lambda r: -r.recorded_s)
    if not ordered:
        return None
    newest: dict[str, TouchedFile] = {}
    votes: dict[str, list[TouchedFile]] = {}
    since: dict[str, int] = {}
    changed = set()
    for number, recording in enumerate(ordered):
        for file in recording.files:
            latest = newest.setdefault(file.path, file)
            if (file.size_bytes, file.mtime_ns) == (latest.size_bytes, latest.mtime_ns):
                votes.setdefault(file.path, []).append(file)
                since[file.path] = number
            else:
                changed.add(file.path)
    files = []
    for path, same in votes.items():
        # Launches from before this version of the file was there have no say in whether it belongs.
        voters = since[path] + 1 if path in changed else len(ordered)
        ranges = closed(majority([file.ranges for file in same], voters // 2 + 1))
        if ranges:
            files.append(TouchedFile(path, newest[path].size_bytes, newest[path].mtime_ns, ranges))
    folders = _common([recording.folders for recording in ordered])
    links = _common([recording.links for recording in ordered])
    order = {file.path: index for index, file in enumerate(ordered[0].files)}
    files.sort(key=lambda file: (order.get(file.path, len(order)), file.path))
    seconds_saved = _seconds_saved(ordered)
    newest_s = ordered[0].recorded_s
    return LaunchSet(ordered[0].app, len(ordered), newest_s, tuple(files), folders, links, seconds_saved)


def _common(voters: Sequence[Sequence[str]]) -> tuple[str, ...]:
    counts = Counter(name for names in voters for name in set(names))
    return tuple(sorted(name for name, count in counts.items() if count > len(voters) // 2))


def _seconds_saved(recordings: Sequence[Recording]) -> float | None:
    """The slowest launch that read from the disk against the quickest that read next to nothing."""
    few = 0.02 * max(sum(f.touched_bytes for f in r.files) for r in recordings)
    warm = [r.duration_s for r in recordings if r.cold_bytes <= few]
    cold = [r.duration_s for r in recordings if r.cold_bytes > few]
    return max(0.0, max(cold) - min(warm)) if warm and cold else None


def to_text(recordings: Sequence[Recording]) -> str:
    """The recordings as a JSON file."""
    return json.dumps({"schema": SCHEMA, "recordings": [_plain(recording) for recording in recordings]})


def _plain(recording: Recording) -> dict[str, Any]:
    return {
        "app": recording.app,
        "ghost": recording.ghost,
        "recorded_s": recording.recorded_s,
        "duration_s": recording.duration_s,
        "cold_bytes": recording.cold_bytes,
        "files": [[f.path, f.size_bytes, f.mtime_ns, [list(r) for r in f.ranges]] for f in recording.files],
        "folders": list(recording.folders),
        "links": list(recording.links),
    }


def from_text(text: str) -> tuple[Recording, ...]:
    """Read such a file. Raises `ValueError`, with what is wrong, for anything that `to_text` would not have written."""
    if len(text) > MOST_TEXT_BYTES:
        raise ValueError(f"larger than {MOST_TEXT_BYTES} bytes")
    try:
        table = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(table, dict) or table.get("schema") != SCHEMA:
        raise ValueError(f"not of schema {SCHEMA}")
    rows = table.get("recordings")
    if not isinstance(rows, list) or len(rows) > MOST_RECORDINGS:
        raise ValueError("no list of recordings, or too many")
    return tuple(_recording(row) for row in rows)


def _recording(row: Any) -> Recording:
    if not isinstance(row, dict):
        raise ValueError("a recording is no object")
    files, folders, links = row.get("files"), row.get("folders"), row.get("links")
    if not isinstance(files, list) or not isinstance(folders, list) or not isinstance(links, list):
        raise ValueError("files, folders or links are no list")
    if max(len(files), len(links)) > MOST_FILES or len(folders) > MOST_FOLDERS:
        raise ValueError("too many files, folders or links")
    return Recording(
        AppId(_text(row.get("app"))),
        _text(row.get("ghost")),
        _number(row.get("recorded_s")),
        _number(row.get("duration_s")),
        _count(row.get("cold_bytes")),
        tuple(_file(each) for each in files),
        tuple(_path(each) for each in folders),
        tuple(_path(each) for each in links),
    )


def _file(row: Any) -> TouchedFile:
    if not isinstance(row, list) or len(row) != 4 or not isinstance(row[3], list):
        raise ValueError("a file is not [path, size, time, ranges]")
    size = _count(row[1])
    if len(row[3]) > MOST_RANGES:
        raise ValueError("too many ranges in a file")
    ranges, last = [], 0
    for each in row[3]:
        if not isinstance(each, list) or len(each) != 2:
            raise ValueError("a range is not [start, end]")
        start, end = _count(each[0]), _count(each[1])
        if start < last or end <= start or end > size + PAGE_BYTES * 16:
            raise ValueError("ranges do not rise within the file")
        ranges.append((start, end))
        last = end
    return TouchedFile(_path(row[0]), size, _count(row[2]), tuple(ranges))


def _path(value: Any) -> str:
    text = _text(value)
    if not text.startswith("/") or "\0" in text or any(part in ("..", ".", "") for part in text[1:].split("/")):
        raise ValueError(f"{text[:80]!r} is no plain absolute path")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 4096:
        raise ValueError("a name is no text, empty or too long")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError(f"{str(value)[:40]} is no count")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{str(value)[:40]} is no time")
    return float(value)

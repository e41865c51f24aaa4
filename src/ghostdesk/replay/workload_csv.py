"""Writes a synthetic history as the CSV that `ghostdesk import` reads, marked for what it is in the first column."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.synthetic.documents import MIME_TYPES
from ghostdesk.replay.synthetic.happenings import KINDS, Happenings
from ghostdesk.replay.synthetic.people import NAMES, SOURCE
from ghostdesk.replay.workload import SyntheticWorkload

COLUMNS = ("source", "user", "time", "event", "app", "value", "detail", "department", "job_role")
"""The importer passes over `source`, `department` and `job_role`; `ghostdesk train` reads the last two."""
FILE_COLUMNS = ("source", "user", "time", "app", "path", "size_bytes")
"""Of the log of files that were opened, for which `ghostdesk import` has no form: paths never leave a real desktop."""

_MILLISECONDS = [f".{ms:03d}" for ms in range(1000)]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the file, how many people, events and openings of files, and that none of it is real."""

    path: Path
    users: int
    events: int
    source: str = SOURCE
    files_path: Path | None = None
    files_opened: int = 0


def write_workload(
    workload: SyntheticWorkload,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    files_path: Path | None = None,
) -> Written:
    """Write all events, person after person; the files appear under their names when they are whole.

    Args:
        workload: what to write.
        path: the file; one that is there is replaced.
        progress: called with the number of people and events written so far.
        files_path: where to write which files were opened; nowhere if not given.

    Raises:
        ConfigError: a file cannot be written.
    """
    people = events = opened = 0
    with ExitStack() as stack:
        log = stack.enter_context(whole_file(files_path)) if files_path is not None else None
        stream = stack.enter_context(whole_file(path))
        stream.write(",".join(COLUMNS) + "\n")
        if log is not None:
            log.write(",".join(FILE_COLUMNS) + "\n")
        for block in workload.blocks():
            stream.write(event_text(block))
            if log is not None:
                log.writelines(file_lines(block))
            people += len(block.people.index)
            events += len(block.row)
            opened += len(block.opened.row)
            if progress is not None:
                progress(people, events)
    return Written(path, workload.users, events, SOURCE, files_path, opened if files_path is not None else 0)


def event_text(block: Happenings) -> str:
    """A line for each event; as plainly as can be, as a million people have sixty million."""
    persons = [block.people.person(row) for row in range(len(block.people.index))]
    begin = [f"{SOURCE},{one.user}," for one in persons]
    end = [f",{one.department},{one.job_role}\n" for one in persons]
    kinds, names, mimes = [f",{kind.value}," for kind in KINDS], [*NAMES, ""], [*MIME_TYPES, ""]
    second, rest = np.divmod(block.time_ms, 1000)
    values = [
        f"{value:.12g}" if known else ""
        for value, known in zip(block.value.tolist(), (~np.isnan(block.value)).tolist(), strict=True)
    ]
    columns = (block.row.tolist(), second.tolist(), rest.tolist(), block.kind.tolist(), block.app.tolist(), values,
               block.mime.tolist())  # fmt: skip
    return "".join(
        [
            f"{begin[row]}{time_s}{_MILLISECONDS[ms]}{kinds[kind]}{names[app]},{value},{mimes[mime]}{end[row]}"
            for row, time_s, ms, kind, app, value, mime in zip(*columns, strict=True)
        ]
    )


def file_lines(block: Happenings) -> Iterator[str]:
    """A line for each opening of a file."""
    opened = block.opened
    users = [f"{SOURCE},{block.people.person(row).user}," for row in range(len(block.people.index))]
    for place, (row, time_ms, app, size) in enumerate(
        zip(opened.row.tolist(), opened.time_ms.tolist(), opened.app.tolist(), opened.size_bytes.tolist(), strict=True)
    ):
        path = opened.path(place, block.people)
        yield f"{users[row]}{time_ms // 1000}.{time_ms % 1000:03d},{NAMES[app]},{path},{size}\n"


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file that appears under its name when it is whole; whatever ends it early leaves nothing.

    Raises:
        ConfigError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("w", newline="", encoding="utf-8", buffering=1 << 20) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}.", "Give another file, or free some space."
        ) from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)

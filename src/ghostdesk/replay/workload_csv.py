"""Writes a synthetic history as the CSV that `ghostdesk import` reads, marked for what it is in the first column."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.workload import SOURCE, SyntheticWorkload

COLUMNS = ("source", "user", "time", "event", "app", "value", "detail", "department", "job_role")
"""The importer passes over `source`, `department` and `job_role`; `ghostdesk train` reads the last two."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the file, how many people and events, and that none of it is real."""

    path: Path
    users: int
    events: int
    source: str = SOURCE


def write_workload(
    workload: SyntheticWorkload, path: Path, progress: Callable[[int, int], None] | None = None
) -> Written:
    """Write all events, person after person; the file appears under its name when it is whole.

    Args:
        workload: what to write.
        path: the file; one that is there is replaced.
        progress: called with the number of people and events written so far.

    Raises:
        ConfigError: the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    events = 0
    try:
        with beside.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(COLUMNS)
            for index, person in enumerate(workload.people()):
                for event in workload.events_of(index):
                    value = "" if event.value is None else f"{event.value:.12g}"
                    rows.writerow(
                        (SOURCE, event.user, f"{event.time_s:.3f}", event.kind.value, event.app or "", value,
                         event.detail or "", person.department, person.job_role)
                    )  # fmt: skip
                    events += 1
                if progress is not None:
                    progress(index + 1, events)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}.", "Give another file, or free some space."
        ) from None
    return Written(path, workload.users, events)

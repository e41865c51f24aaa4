"""Resource samples as hourly means, one row a machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.evaluate.readers import ResourceRows
from ghostdesk.kernel.errors import ImportFileError

HOUR_S = 3600
_NOT_USED = frozenset({"cores", "mem_capacity_mib"})
"""Columns that say what a machine has, not what it uses."""
_LONGEST_GAP_H = 14 * 24
_MOST_CELLS = 50_000_000
Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HourlyUsage:
    """Hourly means.

    Args:
        machines: names, one a row.
        first_hour: hours since 1970 (or whatever the file counts from) of the first column.
        amounts: of each resource, shape (machines, hours); NaN where nothing was measured.
        notes: what the reader should know of the file.
    """

    machines: tuple[str, ...]
    first_hour: int
    amounts: dict[str, Floats32]
    notes: tuple[str, ...]

    @property
    def hours(self) -> int:
        """How many hours are covered."""
        return int(next(iter(self.amounts.values())).shape[1])


def hourly_usage(rows: ResourceRows, resources: tuple[str, ...] = ()) -> HourlyUsage:
    """Hourly means of every resource in the file, or of those named.

    Negative amounts are left out and counted. Where nothing at all was measured for more than 14 days, only the part
    with most samples is used: a wrong clock does not stretch the history.

    Raises:
        ImportFileError: a named resource is not there, there is none, or the history is too long to hold.
    """
    present = sorted((name for name in rows.amounts if name not in _NOT_USED), key=_place)
    names = list(resources) or present
    missing = [name for name in names if name not in rows.amounts]
    if missing or not names:
        raise ImportFileError(
            f"The file has no column of numbers {', '.join(missing) or 'that says what is used'}.",
            f"It has: {', '.join(present) or 'none'}.",
        )
    notes = rows.notes.sentences()
    hour = rows.time_s // HOUR_S
    kept = _largest_part(hour)
    if not kept.all():
        notes.append(f"{int((~kept).sum()):,} rows lie more than 14 days from the rest and were left out.")
    machine, hour = rows.machine[kept], hour[kept]
    first, last = int(hour.min()), int(hour.max())
    shape = (len(rows.machines), last - first + 1)
    if shape[0] * shape[1] > _MOST_CELLS:
        raise ImportFileError(
            f"{shape[0]:,} machines over {shape[1]:,} hours are too many to score at once.", "Give a part of them."
        )
    cell = machine * shape[1] + (hour - first)
    amounts: dict[str, Floats32] = {}
    for name in names:
        values = rows.amounts[name][kept].astype(np.float64)
        negative = int((values < 0).sum())
        if negative:
            notes.append(f"{negative:,} amounts of {name} are negative and were left out.")
        amounts[name] = _means(cell, values, shape)
    return HourlyUsage(rows.machines, first, amounts, tuple(notes))


def _place(name: str) -> tuple[int, str]:
    """CPU, memory, network, disk, and then the others by name."""
    first = ("cpu", "mem", "net", "disk")
    return next((i for i, start in enumerate(first) if name.startswith(start)), len(first)), name


def _means(cell: npt.NDArray[np.int64], values: npt.NDArray[np.float64], shape: tuple[int, int]) -> Floats32:
    known = np.isfinite(values) & (values >= 0)
    size = shape[0] * shape[1]
    count = np.bincount(cell[known], minlength=size)
    total = np.bincount(cell[known], weights=values[known], minlength=size)
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means.reshape(shape).astype(np.float32)


def _largest_part(hour: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which rows belong to the part with most rows, cut where no row is for more than 14 days."""
    hours, counts = np.unique(hour, return_counts=True)
    part = np.concatenate([[0], np.cumsum(np.diff(hours) > _LONGEST_GAP_H)])
    largest = int(np.argmax(np.bincount(part, weights=counts)))
    return np.asarray(part[np.searchsorted(hours, hour)] == largest)

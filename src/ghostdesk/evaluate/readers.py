"""Histories as arrays: activity, states of desktops, resource samples. See `tables` for what is read and refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ghostdesk.evaluate.state_log import Finding, mend_clock
from ghostdesk.evaluate.tables import (
    Codes,
    DataKind,
    Floats,
    Ints,
    ReadNotes,
    RowCheck,
    Table,
    backward_steps,
    first_of_equals,
    latest,
    name_of,
    number_of,
    time_of,
)
from ghostdesk.kernel.errors import ImportFileError


@dataclass(frozen=True, slots=True)
class Activity:
    """Signs of life, sorted by user and time, without duplicates; all arrays of shape (rows,).

    Args:
        users: names by code.
        user: codes.
        utc_s: UTC seconds.
        tz_min: minutes that the clock of the place was east of UTC.
    """

    users: tuple[str, ...]
    user: Ints
    utc_s: Floats
    tz_min: Floats
    notes: ReadNotes


@dataclass(frozen=True, slots=True)
class States:
    """A state log, sorted by time; all arrays of shape (rows,). `time_s` is UTC, and `clock` says what clocks did."""

    desktops: tuple[str, ...]
    states: tuple[str, ...]
    desktop: Ints
    state: Ints
    time_s: Floats
    notes: ReadNotes
    clock: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceRows:
    """Resource samples, sorted by machine and time, one a time; all arrays of shape (rows,).

    Args:
        machines: names by code.
        machine: codes.
        time_s: seconds.
        amounts: every other column whose values are numbers, by its name, float32; NaN where empty.
    """

    machines: tuple[str, ...]
    machine: Ints
    time_s: Ints
    amounts: dict[str, npt.NDArray[np.float32]]
    notes: ReadNotes


def read_activity(path: Path, *, now_s: float | None = None) -> Activity:
    """A file with the columns ``user,utc,tz_min``. Raises `ImportFileError`."""
    users, codes, times, zones = Codes(), list[int](), list[float](), list[float]()
    latest_s, check = latest(now_s), RowCheck(path)
    with Table(path) as table:
        table.kind((DataKind.ACTIVITY,))
        user, utc, zone = (table.columns[name] for name in ("user", "utc", "tz_min"))
        for line, row in table.rows(check):
            try:
                time_s, minutes = time_of(row[utc], UTC, latest_s), number_of(row[zone])
                if not -1440.0 <= minutes <= 1440.0:
                    raise ValueError(f"tz_min {minutes:g} is more than a day")
                code = users.of(name_of(row[user], "user"))
            except ValueError as error:
                check.reject(line, str(error))
                continue
            codes.append(code)
            times.append(time_s)
            zones.append(minutes)
        user_codes, utc_s = np.asarray(codes, dtype=np.int64), np.asarray(times, dtype=np.float64)
        check.out_of_order = backward_steps(user_codes, utc_s)
        order = np.lexsort((utc_s, user_codes))
        kept = order[first_of_equals(user_codes[order], utc_s[order])]
        check.duplicates = len(order) - len(kept)
        notes = check.finish(table.broken)
    tz_min = np.asarray(zones, dtype=np.float64)
    return Activity(users.names(), user_codes[kept], utc_s[kept], tz_min[kept], notes)


def read_states(path: Path, zone: tzinfo = UTC, *, now_s: float | None = None) -> States:
    """A file with the columns ``desktop,state,time``; states are put in lower case. Raises `ImportFileError`."""
    desktops, states = Codes(), Codes()
    desktop_codes, state_codes, times = list[int](), list[int](), list[float]()
    latest_s, check = latest(now_s), RowCheck(path)
    with Table(path) as table:
        table.kind((DataKind.STATES,))
        desktop, state, when = (table.columns[name] for name in ("desktop", "state", "time"))
        for line, row in table.rows(check):
            try:
                time_s = time_of(row[when], zone, latest_s)
                one, other = name_of(row[desktop], "desktop"), name_of(row[state], "state").lower()
            except ValueError as error:
                check.reject(line, str(error))
                continue
            desktop_codes.append(desktops.of(one))
            state_codes.append(states.of(other))
            times.append(time_s)
        a, b = np.asarray(desktop_codes, dtype=np.int64), np.asarray(state_codes, dtype=np.int64)
        as_told_s = np.asarray(times, dtype=np.float64)
        time_s_all, clock = mend_clock(as_told_s, repeated_hours(as_told_s, zone))
        check.out_of_order = backward_steps(a, time_s_all)
        order = np.lexsort((time_s_all, a))
        kept = order[first_of_equals(a[order], time_s_all[order], b[order])]
        kept = kept[np.argsort(time_s_all[kept], kind="stable")]
        check.duplicates = len(order) - len(kept)
        notes = check.finish(table.broken)
    return States(desktops.names(), states.names(), a[kept], b[kept], time_s_all[kept], notes, tuple(clock))


def repeated_hours(time_s: Floats, zone: tzinfo) -> Floats:
    """How much later each local time comes once more, in seconds; 0 where it comes once. Shape (rows,)."""
    if zone is UTC:
        return np.zeros(len(time_s))
    # every change of a clock in use falls on a whole quarter of an hour
    quarters, place = np.unique(np.floor(time_s / 900.0), return_inverse=True)
    later = np.zeros(len(quarters))
    for number, quarter in enumerate((quarters * 900.0).tolist()):
        local = datetime.fromtimestamp(quarter, zone)
        first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
        if local.fold == 0 and first is not None and second is not None:
            later[number] = max((first - second).total_seconds(), 0.0)
    return np.asarray(later[place])


def read_resources(path: Path, *, now_s: float | None = None) -> ResourceRows:
    """A file with the columns ``vm,time_s`` and any resources, in CSV or parquet. Raises `ImportFileError`."""
    check, machines = RowCheck(path), Codes()
    with Table(path) as table:
        table.kind((DataKind.RESOURCES,))
        names = [name for name in table.columns if name not in ("vm", "time_s")]
        codes, times, numbers = _resource_columns(table, names, machines, check, latest(now_s))
        check.out_of_order = backward_steps(codes, times.astype(np.float64))
        order = np.lexsort((times, codes))
        kept = order[first_of_equals(codes[order], times[order])]
        check.duplicates = len(order) - len(kept)
        notes = check.finish(table.broken)
    amounts = {name: column[kept] for name, column in numbers.items() if np.isfinite(column).any()}
    if not amounts:
        raise ImportFileError(f"{path} has no column of numbers beside vm and time_s.", "Add cpu_pct, for example.")
    return ResourceRows(machines.names(), codes[kept], times[kept], amounts, notes)


def _resource_columns(
    table: Table, names: list[str], machines: Codes, check: RowCheck, latest_s: float
) -> tuple[Ints, Ints, dict[str, npt.NDArray[np.float32]]]:
    vm, when = table.columns["vm"], table.columns["time_s"]
    places = [table.columns[name] for name in names]
    codes, times, numbers = list[int](), list[int](), [list[float]() for _ in names]
    for line, row in table.rows(check):
        try:
            time_s = number_of(row[when])
            if not 0.0 <= time_s <= latest_s:
                raise ValueError(f"time_s {row[when].strip()[:40]!r} is negative or lies in the future")
            values = [_amount(row[place]) for place in places]
            code = machines.of(name_of(row[vm], "vm"))
        except ValueError as error:
            check.reject(line, str(error))
            continue
        codes.append(code)
        times.append(int(time_s))
        for column, value in zip(numbers, values, strict=True):
            column.append(value)
    found = {name: np.asarray(column, dtype=np.float32) for name, column in zip(names, numbers, strict=True)}
    return np.asarray(codes, dtype=np.int64), np.asarray(times, dtype=np.int64), found


def _amount(text: str) -> float:
    return math.nan if text.strip().lower() in ("", "nan") else number_of(text)

"""Measures recorded sets: figures only, never a row, for `calibration.json` and for a look at one's own history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path

import numpy as np

from ghostdesk.evaluate.arrivals_reading import read_arrival_history
from ghostdesk.evaluate.readers import read_resources
from ghostdesk.evaluate.sequences import read_app_history
from ghostdesk.kernel.errors import ConfigError, ImportFileError
from ghostdesk.replay.synthetic.figures_apps import app_figures
from ghostdesk.replay.synthetic.figures_resources import Floats, hourly_means, resource_figures
from ghostdesk.replay.synthetic.figures_starts import Figures, between, person_figures, start_figures, term_figures
from ghostdesk.telemetry.calendars.days import parse_terms
from ghostdesk.telemetry.calendars.errors import CalendarError


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one set, and what it was (its kind and size, never its name)."""

    figures: Figures
    about: str


def measure_desktops(path: Path, terms: Path | None, until: date | None, zone: tzinfo = UTC) -> Measured:
    """Starts of shared desktops, from a state log; before `until`, if given. Raises `ImportFileError`."""
    rows = read_arrival_history(path, zone).rows
    if until is not None:
        rows = between(rows, -np.inf, datetime(until.year, until.month, until.day, tzinfo=zone).timestamp())
    figures = _checked(path, lambda: start_figures(rows))
    if terms is not None:
        known = read_terms(terms)
        figures |= _checked(terms, lambda: term_figures(rows, known))
    starts_s = np.concatenate([row.start_s for row in rows])
    first, last = (datetime.fromtimestamp(float(t), zone).date() for t in (starts_s.min(), starts_s.max()))
    return Measured(figures, f"{len(starts_s):,} starts of {len(rows)} shared desktops, {first} to {last}")


def measure_people(path: Path) -> Measured:
    """When people worked, from signs of life. Raises `ImportFileError`."""
    rows = read_arrival_history(path).rows
    figures = _checked(path, lambda: person_figures(rows))
    return Measured(figures, f"{sum(len(row.start_s) for row in rows):,} work sessions of {len(rows):,} people")


def measure_apps(path: Path) -> Measured:
    """Sequences of applications. Raises `ImportFileError`."""
    sequences = read_app_history(path).sequences
    figures = _checked(path, lambda: app_figures([one.apps for one in sequences]))
    return Measured(figures, f"{len(sequences)} application sequences of {len({s.user for s in sequences})} people")


def measure_resources(path: Path) -> Measured:
    """Usage of machines, with the columns of the recorded set or some of them. Raises `ImportFileError`."""
    read = read_resources(path)
    known = read.amounts
    first_s, last_s = int(read.time_s.min()), int(read.time_s.max())
    hours = (last_s - first_s) // 3600 + 1

    def hourly(*names: str) -> Floats:
        amount = np.sum([known[name].astype(np.float64) for name in names], axis=0)
        time_s = read.time_s.astype(np.float64)
        return hourly_means(read.machine, time_s, amount, len(read.machines), hours, float(first_s))

    wanted = {
        "cpu": ("cpu_pct",), "memory": ("mem_used_mib",), "network": ("net_rx_kib_s", "net_tx_kib_s"),
        "storage": ("disk_read_kib_s", "disk_write_kib_s"),
    }  # fmt: skip
    tables = {name: hourly(*columns) for name, columns in wanted.items() if set(columns) <= set(known)}
    if not tables:
        raise ImportFileError(f"{path} has no column of those that are measured.", "Give cpu_pct, mem_used_mib, ...")
    figures = _checked(path, lambda: resource_figures(tables))
    return Measured(figures, f"{len(read.machines)} machines, {hours / 24:.0f} days, hourly means")


def read_terms(path: Path) -> tuple[tuple[date, date], ...]:
    """Terms of a file, those left out that end before they start or last longer than a year (a year mistyped).

    Raises:
        ConfigError: the file cannot be read, or has no term.
    """
    try:
        header, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Give another file.") from None
    found, wrong = list[tuple[date, date]](), CalendarError("It has no term.", "Write one line a term.")
    for line in lines:
        try:
            found += parse_terms(f"{header}\n{line}\n")
        except CalendarError as error:
            wrong = error
    if not found:
        raise ConfigError(f"{path}: {wrong.cause}", wrong.mend)
    return tuple(found)


def _checked(path: Path, measure: Callable[[], Figures]) -> Figures:
    try:
        return measure()
    except ValueError as error:
        raise ImportFileError(f"{path} is too little to measure: {error}.", "Give a longer history.") from None

"""Lays the figures of a synthetic history beside measured ones, and says where they differ by more than is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ghostdesk.evaluate.arrivals_timeline import RowUse, sessions_from_signs
from ghostdesk.replay.synthetic.desktops import SyntheticDesktops
from ghostdesk.replay.synthetic.figures_apps import app_figures
from ghostdesk.replay.synthetic.figures_resources import hourly_means, resource_figures
from ghostdesk.replay.synthetic.figures_starts import Figures, person_figures, start_figures, term_figures
from ghostdesk.replay.synthetic.happenings import KINDS
from ghostdesk.replay.synthetic.parameters import Parameters
from ghostdesk.replay.synthetic.scenarios import FIRST_DAY_S
from ghostdesk.replay.synthetic.usage import RESOURCES
from ghostdesk.replay.workload import SyntheticWorkload
from ghostdesk.telemetry.events import EventKind

RELATIVE, ABSOLUTE, CORRELATION = 0.25, 0.05, 0.12
"""A synthetic figure agrees if it is within a quarter of the measured one, or within 0.05 of it; correlations 0.12."""
TABLE_DISTANCE = 0.1
"""A synthetic table of shares agrees if so much of it, at most, lies elsewhere (total variation distance)."""
SIZES = frozenset({"people", "sequences", "rows_a_day", "mean_count_60_min"})
"""How large a set was: not to be matched."""
_DESKTOPS, _DAYS = 120, 728
_APPS = [KINDS.index(EventKind.APP_LAUNCH), KINDS.index(EventKind.APP_FOCUS)]


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure, measured and synthetic."""

    group: str
    name: str
    measured: float
    synthetic: float
    agrees: bool

    @property
    def difference(self) -> float:
        """Relative to the measured one; NaN where that is nothing."""
        return self.synthetic / self.measured - 1.0 if self.measured else math.nan


GROUPS = ("desktop-starts", "people", "apps", "resources")


def synthetic_figures(parameters: Parameters, seed: int = 0) -> dict[str, Figures]:
    """The figures of synthetic histories that are made for the purpose, by the same measurements."""
    return {group: synthetic_group(parameters, group, seed) for group in GROUPS}


def synthetic_group(parameters: Parameters, group: str, seed: int = 0) -> Figures:
    """The same of one of `GROUPS`."""
    if group == "desktop-starts":
        return _desktops(parameters, seed)
    if group == "resources":
        return _resources(SyntheticWorkload(40, 28, 600.0, seed, parameters=parameters))
    workload = SyntheticWorkload(40, 98, 50.0, seed, parameters=parameters)
    people, apps = _people_and_apps(workload)
    return person_figures(people) if group == "people" else app_figures(apps)


def compare(measured: Mapping[str, Figures], synthetic: Mapping[str, Figures]) -> list[Compared]:
    """All figures that both have, in the order of the measured; of tables, how far they are apart."""
    found = []
    for group, figures in measured.items():
        for name, value in figures.items():
            other = synthetic.get(group, {}).get(name)
            if other is None or name in SIZES:
                continue
            if isinstance(value, list) and isinstance(other, list):
                distance = 0.5 * float(np.abs(np.asarray(value) - np.asarray(other)).sum())
                found.append(Compared(group, f"{name} (distance)", 0.0, distance, distance <= TABLE_DISTANCE))
            elif not isinstance(value, list) and not isinstance(other, list):
                agrees = abs(other - value) <= allowed(name, value)
                found.append(Compared(group, name, value, other, agrees))
    return found


def allowed(name: str, measured: float) -> float:
    """How far a synthetic figure may be from the measured one."""
    return max(RELATIVE * abs(measured), CORRELATION if "correlation" in name else ABSOLUTE)


def _desktops(parameters: Parameters, seed: int) -> Figures:
    desktops = SyntheticDesktops(_DESKTOPS, _DAYS, seed, parameters)
    sessions = desktops.sessions()
    rows = [
        RowUse(str(one), sessions.start_s[of], sessions.end_s[of], np.zeros(int(of.sum())), math.inf)
        for one in range(_DESKTOPS)
        if (of := sessions.desktop == one).any()
    ]
    first = np.datetime64(int(FIRST_DAY_S), "s").astype("datetime64[D]")
    terms = [((first + a).item(), (first + b).item()) for a, b in desktops.agenda.terms]
    return start_figures(rows) | term_figures(rows, terms)


def _people_and_apps(workload: SyntheticWorkload) -> tuple[list[RowUse], list[list[str]]]:
    rows, apps = list[RowUse](), list[list[str]]()
    for block in workload.blocks():
        turns = np.isin(block.kind, _APPS)
        for row in range(len(block.people.index)):
            of = (block.row == row) & turns
            time_s = block.time_ms[of] / 1000.0
            rows.append(sessions_from_signs(str(row), time_s, np.zeros(len(time_s))))
            apps.append([str(app) for app in block.app[of].tolist()])
    return rows, apps


def _resources(workload: SyntheticWorkload) -> Figures:
    hours = workload.days * 24
    tables: dict[str, list[np.ndarray]] = {}
    for block in workload.blocks():
        people = len(block.people.index)
        for kind in RESOURCES[:-1]:  # no recorded set tells of graphics
            of = block.kind == KINDS.index(kind)
            made = hourly_means(block.row[of], block.time_ms[of] / 1000.0, block.value[of], people, hours, FIRST_DAY_S)
            tables.setdefault(kind.value, []).append(made)
    return resource_figures({name: np.concatenate(parts) for name, parts in tables.items()})

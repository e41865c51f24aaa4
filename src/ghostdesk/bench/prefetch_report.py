"""What the prefetch benchmark found, as values, as JSON and as a table. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ghostdesk.bench.host import Provenance
from ghostdesk.bench.stats import Summary, summarise
from ghostdesk.kernel.resources import MIB

SCHEMA = "ghostdesk.bench.prefetch/1"
WHOLE_SHARE = 0.7
"""Of an application's largest window, from which a window counts as the same."""


class Condition(StrEnum):
    """What was in the page cache when the application was asked for."""

    COLD = "cold"
    """Nothing: it was dropped just before."""
    PREFETCHED = "prefetched"
    """Its launch set: dropped, then loaded."""
    WARM = "warm"
    """What the launch before left."""
    SLOW_COLD = "slow-cold"
    """As cold, on a throttled disk."""
    SLOW_PREFETCHED = "slow-prefetched"
    """As prefetched, on a throttled disk, the prefetch included."""


TITLE = {
    Condition.COLD: "cold disk",
    Condition.PREFETCHED: "prefetched",
    Condition.WARM: "page cache warm",
    Condition.SLOW_COLD: "slow disk, cold",
    Condition.SLOW_PREFETCHED: "slow disk, prefetched",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One launch: from asking until the whole window was painted, a window of so many pixels."""

    app: str
    condition: Condition
    round: int
    painted_s: float
    window_px: int


@dataclass(frozen=True, slots=True)
class Load:
    """One prefetch before a launch (see `engines.protocol.Prefetched`)."""

    app: str
    condition: Condition
    round: int
    duration_s: float
    read_bytes: int
    files: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class RecordedSet:
    """What was recorded of an application's launch."""

    app: str
    files: int
    folders: int
    set_bytes: int
    recordings: int


@dataclass(frozen=True, slots=True)
class Gap:
    """What could not be measured, and why."""

    app: str
    condition: str
    round: int | None
    reason: str


@dataclass(frozen=True)
class PrefetchReport:
    """Everything that one run found.

    Args:
        slow_reads_per_s: reads a second of the throttled disk; 0 when it was left out.
        recorded_from: "cold" or "warm": what the page cache held when the sets were recorded.
        load_average: of the last minute, before and after.
    """

    provenance: Provenance
    rounds: int
    slow_reads_per_s: int
    recorded_from: str
    load_average: tuple[float, float]
    sets: tuple[RecordedSet, ...]
    trials: tuple[Trial, ...]
    loads: tuple[Load, ...]
    missing: tuple[Gap, ...] = ()
    schema: str = SCHEMA

    def apps(self) -> tuple[str, ...]:
        """Applications with samples, in the order they were measured."""
        return tuple(dict.fromkeys(trial.app for trial in self.trials))

    def painted(self, app: str, condition: Condition) -> Summary | None:
        """Seconds until painted."""
        return summarise(t.painted_s for t in self.trials if t.app == app and t.condition is condition)

    def loading(self, app: str, condition: Condition) -> Summary | None:
        """Seconds that the prefetch took."""
        return summarise(each.duration_s for each in self.loads if each.app == app and each.condition is condition)

    def loaded_bytes(self, app: str, condition: Condition) -> Summary | None:
        """Bytes that it read."""
        return summarise(
            float(each.read_bytes) for each in self.loads if (each.app, each.condition) == (app, condition)
        )

    def ratio(self, app: str, condition: Condition) -> float | None:
        """Median time under the condition divided by that with a warm page cache."""
        there, warm = self.painted(app, condition), self.painted(app, Condition.WARM)
        return there.median / warm.median if there and warm else None


def whole_windows(trials: Sequence[Trial]) -> tuple[list[Trial], list[Gap]]:
    """The trials of one application that measured its own window, and those that measured something smaller: a splash
    that stood still for long, on a machine with other work, is taken for the settled window."""
    largest_px = max((trial.window_px for trial in trials), default=0)
    good = [trial for trial in trials if trial.window_px >= WHOLE_SHARE * largest_px]
    bad = [
        Gap(t.app, t.condition, t.round, "a smaller window than in other rounds was measured, perhaps a splash")
        for t in trials
        if t not in good
    ]
    return good, bad


def to_json(report: PrefetchReport) -> str:
    """The report as JSON: every sample, in seconds and bytes, and a summary of them."""
    data: dict[str, Any] = {"schema": report.schema}
    data |= TypeAdapter(PrefetchReport).dump_python(report, mode="json")
    summary = [
        {
            "app": app,
            "condition": condition,
            "painted_s": _plain(report.painted(app, condition)),
            "loading_s": _plain(report.loading(app, condition)),
            "loaded_bytes": _plain(report.loaded_bytes(app, condition)),
            "ratio_to_warm": report.ratio(app, condition),
        }
        for app in report.apps()
        for condition in Condition
        if report.painted(app, condition) is not None
    ]
    return json.dumps(data | {"summary": summary}, indent=2) + "\n"


def _plain(summary: Summary | None) -> dict[str, Any] | None:
    plain: dict[str, Any] | None = TypeAdapter(Summary | None).dump_python(summary)
    return plain


def table(report: PrefetchReport) -> RenderableType:
    """The report for a terminal."""
    shown = [c for c in Condition if any(t.condition is c for t in report.trials)]
    painted = Table(
        title="Asked for until the whole window is painted: median (least to most) in ms; x warm",
        title_justify="left", title_style="bold",
    )  # fmt: skip
    painted.add_column("application", no_wrap=True)
    for condition in shown:
        painted.add_column(TITLE[condition], justify="right")
    for app in report.apps():
        painted.add_row(app, *(_cell(report, app, condition) for condition in shown))
    loads = Table(title="The prefetch itself", title_justify="left", title_style="bold")
    for title in ("application", "files", "folders", "set MiB", "read MiB", "seconds", "seconds, slow disk"):
        loads.add_column(title, justify="left" if title == "application" else "right")
    for each in report.sets:
        quick, slow = (report.loading(each.app, c) for c in (Condition.PREFETCHED, Condition.SLOW_PREFETCHED))
        read = report.loaded_bytes(each.app, Condition.PREFETCHED)
        loads.add_row(
            each.app, str(each.files), str(each.folders), f"{each.set_bytes / MIB:.0f}",
            f"{read.median / MIB:.0f}" if read else "-", _seconds(quick), _seconds(slow),
        )  # fmt: skip
    before, after = report.load_average
    notes = (
        f"n = {report.rounds} a figure where nothing is missing; sets recorded from a {report.recorded_from} launch; "
    )
    notes += f"load {before:.1f} before, {after:.1f} after"
    if report.slow_reads_per_s:
        notes += f"; slow disk: {report.slow_reads_per_s} reads a second"
    missing = [
        Text(f"missing: {g.app or 'all'}, {g.condition or 'all'}{f', round {g.round}' if g.round else ''}: {g.reason}")
        for g in report.missing
    ]
    return Group(painted, loads, *missing, Text(f"{notes}. {report.provenance.line()}", style="dim"))


def _cell(report: PrefetchReport, app: str, condition: Condition) -> str:
    found, ratio = report.painted(app, condition), report.ratio(app, condition)
    if found is None:
        return "-"
    times = "" if ratio is None or condition is Condition.WARM else f"; x{ratio:.2f}"
    return f"{found.median * 1e3:,.0f} ({found.minimum * 1e3:,.0f}-{found.maximum * 1e3:,.0f}){times}"


def _seconds(summary: Summary | None) -> str:
    return "-" if summary is None else f"{summary.median:.2f} ({summary.minimum:.2f}-{summary.maximum:.2f})"

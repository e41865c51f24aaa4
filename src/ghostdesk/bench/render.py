"""Reports as tables for people and as JSON for programs. docs/how-to/benchmark.md describes the JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ghostdesk.bench.idle import IdleReport, IdleRung
from ghostdesk.bench.launch_report import LaunchReport, Missing
from ghostdesk.bench.rungs import EXEC_RUNGS, RUNG_TITLE, Rung
from ghostdesk.bench.signin import SignInCondition, SignInReport
from ghostdesk.bench.stats import Summary
from ghostdesk.kernel.resources import MIB

Report = LaunchReport | IdleReport | SignInReport

CONDITION_TITLE: dict[SignInCondition, str] = {
    SignInCondition.NO_POOL: "no pool: built on the press",
    SignInCondition.READY: "a ready ghost",
    SignInCondition.WARM: "a warm ghost, not preconnected",
    SignInCondition.PRECONNECTED: "a warm ghost, preconnected",
}
IDLE_TITLE: dict[IdleRung, str] = {
    IdleRung.READY: "ready (generic, running)",
    IdleRung.WARM: "warm (apps hidden, frozen)",
    IdleRung.FROZEN: "warm, whole ghost frozen",
    IdleRung.PARKED: "parked (memory in swap)",
}


def to_json(report: Report) -> str:
    """The report as JSON text: every sample, in seconds and bytes, and a summary of them."""
    data: dict[str, Any] = {"schema": report.schema}
    data |= TypeAdapter(type(report)).dump_python(report, mode="json")
    return json.dumps(data | {"summary": _summary(report)}, indent=2) + "\n"


def from_json(text: str) -> Report:
    """Read a report back; the summary is worked out anew. Raises `ValueError` for anything else."""
    data = json.loads(text)
    kinds: dict[str, type[Report]] = {kind.schema: kind for kind in (LaunchReport, IdleReport, SignInReport)}
    kind = kinds.get(data.get("schema", "")) if isinstance(data, dict) else None
    if kind is None:
        raise ValueError(f"not a benchmark's report; known schemas: {', '.join(kinds)}")
    data.pop("summary", None)
    report: Report = TypeAdapter(kind).validate_python(data)
    return report


def table(report: Report) -> RenderableType:
    """The report for a terminal, with where it comes from and what is missing."""
    if isinstance(report, LaunchReport):
        return _launch(report)
    if isinstance(report, IdleReport):
        return _idle(report)
    return _sign_in(report)


def _launch(report: LaunchReport) -> RenderableType:
    painted = _grid("Asked for until the whole window is painted: median (p95) in ms", "application")
    for rung in report.rungs:
        painted.add_column(RUNG_TITLE[rung], justify="right")
    for app in report.apps():
        painted.add_row(app, *(_ms(report.painted(app, rung)) for rung in report.rungs))
    parts: list[RenderableType] = [painted]
    woken = [rung for rung in report.rungs if rung not in EXEC_RUNGS]
    if woken:
        key = _grid("First key, pressed as soon as it is painted, until its echo: median (p95) in ms", "application")
        for rung in woken:
            key.add_column(RUNG_TITLE[rung], justify="right")
        for app in report.apps():
            key.add_row(app, *(_ms(report.key(app, rung)) for rung in woken))
        parts.append(key)
    for slow in (Rung.COLD, Rung.CACHED):
        ratio = report.speed_up(slow, Rung.FROZEN_KEPT)
        if ratio is not None:
            parts.append(
                Text(f"{RUNG_TITLE[slow]} takes {ratio:.0f} times as long as a warm application (frozen, pixels kept).")
            )
    notes = f"n = {report.rounds} a figure where nothing is missing; p95 by nearest rank"
    return Group(*parts, *_missing(report.missing), Text(f"{notes}. {report.provenance.line()}", style="dim"))


def _missing(missing: tuple[Missing, ...]) -> list[Text]:
    counts: dict[tuple[str, str, str], int] = {}
    for each in missing:
        key = (each.app or "all", RUNG_TITLE[each.rung] if each.rung else "", each.reason)
        counts[key] = counts.get(key, 0) + 1
    return [
        Text(f"missing: {', '.join(filter(None, (app, rung)))}: {reason} ({count} times)", style="yellow")
        for (app, rung, reason), count in counts.items()
    ]


def _idle(report: IdleReport) -> RenderableType:
    grid = _grid(f"{report.ghosts} idle ghosts over {report.seconds:.0f} s, a ghost: median (maximum)", "rung")
    for title in ("PSS MiB", "swap MiB", "of it in zram MiB", "CPU %"):
        grid.add_column(title, justify="right")
    zram = {held.rung: held.zram_bytes for held in report.swap}
    for rung in dict.fromkeys(sample.rung for sample in report.samples):
        grid.add_row(
            IDLE_TITLE[rung],
            _amount(report.of(rung, lambda s: s.pss_bytes / MIB), 1),
            _amount(report.of(rung, lambda s: s.swap_pss_bytes / MIB), 1),
            f"{zram[rung] / report.ghosts / MIB:.1f}" if rung in zram else "-",
            _amount(report.of(rung, lambda s: 100 * s.cpu_share), 2),
        )
    apps = ", ".join(report.apps) or "none"
    notes = "swap before compression; zram as compressed, mean; CPU of one core"
    return Group(grid, Text(f"{notes}. Applications when warm: {apps}. {report.provenance.line()}", style="dim"))


def _sign_in(report: SignInReport) -> RenderableType:
    grid = _grid('From pressing "Open desktop": median (p95) in ms', "prepared")
    for title in ("painted", "painted and takes a key", "key to menu", "page's own first frame", "n"):
        grid.add_column(title, justify="right")
    for condition in dict.fromkeys(sample.condition for sample in report.samples):
        painted = report.of(condition, lambda s: s.painted_s)
        grid.add_row(
            CONDITION_TITLE[condition],
            _ms(painted),
            _ms(report.of(condition, lambda s: s.takes_key_s)),
            _ms(report.of(condition, lambda s: s.key_s)),
            _ms(report.of(condition, lambda s: s.first_frame_s)),
            str(painted.n if painted else 0),
        )
    missing = [
        Text(f"missing: {each.condition}, round {each.round}: {each.reason}", style="yellow") for each in report.missing
    ]
    return Group(grid, *missing, Text(f"{report.browser}. {report.provenance.line()}", style="dim"))


def _summary(report: Report) -> list[dict[str, Any]]:
    if isinstance(report, LaunchReport):
        return _launch_summary(report)
    if isinstance(report, IdleReport):
        return [
            {
                "rung": rung,
                "pss_bytes": _plain(report.of(rung, lambda s: s.pss_bytes)),
                "swap_pss_bytes": _plain(report.of(rung, lambda s: s.swap_pss_bytes)),
                "cpu_share": _plain(report.of(rung, lambda s: s.cpu_share)),
            }
            for rung in dict.fromkeys(sample.rung for sample in report.samples)
        ]
    return [
        {
            "condition": condition,
            "painted_s": _plain(report.of(condition, lambda s: s.painted_s)),
            "takes_key_s": _plain(report.of(condition, lambda s: s.takes_key_s)),
            "key_s": _plain(report.of(condition, lambda s: s.key_s)),
        }
        for condition in dict.fromkeys(sample.condition for sample in report.samples)
    ]


def _launch_summary(report: LaunchReport) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "app": app,
            "rung": rung,
            "painted_s": _plain(report.painted(app, rung)),
            "key_s": _plain(report.key(app, rung)),
        }
        for app in report.apps()
        for rung in report.rungs
    ]
    for slow in (Rung.COLD, Rung.CACHED):
        rows.append({"slow": slow, "fast": Rung.FROZEN_KEPT, "ratio": report.speed_up(slow, Rung.FROZEN_KEPT)})
    return rows


def _plain(summary: Summary | None) -> dict[str, Any] | None:
    plain: dict[str, Any] | None = TypeAdapter(Summary | None).dump_python(summary)
    return plain


def _grid(title: str, first: str) -> Table:
    grid = Table(title=title, title_justify="left", title_style="bold")
    grid.add_column(first, no_wrap=True)
    return grid


def _ms(summary: Summary | None) -> str:
    return _amount(summary, 0, 1e3, "p95")


def _amount(summary: Summary | None, digits: int, scale: float = 1.0, second: str = "maximum") -> str:
    if summary is None:
        return "-"
    other = getattr(summary, second)
    return f"{_number(summary.median * scale, digits)} ({_number(other * scale, digits)})"


def _number(value: float, digits: int) -> str:
    return f"{value:,.1f}" if digits == 0 and value < 10 else f"{value:,.{digits}f}"

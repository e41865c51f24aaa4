"""Reports as pictures (PNG and SVG), with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostdesk.bench.desk import BenchError
from ghostdesk.bench.idle import IdleReport
from ghostdesk.bench.launch_report import LaunchReport
from ghostdesk.bench.render import CONDITION_TITLE, IDLE_TITLE, Report
from ghostdesk.bench.rungs import RUNG_TITLE, Rung
from ghostdesk.bench.signin import SignInReport
from ghostdesk.bench.stats import Summary
from ghostdesk.kernel.resources import MIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR: dict[Rung, str] = {
    Rung.COLD: "#7f1d1d",
    Rung.CACHED: "#dc6b2f",
    Rung.HIDDEN_UNMAPPED: "#c9a227",
    Rung.FROZEN_UNMAPPED: "#8a8f2b",
    Rung.HIDDEN_KEPT: "#3a9d5d",
    Rung.FROZEN_KEPT: "#14532d",
    Rung.GHOST_FROZEN: "#3b82b8",
    Rung.PARKED: "#1e3a8a",
    Rung.PARKED_CALLED_BACK: "#7c5cc4",
}
FRAME_MS = 1000 / 60


def save(report: Report, path: Path) -> tuple[Path, ...]:
    """Draw the report to `path` with the endings .png and .svg; gives the files.

    Raises `BenchError` without matplotlib.
    """
    try:
        import matplotlib as mpl

        mpl.use("agg")
        from matplotlib import pyplot
    except ImportError:
        raise BenchError("matplotlib is not installed.", "pip install 'ghostdesk[bench]'") from None
    height_in = 2.2 + 0.42 * _rows(report)
    figure, axes = pyplot.subplots(figsize=(10, height_in), layout="constrained")
    try:
        if isinstance(report, LaunchReport):
            _launch(axes, report)
        elif isinstance(report, IdleReport):
            _idle(axes, report)
        else:
            _sign_in(axes, report)
        axes.spines[["top", "right"]].set_visible(False)
        figure.supxlabel(_wrapped(report.provenance.line()), fontsize=7, color="#555555")
        files = tuple(path.with_suffix(ending) for ending in (".png", ".svg"))
        for file in files:
            figure.savefig(file, dpi=150)
    finally:
        pyplot.close(figure)
    return files


def _rows(report: Report) -> float:
    if isinstance(report, LaunchReport):
        return max(len(report.rungs) / 2, len(report.apps()) * (0.6 + 0.12 * len(report.rungs)))
    return 5


def _launch(axes: Axes, report: LaunchReport) -> None:
    """One row an application, one dot a rung at its median with a line to its p95, on a log axis of milliseconds."""
    apps, rungs = report.apps(), report.rungs
    slot = 0.8 / max(1, len(rungs))
    for place, rung in enumerate(rungs):
        found = [(row, report.painted(app, rung)) for row, app in enumerate(apps)]
        dots = [(row - 0.4 + slot * (place + 0.5), summary) for row, summary in found if summary is not None]
        ys, summaries = [y for y, _ in dots], [summary for _, summary in dots]
        style: dict[str, Any] = {
            "fmt": "o",
            "markersize": 5,
            "elinewidth": 1.2,
            "color": COLOUR[rung],
            "label": RUNG_TITLE[rung],
        }
        axes.errorbar([1e3 * s.median for s in summaries], ys, xerr=[[0.0] * len(ys), _upper_ms(summaries)], **style)
        if rung in {Rung.COLD, Rung.FROZEN_KEPT}:
            _figures(axes, ys, summaries)
    for row in range(1, len(apps)):
        axes.axhline(row - 0.5, color="#dddddd", linewidth=0.6)
    axes.axvline(FRAME_MS, color="#555555", linewidth=0.8, linestyle=":")
    axes.annotate(
        "one frame of 60 Hz", (FRAME_MS, 1), xycoords=("data", "axes fraction"), fontsize=7, color="#555555",
        xytext=(3, -2), textcoords="offset points", va="top",
    )  # fmt: skip
    axes.set_yticks(range(len(apps)), apps)
    axes.set_ylim(len(apps) - 0.5, -0.5)
    title = f"Asked for until the whole window is painted (median, line to p95, n = {report.rounds})"
    axes.set_title(title, fontsize=11)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    _log_ms(axes)


def _sign_in(axes: Axes, report: SignInReport) -> None:
    conditions = list(dict.fromkeys(sample.condition for sample in report.samples))
    figures: tuple[tuple[str, str, Any], ...] = (
        ("painted", "#3b82b8", lambda s: s.painted_s),
        ("painted and takes a key", "#14532d", lambda s: s.takes_key_s),
    )
    for place, (label, colour, value) in enumerate(figures):
        found = [(row, report.of(condition, value)) for row, condition in enumerate(conditions)]
        kept = [(row, summary) for row, summary in found if summary is not None]
        ys = [row - 0.2 + 0.4 * place for row, _ in kept]
        _bars(axes, ys, [summary for _, summary in kept], height=0.34, color=colour, label=label)
    axes.set_yticks(range(len(conditions)), [CONDITION_TITLE[condition] for condition in conditions])
    axes.set_ylim(len(conditions) - 0.5, -0.5)
    axes.set_title(f'From pressing "Open desktop" (median, whisker to p95, n = {report.rounds})', fontsize=11)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _log_ms(axes)


def _idle(axes: Axes, report: IdleReport) -> None:
    """What a ghost holds: memory in RAM and, beside it, its pages in zram as compressed."""
    rungs = list(dict.fromkeys(sample.rung for sample in report.samples))
    zram = {held.rung: held.zram_bytes / max(1, report.ghosts) / MIB for held in report.swap}
    for row, rung in enumerate(rungs):
        pss = report.of(rung, lambda s: s.pss_bytes / MIB)
        cpu = report.of(rung, lambda s: 100 * s.cpu_share)
        if pss is None or cpu is None:
            continue
        stored = zram.get(rung, 0.0)
        axes.barh(row, pss.median, height=0.6, color="#3b82b8", label="PSS (median)" if row == 0 else None)
        axes.barh(
            row, stored, left=pss.median, height=0.6, color="#b9cfe4", label="in zram, compressed" if row == 0 else None
        )
        axes.annotate(
            f"{pss.median:.1f} + {stored:.1f} MiB, CPU {cpu.median:.2f} % of a core", (pss.median + stored, row),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(rungs)), [IDLE_TITLE[rung] for rung in rungs])
    axes.set_ylim(len(rungs) - 0.5, -0.5)
    axes.set_xlim(0, 1.5 * axes.get_xlim()[1])  # room for the words
    axes.set_xlabel("MiB a ghost")
    axes.set_title(f"{report.ghosts} idle ghosts over {report.seconds:.0f} s", fontsize=11)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _bars(axes: Axes, ys: Sequence[float], summaries: Sequence[Summary], **style: Any) -> None:
    whiskers = {"elinewidth": 0.8, "ecolor": "#333333", "capsize": 1.5}
    upper_ms = _upper_ms(summaries)
    medians_ms = [1e3 * summary.median for summary in summaries]
    axes.barh(ys, medians_ms, xerr=[[0.0] * len(upper_ms), upper_ms], error_kw=whiskers, **style)
    _figures(axes, ys, summaries)


def _upper_ms(summaries: Sequence[Summary]) -> list[float]:
    return [1e3 * max(0.0, summary.p95 - summary.median) for summary in summaries]


def _figures(axes: Axes, ys: Sequence[float], summaries: Sequence[Summary]) -> None:
    """Write each median beside its p95."""
    for y, summary in zip(ys, summaries, strict=True):
        median_ms, right_ms = 1e3 * summary.median, 1e3 * max(summary.median, summary.p95)
        text = f"{median_ms:.1f}" if median_ms < 10 else f"{median_ms:,.0f}"
        axes.annotate(text, (right_ms, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=7)


def _log_ms(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log")
    left, right = axes.get_xlim()
    axes.set_xlim(min(1.0, left), right * 1.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.set_xlabel("milliseconds (log scale)")
    axes.grid(axis="x", which="major", linewidth=0.4, color="#cccccc")
    axes.set_axisbelow(True)


def _wrapped(text: str, width: int = 150) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))

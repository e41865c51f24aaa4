"""The picture of a run: desktops, people who wait, lost hosts, and what ticks cost. One HTML file, nothing fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from ghostdesk.replay.fleet.run import SIMULATED, FleetRun, TickRecord
from ghostdesk.replay.report_html import page
from ghostdesk.replay.report_svg import LEFT, RIGHT, TOP, WIDTH, area_path, draw_line, draw_text, round_steps, svg_open

_AREAS: tuple[tuple[str, str, Callable[[TickRecord], float]], ...] = (
    ("active", "in use", lambda t: t.active),
    ("ready", "ghosts, for somebody or anybody", lambda t: t.personal + t.ready),
    ("booting", "being made or removed", lambda t: t.coming + t.draining),
)
_HEIGHT, _BOTTOM = 220, 34


def render_fleet(run: FleetRun) -> str:
    """The whole page."""
    figures = run.summary()
    title = f"{run.setup.users:,} synthetic people on {run.setup.hosts:,} simulated hosts"
    faulty_s = 60.0 * run.setup.minutes
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<div class="box simulated"><strong>Simulated:</strong> {escape(SIMULATED.partition(": ")[2])}</div>',
        _verdict(run),
        "<h2>Desktops</h2>",
        _stacked(run.ticks, faulty_s),
        '<p class="legend">'
        + "".join(f'<span class="key k-{kind}"></span>{escape(name)}' for kind, name, _ in _AREAS)
        + " &middot; dashed: people and faults end</p>",
        "<h2>People who wait</h2>",
        _lines(run.ticks, faulty_s, "people who wait", lambda t: t.waiting),
        "<h2>Hosts that do not answer</h2>",
        _lines(run.ticks, faulty_s, "hosts away", lambda t: t.hosts_away),
        "<h2>Processor time of a tick, measured</h2>",
        _lines(run.ticks, faulty_s, "seconds", lambda t: t.tick_s),
        "<h2>Figures</h2>",
        _table(figures),
    ]
    return page(title, body)


def _verdict(run: FleetRun) -> str:
    kind = "box advice" if run.well else "box advice unmet"
    words = [
        "Nothing leaked, nothing had two owners, nobody had two desktops, no host was overfull."
        if not run.violated
        else "Violated: " + ", ".join(f"{code} {count} times" for code, count in run.violated.items()) + ".",
        f"All was well {run.converged_s:,.0f} virtual seconds after the faults ended."
        if run.converged_s is not None
        else f"The loop did not come to rest within {run.setup.calm_s:,.0f} virtual seconds: {run.odd}.",
    ]
    told = "".join(f"<br>{escape(one.text)}" for one in run.violations[:10])
    return f'<div class="{kind}"><p><strong>{escape(" ".join(words))}</strong>{told}</p></div>'


def _table(figures: dict[str, object]) -> str:
    rows = []
    for name, value in figures.items():
        if name == "statement":
            continue
        shown = ", ".join(f"{k}: {v:,}" for k, v in value.items()) if isinstance(value, dict) else f"{value}"
        words = escape(name.replace("_", " "))
        rows.append(f'<tr><td>{words}</td><td style="white-space:normal">{escape(shown)}</td></tr>')
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def _x_of(ticks: Sequence[TickRecord]) -> Callable[[float], float]:
    most = max([*(t.time_s for t in ticks), 1.0])
    return lambda at_s: LEFT + (WIDTH - LEFT - RIGHT) * at_s / most


def _frame(name: str, most: float, ticks: Sequence[TickRecord], faulty_s: float) -> list[str]:
    """Axes: virtual minutes across, amounts up."""
    x, floor = _x_of(ticks), TOP + _HEIGHT
    parts = [svg_open(_HEIGHT + TOP + _BOTTOM, name)]
    for tick in round_steps(most, 4):
        at = floor - _HEIGHT * tick / most
        parts += [draw_line(LEFT, at, WIDTH - RIGHT, at, "grid"), draw_text(LEFT - 6, at + 4, f"{tick:,.10g}", "end")]
    for minute in round_steps(max([*(t.time_s for t in ticks), 1.0]) / 60.0):
        parts.append(draw_text(x(60.0 * minute), floor + 18, f"{minute:g} min"))
    parts.append(draw_line(x(faulty_s), TOP, x(faulty_s), floor, "target"))
    return parts


def _stacked(ticks: Sequence[TickRecord], faulty_s: float) -> str:
    base = [0.0] * len(ticks)
    most = max([*(sum(value(t) for _, _, value in _AREAS) for t in ticks), 1.0])
    x, floor = _x_of(ticks), TOP + _HEIGHT
    parts = _frame("Desktops by what they are", most, ticks, faulty_s)
    for kind, _, value in _AREAS:
        top = [below + value(t) for below, t in zip(base, ticks, strict=True)]
        path = area_path(
            base, top, lambda step: x(ticks[min(int(step), len(ticks) - 1)].time_s),
            lambda amount: floor - _HEIGHT * amount / most,
        )  # fmt: skip
        parts.append(f'<path class="area {kind}" d="{path}"/>')
        base = top
    return "".join([*parts, "</svg>"])


def _lines(ticks: Sequence[TickRecord], faulty_s: float, name: str, value: Callable[[TickRecord], float]) -> str:
    most = max([*(value(t) for t in ticks), 1e-3])
    x, floor = _x_of(ticks), TOP + _HEIGHT
    points = " ".join(f"{x(t.time_s):.1f},{floor - _HEIGHT * value(t) / most:.1f}" for t in ticks if not t.failed)
    parts = [*_frame(name, most, ticks, faulty_s), f'<polyline class="curve c1" points="{points}"/>']
    return "".join([*parts, draw_text(14, TOP + _HEIGHT / 2, name, turned=True), "</svg>"])

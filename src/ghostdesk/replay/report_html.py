"""The report of a replay as one HTML file: nothing is fetched, no script runs, names are escaped. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from ghostdesk.replay import report_svg
from ghostdesk.replay.metrics import Figures
from ghostdesk.replay.report import ReplayReport, cost_of
from ghostdesk.replay.run import Point

_STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfa; --fg: #1d2125; --soft: #5c6670; --line: #d9dde1; --box: #fff;
  --good: #147a4b; --bad: #b3261e; --c0: #6b7280; --c1: #0b62d6; --c2: #c2570c; --c3: #0f7b6c; --c4: #8a3ffc;
  --c5: #b02a6f; --c6: #7a6a00; --c7: #00707f; --active: #8db4e8; --ready: #43a06b; --booting: #e0a83a; }
@media (prefers-color-scheme: dark) { :root { --bg: #15181b; --fg: #e6e8ea; --soft: #a2abb4; --line: #343a40;
  --box: #1c2024; --good: #5bd69a; --bad: #ff8a80; --c0: #a3abb5; --c1: #6aa9ff; --c2: #ff9d5c; --c3: #4fd1bd;
  --c4: #c29bff; --c5: #ff8fc2; --c6: #d8c64a; --c7: #5cd0e0; --active: #3f6ea8; --ready: #3f9a66;
  --booting: #c08a2a; } }
body { margin: 0 auto; padding: 24px; max-width: 1060px; background: var(--bg); color: var(--fg);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem; } h2 { font-size: 1.12rem; margin: 2.2rem 0 .4rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); } .name { overflow-wrap: anywhere; }
.box { background: var(--box); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; margin: 14px 0; }
.simulated { border-left: 5px solid var(--booting); } .advice { border-left: 5px solid var(--good); }
.unmet { border-left-color: var(--bad); }
pre { background: var(--bg); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
.scroll { overflow-x: auto; margin-top: 10px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 5px; font-size: 13px; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
tr.chosen td { font-weight: 700; } .key { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin: 0 .35em 0 .9em; vertical-align: -1px; } .both { white-space: nowrap; }
.legend { font-size: 13px; color: var(--soft); }
.grid { stroke: var(--line); stroke-width: 1; }
.target { stroke: var(--good); stroke-dasharray: 6 4; stroke-width: 1.5; }
.curve { fill: none; stroke-width: 2; } .ring { fill: none; stroke: var(--fg); stroke-width: 2.5; }
.area.active, .k-active { fill: var(--active); background: var(--active); }
.area.ready, .k-ready { fill: var(--ready); background: var(--ready); }
.area.booting, .k-booting { fill: var(--booting); background: var(--booting); }
.demand, .k-demand { fill: var(--soft); background: var(--soft); }
.missed, .k-missed { fill: var(--bad); background: var(--bad); }
.cell { fill: var(--c1); stroke: var(--line); stroke-width: 1; } .misses .cell { fill: var(--bad); }
""" + "".join(
    f".curve.c{n} {{ stroke: var(--c{n}); }} .dot.c{n} {{ fill: var(--c{n}); }} .k{n} {{ background: var(--c{n}); }}\n"
    for n in range(report_svg.COLOURS)
)


def render_html(report: ReplayReport) -> str:
    """The whole page."""
    chosen = next(one for one in report.points if one.setting == report.advice.setting)
    title = f"What ghostdesk would have done with {report.source}"
    body = [
        f'<h1 class="name">{escape(title)}</h1>',
        f'<p class="soft">{_what(report)}</p>',
        f'<div class="box simulated"><strong>Simulated.</strong> {escape(_sentence(report.statement))}</div>',
        *(f'<p class="box simulated">{escape(note)}</p>' for note in report.notes if "synthetic" in note),
        _advice(report),
        "<h2>What each setting costs, and whom it fails</h2>",
        _curves(report, chosen),
        _table(report),
        f"<h2>The busiest week, with {escape(chosen.title)} ({escape(chosen.label)})</h2>",
        _week(report, chosen),
        "<h2>When people come, and when they miss</h2>",
        _heat(chosen.figures),
        "<h2>Month by month</h2>",
        _months(report, chosen),
        "<h2>What this rests on</h2>",
        _assumptions(report),
        _notes(report),
    ]
    return page(title, body)


def page(title: str, body: Sequence[str]) -> str:
    """A page of these parts, in the reports' style; nothing is fetched, and no script runs."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _sentence(statement: str) -> str:
    said = statement.partition(": ")[2]
    return said[:1].upper() + said[1:]


def _what(report: ReplayReport) -> str:
    starts = report.points[0].figures.starts
    learnt = "Policies had nothing to learn from before."
    if report.learnt_sessions:
        learnt = f"Policies learnt from the {report.learnt_sessions:,} sessions before, and went on learning."
    return (
        f"{starts:,} starts of {report.rows:,} {report.noun}s from {escape(report.judged_from[:10])} to "
        f"{escape(report.judged_until[:10])} ({report.judged_days:,.0f} days, {escape(report.timezone)}). {learnt}"
    )


def _advice(report: ReplayReport) -> str:
    kind = "box advice" if report.advice.met else "box advice unmet"
    return (
        f'<div class="{kind}"><p><strong>{escape(report.advice.sentence)}</strong></p>'
        f"<p>In your settings file:</p><pre>{escape(report.advice.settings_lines)}</pre></div>"
    )


def _curves(report: ReplayReport, chosen: Point) -> str:
    def dot(one: Point) -> tuple[float, float, str]:
        cost, miss = cost_of(one, report.model), 1.0 - one.figures.hit_rate
        return cost, miss, f"{one.title} ({one.label}): {miss:.2%} missed, {cost:,.0f} {report.cost_name}"

    curves = [(title, [dot(one) for one in points]) for title, points in groupby(report.points, lambda one: one.title)]
    picture = report_svg.trade_off(curves, dot(chosen), 1.0 - report.target_hit_rate, report.cost_name)
    keys = "".join(
        f'<span class="both"><span class="key k{number % report_svg.COLOURS}"></span>{escape(title)}</span> '
        for number, (title, _) in enumerate(curves)
    )
    return f'<p class="legend">Lower and further left is better. The ring is the advised setting.{keys}</p>{picture}'


def _table(report: ReplayReport) -> str:
    heads = ["policy", "setting", "found", "missed", "p50 s", "p95 s", "p99 s", "idle ghost-h", "GiB-h", "core-h",
             "kWh", "boots", "unused", "fleet kWh", "saved"]  # fmt: skip
    if report.model.priced:
        heads.append("money")
    rows = []
    for one in report.points:
        f = one.figures
        cells = [
            escape(one.title), escape(one.label), f"{f.hit_rate:.2%}", f"{f.missed + f.refused:,}",
            *(_number(wait_s) for wait_s in (f.wait.p50_s, f.wait.p95_s, f.wait.p99_s)),
            *(f"{amount:,.0f}" for amount in (f.idle_ghost_hours, f.memory_gib_hours, f.cpu_core_hours)),
            f"{f.energy_kwh:,.2f}", f"{f.boots:,}", f"{f.evictions:,}",
            f"{one.fleet.as_run_kwh:,.1f}", f"{one.fleet.saved_share:.0%}",
        ]  # fmt: skip
        if report.model.priced:
            cells.append(f"{f.money:,.2f}")
        mark = ' class="chosen"' if one.setting == report.advice.setting else ""
        rows.append(f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    legend = (
        '<p class="legend">Found: share of starts that found a ready ghost. p50 to p99: waits of everybody, '
        "in seconds. kWh are modelled: of idle ghosts, and of the whole fleet, with what that saves against always on. "
        "Unused: ghosts that were destroyed before anybody came.</p>"
    )
    return _as_table(heads, rows) + legend


def _week(report: ReplayReport, chosen: Point) -> str:
    if chosen.week is None:
        return ""
    keys = "".join(
        f'<span class="key k-{name}"></span>{words}'
        for name, words in (
            ("active", "in use"), ("ready", "ready"), ("booting", "being made"), ("demand", "people who came"),
            ("missed", "of them, found nothing ready"),
        )
    )  # fmt: skip
    return f'<p class="legend">{keys}</p>{report_svg.week(chosen.week, report.timezone)}'


def _heat(figures: Figures) -> str:
    starts, missed = figures.heat_starts, figures.heat_missed

    def of_starts(day: int, hour: int) -> str:
        return f"{starts[day][hour]:,} starts"

    def of_misses(day: int, hour: int) -> str:
        return f"{missed[day][hour]:,} of {starts[day][hour]:,} starts found nothing ready"

    most = max(max(row) for row in missed)
    misses = (
        f'<p class="legend">Starts that found nothing ready (the fullest red is {most:,})</p>'
        f'<div class="misses">{report_svg.heat(missed, of_misses, "Misses by hour and weekday")}</div>'
        if most
        else '<p class="legend">No start found nothing ready.</p>'
    )
    fullest = max(max(row) for row in starts)
    return (
        f'<p class="legend">Starts by local hour and weekday (the fullest blue is {fullest:,})</p>'
        f"{report_svg.heat(starts, of_starts, 'Starts by hour and weekday')}{misses}"
    )


def _months(report: ReplayReport, chosen: Point) -> str:
    rows = [
        f"<tr><td>{escape(one.month)}</td><td>{one.starts:,}</td><td>{one.starts - one.found:,}</td>"
        f"<td>{one.found / max(one.starts, 1):.2%}</td></tr>"
        for one in chosen.figures.months
    ]
    name = f"{escape(chosen.title)} ({escape(chosen.label)})"
    said = f'<p class="legend">{name}; asked for: {report.target_hit_rate:.2%}.</p>'
    return said + _as_table(["month", "starts", "missed", "found a ready ghost"], rows)


def _assumptions(report: ReplayReport) -> str:
    f, m = report.figures, report.model
    rows = [
        ("time until a new ghost is ready (mean)", f"{f.lead_s:g} s, spread {f.lead_spread:g}", report.figures_from),
        ("handing a ready ghost over; destroying a used one", f"{f.hand_over_s:g} s; {f.destroy_s:g} s", "assumed"),
        ("most desktops; most builds at once", f"{_limit(f.ceiling)}; {_limit(f.builds_at_once)}", "given"),
        ("the policy is asked every", f"{f.decide_every_s:g} s", "given"),
        ("a ghost that waits holds", f"{m.ghost_memory_gib:g} GiB", "assumed, or given"),
        ("cores in use by a ghost being made; waiting", f"{m.boot_cores:g}; {m.idle_cores:g}", "assumed"),
        ("power", f"{m.watts_per_gib:g} W a GiB, {m.watts_per_core:g} W a busy core", "model: Cloud Carbon Footprint"),
        ("the fleet's kWh (modelled)", report.points[0].fleet.model, "assumed"),
        (
            f"always on: {report.points[0].fleet.desktops:,} desktops, each awake throughout",
            f"{report.points[0].fleet.always_on_kwh:,.1f} kWh",
            "model",
        ),
        (
            "prices: a ghost-hour; a GiB-hour; a kWh",
            f"{m.price_per_ghost_hour:g}; {m.price_per_gib_hour:g}; {m.price_per_kwh:g}",
            "given" if m.priced else "none given",
        ),
    ]
    lines = [f"<tr><td>{escape(a)}</td><td>{escape(b)}</td><td>{escape(c)}</td></tr>" for a, b, c in rows]
    idle = (
        "Idle are ghosts that are ready, and those being made, less one for each person who waits for one. Memory, "
        "cores and energy are those of idle ghosts: desktops in use cost the same under every policy."
    )
    return f"{_as_table(['what', 'figure', 'from'], lines)}<p>{idle}</p>"


def _notes(report: ReplayReport) -> str:
    if not report.notes:
        return ""
    items = "".join(f'<li class="name">{escape(note)}</li>' for note in report.notes)
    return f"<h2>About the history</h2><ul>{items}</ul>"


def _as_table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _number(value: float) -> str:
    return "-" if value != value else f"{value:,.3g}"  # noqa: PLR0124  (not a number)


def _limit(value: int) -> str:
    return f"{value:,}" if value else "no limit"

"""The pictures of a replay's report as SVG, drawn from numbers alone; colours come from the page's style. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from html import escape
from zoneinfo import ZoneInfo

from ghostdesk.replay.metrics import Timeline

WIDTH, HEIGHT = 920, 400
COLOURS = 8
LEFT, RIGHT, TOP, _BOTTOM = 78, 16, 14, 46
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LEAST_GAP = 1.25
Curve = tuple[str, Sequence[tuple[float, float, str]]]
"""A policy's title and its points: cost, share of misses (0 to 1), words."""


def trade_off(curves: Sequence[Curve], chosen: tuple[float, float, str], target_miss: float, cost_name: str) -> str:
    """Cost against misses, a line a policy; misses on a logarithmic axis, with none at all at its bottom."""
    costs = [cost for _, points in curves for cost, _, _ in points]
    misses = [miss for _, points in curves for _, miss, _ in points]
    low = min([one for one in (*misses, target_miss) if one > 0] or [0.01]) / 2
    high = max(min(max(misses) * _LEAST_GAP, 1.0), target_miss * _LEAST_GAP, low * 10)
    most = max([*costs, 1e-9]) * 1.04

    def x(cost: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * cost / most

    def y(miss: float) -> float:
        share = (math.log(max(miss, low)) - math.log(low)) / (math.log(high) - math.log(low))
        return HEIGHT - _BOTTOM - (HEIGHT - TOP - _BOTTOM) * share

    parts = [svg_open(HEIGHT, "Cost against misses: lower and further left is better")]
    for tick in round_steps(most):
        parts += [
            draw_line(x(tick), TOP, x(tick), HEIGHT - _BOTTOM, "grid"),
            draw_text(x(tick), HEIGHT - 28, f"{tick:,g}"),
        ]
    for miss in _log_ticks(low, high):
        parts += [
            draw_line(LEFT, y(miss), WIDTH - RIGHT, y(miss), "grid"),
            draw_text(LEFT - 6, y(miss) + 4, _percent(miss), "end"),
        ]
    if low <= target_miss <= high:
        parts.append(draw_line(LEFT, y(target_miss), WIDTH - RIGHT, y(target_miss), "target"))
        parts.append(draw_text(LEFT + 6, y(target_miss) - 5, "asked for", "start"))
    if 0 in misses:
        parts += [draw_line(LEFT, y(0), WIDTH - RIGHT, y(0), "grid"), draw_text(LEFT - 6, y(0) + 4, "none", "end")]
    for number, (_, points) in enumerate(curves):
        path = " ".join(f"{x(cost):.1f},{y(miss):.1f}" for cost, miss, _ in points)
        parts.append(f'<polyline class="curve c{number % COLOURS}" points="{path}"/>')
        parts += [_dot(x(c), y(m), 4, f"c{number % COLOURS}", words) for c, m, words in points]
    parts.append(_dot(x(chosen[0]), y(chosen[1]), 9, "ring", chosen[2]))
    parts.append(draw_text((WIDTH + LEFT) / 2, HEIGHT - 8, cost_name))
    parts.append(draw_text(14, (HEIGHT - _BOTTOM) / 2, "starts that found nothing ready", turned=True))
    return "".join([*parts, "</svg>"])


def week(line: Timeline, timezone: str) -> str:
    """Ghosts by phase, stacked, above; people who came and who missed below."""
    zone = ZoneInfo(timezone)
    stacked = [line.active, [a + b for a, b in zip(line.ready, line.warm, strict=True)], line.booting]
    sums = [sum(column) for column in zip(*stacked, strict=True)]
    most, busiest = max([*sums, 1.0]), max([*line.starts, 1])
    upper, lower, gap = 220, 90, 26
    height, count = TOP + upper + gap + lower + 30, len(line.starts)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / count

    parts = [svg_open(height, "The busiest week: ghosts by phase, and people who came")]
    for tick in round_steps(most, 4):
        at = TOP + upper * (1 - tick / most)
        parts += [draw_line(LEFT, at, WIDTH - RIGHT, at, "grid"), draw_text(LEFT - 6, at + 4, f"{tick:,g}", "end")]
    base = [0.0] * count
    for values, name in zip(stacked, ("active", "ready", "booting"), strict=True):
        top = [b + v for b, v in zip(base, values, strict=True)]
        parts.append(
            f'<path class="area {name}" d="{area_path(base, top, x, lambda v: TOP + upper * (1 - v / most))}"/>'
        )
        base = top
    floor = TOP + upper + gap + lower
    width = max((WIDTH - LEFT - RIGHT) / count, 0.8)
    for step, (starts, missed) in enumerate(zip(line.starts, line.missed, strict=True)):
        for came, kind in ((starts, "demand"), (missed, "missed")):
            if came:
                parts.append(_bar(x(step), floor, width, lower * came / busiest, kind))
    parts.append(draw_text(LEFT - 6, floor - lower + 8, f"{busiest}", "end"))
    parts.append(draw_text(LEFT - 6, floor + 4, "0", "end"))
    parts.append(draw_text(14, floor - lower / 2, "starts / 15 min", turned=True))
    parts.append(draw_text(14, TOP + upper / 2, "desktops", turned=True))
    first = datetime.fromtimestamp(line.from_s, zone)
    for day in range(8):
        midnight = (first.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=day)).timestamp()
        place = (midnight - line.from_s) / line.step_s
        if 0 <= place < count:
            local = datetime.fromtimestamp(midnight, zone)
            parts.append(draw_line(x(place), TOP, x(place), floor, "grid"))
            parts.append(draw_text(x(place) + 4, floor + 18, f"{_DAYS[local.weekday()]} {local:%d %b}", "start"))
    return "".join([*parts, "</svg>"])


def heat(counts: Sequence[Sequence[float]], words: Callable[[int, int], str], name: str) -> str:
    """Hour by weekday; the strongest cell is the fullest colour. `words` says what a cell holds."""
    cell_w, cell_h, left, top = 34, 24, 44, 22
    most = max((value for row in counts for value in row), default=0.0) or 1.0
    parts = [svg_open(top + 7 * cell_h + 6, name, left + 24 * cell_w + 4)]
    parts += [draw_text(left + (hour + 0.5) * cell_w, 14, f"{hour:02d}") for hour in range(24)]
    for day in range(7):
        parts.append(draw_text(left - 6, top + day * cell_h + 16, _DAYS[day], "end"))
        for hour in range(24):
            strength = max(counts[day][hour], 0.0) / most
            said = escape(f"{_DAYS[day]} {hour:02d}:00: {words(day, hour)}")
            parts.append(
                f'<rect class="cell" x="{left + hour * cell_w}" y="{top + day * cell_h}" width="{cell_w - 2}" '
                f'height="{cell_h - 2}" fill-opacity="{strength:.3f}"><title>{said}</title></rect>'
            )
    return "".join([*parts, "</svg>"])


def area_path(
    base: Sequence[float], top: Sequence[float], x: Callable[[float], float], y: Callable[[float], float]
) -> str:
    """The path of an area between two curves, a point a step."""
    forth = [f"{x(step + 0.5):.1f},{y(value):.1f}" for step, value in enumerate(top)]
    back = [f"{x(step + 0.5):.1f},{y(value):.1f}" for step, value in reversed(list(enumerate(base)))]
    return f"M{' L'.join([*forth, *back])}Z"


def svg_open(height: float, name: str, width: float = WIDTH) -> str:
    """The beginning of a picture, with its name for readers of screens."""
    said = escape(name)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{said}"><title>{said}</title>'


def draw_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def draw_text(x: float, y: float, words: str, anchor: str = "middle", *, turned: bool = False) -> str:
    """Words."""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{escape(words)}</text>'


def _dot(x: float, y: float, radius: float, kind: str, words: str) -> str:
    return (
        f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"><title>{escape(words)}</title></circle>'
    )


def _bar(x: float, floor: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{floor - height:.1f}" width="{width:.2f}" height="{height:.1f}"/>'


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def round_steps(most: float, about: int = 6) -> list[float]:
    """Round numbers from 0 to `most`."""
    rough = most / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * number for number in range(int(most / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    found = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in (1, 2, 5)
    ]
    return [one for one in found if low * 1.15 <= one <= high]  # the lowest would touch the word for none

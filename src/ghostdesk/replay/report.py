"""The report of a replay as values: every setting's figures, the one to choose, and what all of it rests on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from ghostdesk.replay.metrics import CostModel
from ghostdesk.replay.run import Point, ReplayJob
from ghostdesk.replay.workload import SOURCE
from ghostdesk.replay.world import ReplayFigures

SIMULATED = (
    "Simulated: real decisions of the control loop on recorded comings and goings, but no real desktop was started. "
    "How long things take and what they hold are the figures named here; energy is modelled."
)


@dataclass(frozen=True)
class Advice:
    """Which setting to choose.

    Args:
        setting: as operators write it.
        met: whether it serves the target; if none does, it is the one that comes nearest.
        sentence: why, for people.
        settings_lines: TOML for the settings file.
    """

    setting: str
    met: bool
    sentence: str
    settings_lines: str


@dataclass(frozen=True)
class ReplayReport:
    """Everything that `ghostdesk replay` found.

    Args:
        simulated: always true.
        statement: what that means.
        source: the history.
        noun: what its rows are: "user" or "desktop".
        rows: how many.
        learnt_sessions: sessions that lie before the judged window; policies learn from the last year of them.
        judged_from, judged_until: local times, ISO 8601.
        figures, figures_from: durations and limits, and where they are from.
        model: amounts and prices.
        cost_name: what `cost` of the trade-off curve is.
        target_hit_rate: what was asked for.
        points: every setting; the busiest week is kept of the advised one alone.
        notes: what was odd in the history.
    """

    simulated: bool
    statement: str
    source: str
    noun: str
    rows: int
    learnt_sessions: int
    judged_from: str
    judged_until: str
    judged_days: float
    timezone: str
    figures: ReplayFigures
    figures_from: str
    model: CostModel
    cost_name: str
    target_hit_rate: float
    advice: Advice
    points: tuple[Point, ...]
    notes: tuple[str, ...]


def build_report(
    job: ReplayJob, points: Sequence[Point], *, source: str, figures_from: str, target_hit_rate: float
) -> ReplayReport:
    """Put it together."""
    zone = ZoneInfo(job.timezone)
    advice = advise(points, job.model, target_hit_rate, job.figures)
    sessions, window = job.sessions, job.window
    return ReplayReport(
        True,
        SIMULATED,
        source,
        "user" if sessions.named else "desktop",
        len(set(sessions.row.tolist())),
        int((sessions.start_s < window.judge_s).sum()),
        datetime.fromtimestamp(window.judge_s, zone).isoformat(timespec="minutes"),
        datetime.fromtimestamp(window.until_s, zone).isoformat(timespec="minutes"),
        round(window.hours / 24.0, 2),
        job.timezone,
        job.figures,
        figures_from,
        job.model,
        "money" if job.model.priced else "idle ghost-hours",
        target_hit_rate,
        advice,
        tuple(one if one.setting == advice.setting else replace(one, week=None) for one in points),
        (*_made_up(sessions.names), *sessions.notes),
    )


def _made_up(names: Sequence[str]) -> tuple[str, ...]:
    """Histories of `ghostdesk simulate` name nobody who exists."""
    if names and all(name.startswith(SOURCE) for name in names):
        return ("The history itself is synthetic, too: nobody in it exists, and nothing in it was observed.",)
    return ()


def cost_of(point: Point, model: CostModel) -> float:
    """What the trade-off curve shows: money where there are prices, else idle ghost-hours."""
    return point.figures.money if model.priced else point.figures.idle_ghost_hours


def advise(points: Sequence[Point], model: CostModel, target: float, figures: ReplayFigures) -> Advice:
    """The cheapest setting that serves the target; if none does, the one with the fewest misses."""
    serving = [one for one in points if one.figures.hit_rate >= target]
    if serving:
        best = min(serving, key=lambda one: (cost_of(one, model), -one.figures.hit_rate))
    else:
        best = max(points, key=lambda one: (one.figures.hit_rate, -cost_of(one, model)))
    share = f"{best.figures.hit_rate:.2%} of {best.figures.starts:,} starts"
    cost = _cost_words(best, model)
    if serving:
        sentence = (
            f"Choose {best.title} ({best.label}): {share} would have found a ready ghost, for {cost}; "
            f"it is the cheapest of the {len(points)} settings tried that serve {target:.2%}."
        )
        sentence += _against_static(best, points, model)
    else:
        sentence = (
            f"No setting tried serves {target:.2%}. {best.title} ({best.label}) comes nearest: {share} would have "
            f"found a ready ghost, for {cost}. Try dearer settings, or a shorter time to build a ghost."
        )
    return Advice(best.setting, bool(serving), sentence, _settings_lines(best, figures))


def _against_static(best: Point, points: Sequence[Point], model: CostModel) -> str:
    static = [p for p in points if p.policy == "static" and p.figures.hit_rate >= best.figures.hit_rate]
    if best.policy == "static" or not static:
        return ""
    equal = min(static, key=lambda one: cost_of(one, model))
    whole = cost_of(equal, model)
    if whole <= 0:
        return ""
    saved = 1.0 - cost_of(best, model) / whole
    return f" That is {saved:.0%} less than the static pool that serves as many ({equal.label}) would have cost."


def _cost_words(point: Point, model: CostModel) -> str:
    idle = f"{point.figures.idle_ghost_hours:,.0f} idle ghost-hours"
    return f"{idle} ({point.figures.money:,.2f} at your prices)" if model.priced else idle


def _settings_lines(point: Point, figures: ReplayFigures) -> str:
    lines = ["[pool]", f'policy = "{point.setting}"', "floor = 0"]
    if figures.ceiling:
        lines.append(f"ceiling = {figures.ceiling}")
    return "\n".join(lines) + "\n"

"""What each policy would have cost, had it kept every desktop, or everybody's own, ready: as curves of its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.allocator.policies.seam import PolicyFamily
from ghostdesk.evaluate.arrivals_reading import ArrivalHistory
from ghostdesk.evaluate.desktops_world import AT_ONCE, Lead, Progress, RowWorld, Tally
from ghostdesk.kernel.errors import ImportFileError

COMPARED_MINUTES = (114, 160)
"""Idle minutes a session at which curves are compared: those of the table in the issue."""
TRAIN_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class DesktopPoint:
    """One setting of a policy.

    Args:
        label: the setting.
        cold: share of starts that found their row not ready, 0 to 1.
        idle_minutes: ready or getting so, and not used, a session.
        worst_month_cold, best_month_cold: the same share in the worst and the best of 30 days with 100 starts or more;
            None where there are none.
    """

    label: str
    cold: float
    idle_minutes: float
    worst_month_cold: float | None
    best_month_cold: float | None


@dataclass(frozen=True, slots=True)
class DesktopCurve:
    """A policy with all its settings.

    Args:
        name, title, source: of the family.
        points: in the order of rising idle time.
        cold_at: share of cold starts at `COMPARED_MINUTES` idle minutes a session, between the settings on a straight
            line (a mix of the two); None beyond the cheapest or the dearest setting.
    """

    name: str
    title: str
    source: str
    points: tuple[DesktopPoint, ...]
    cold_at: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class DesktopReport:
    """What a history gave.

    Args:
        noun: what a row is.
        slot_minutes, lead_s, lead_spread: of the model.
        judged_from_s: UTC seconds.
        rows: how many were ever used.
        sessions: how many were judged.
        compared_minutes: what `DesktopCurve.cold_at` is of.
        curves: of every policy, in the order of the catalogue.
    """

    noun: str
    slot_minutes: float
    lead_s: float
    lead_spread: float
    judged_from_s: float
    rows: int
    sessions: int
    compared_minutes: tuple[int, ...]
    curves: tuple[DesktopCurve, ...]


def evaluate_desktops(
    history: ArrivalHistory,
    families: Sequence[PolicyFamily],
    slot_s: int,
    *,
    train_until_s: float | None = None,
    lead: Lead = AT_ONCE,
    progress: Progress | None = None,
) -> DesktopReport:
    """Judge every setting of every family.

    Args:
        history: who was there when.
        families: the policies.
        slot_s: length of a slot in seconds.
        train_until_s: what lies before (UTC seconds) is only learnt from; None is 80 % of the whole span.
        lead: how long a row takes to get ready.
        progress: called now and then.

    Raises:
        ImportFileError: no session starts in the judged part.
    """
    used = [row for row in history.rows if len(row.start_s)]
    first_s = min(float(row.start_s[0]) for row in used)
    last_s = max(row.until_s for row in used)
    from_s = first_s + TRAIN_SHARE * (last_s - first_s) if train_until_s is None else train_until_s
    world = RowWorld(used, slot_s, from_s, lead)
    judged_from_s = world.judged_s
    if not any(bool((row.start_s >= judged_from_s).any()) for row in used):
        raise ImportFileError(
            "The history is too short: no session starts in the judged part.", "Give more of it, or --train-until."
        )
    policies = [setting.make() for family in families for setting in family.settings]
    tallies = iter(world.judge(policies, progress))
    curves, sessions = [], 0
    for family in families:
        own = [next(tallies) for _ in family.settings]
        sessions = own[0].sessions
        points = [_point(setting.label, tally) for setting, tally in zip(family.settings, own, strict=True)]
        points.sort(key=lambda point: point.idle_minutes)
        at = tuple(interpolated_cold(points, minutes) for minutes in COMPARED_MINUTES)
        curves.append(DesktopCurve(family.name, family.title, family.source, tuple(points), at))
    return DesktopReport(
        noun=history.noun,
        slot_minutes=slot_s / 60.0,
        lead_s=lead.mean_s,
        lead_spread=lead.spread,
        judged_from_s=judged_from_s,
        rows=len(used),
        sessions=sessions,
        compared_minutes=COMPARED_MINUTES,
        curves=tuple(curves),
    )


def interpolated_cold(points: Sequence[DesktopPoint], minutes: float) -> float | None:
    """Cold starts at so many idle minutes a session, between the two settings around them; None outside of all.

    Args:
        points: by rising idle time.
        minutes: idle minutes a session.
    """
    idle = [point.idle_minutes for point in points]
    if not points or not idle[0] <= minutes <= idle[-1]:
        return None
    return float(np.interp(minutes, idle, [point.cold for point in points]))


def _point(label: str, tally: Tally) -> DesktopPoint:
    sessions = max(tally.sessions, 1)
    months = tally.monthly[tally.monthly[:, 0] >= 100.0]
    shares = months[:, 1] / months[:, 0]
    return DesktopPoint(
        label,
        tally.cold / sessions,
        tally.idle_s / 60.0 / sessions,
        float(shares.max()) if len(shares) else None,
        float(shares.min()) if len(shares) else None,
    )

"""What the host and the lines to browsers are like, and what that does to the plan, as values for the status view."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ghostdesk.allocator.conditions import GAUGES
from ghostdesk.control.observe import HostObserver
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.ids import GhostId, UserId

_FLAT = 0.002
"""A level that changes by less than this a minute does not move, for people."""


@dataclass(frozen=True, slots=True)
class GaugeView:
    """Something of the host that can get short.

    Args:
        code, name: for scripts, and for people.
        level: 0 is calm, 1 the end.
        per_minute: growth of the level a minute; 0 while no trend is sure.
        trend: "rises", "falls" or "steady".
        resume_at, slow_at, pause_at: the levels between which warming is held back.
        short_in_s: when it reaches `pause_at` if it goes on like this; None when it does not, or was there already.
    """

    code: str
    name: str
    level: float
    per_minute: float
    trend: str
    resume_at: float
    slow_at: float
    pause_at: float
    short_in_s: float | None


@dataclass(frozen=True, slots=True)
class LinkView:
    """The line to one person's browser. `quality` is "good", "far" or "slow"; `bytes_per_s` None when never tried."""

    user: UserId
    ghost: GhostId
    quality: str
    text: str
    rtt_s: float
    rtt_best_s: float
    bytes_per_s: float | None
    waiting_share: float
    relayed_bytes: int
    time_s: float


@dataclass(frozen=True, slots=True)
class GateChange:
    """When the warming gate moved, and how."""

    time_s: float
    text: str


@dataclass(frozen=True, slots=True)
class ContextView:
    """How the host fares, and what is done otherwise because of it.

    Args:
        gate: "open", "slow" or "paused": whether desktops are made ready ahead of time.
        gate_code, gate_text: why, for scripts and for people.
        gate_since_s: since when; None when since the start.
        notes: what the present plan does otherwise, for people.
        changes: when the gate moved, latest first.
        gauges: what can get short, with its trend.
        links: lines to browsers that were measured of late.
        conditions: the latest reading; None when the host cannot be read.
    """

    gate: str = "open"
    gate_code: str = "calm"
    gate_text: str = ""
    gate_since_s: float | None = None
    notes: tuple[str, ...] = ()
    changes: tuple[GateChange, ...] = ()
    gauges: tuple[GaugeView, ...] = ()
    links: tuple[LinkView, ...] = ()
    conditions: HostConditions | None = None


def context_view(observer: HostObserver, notes: tuple[str, ...]) -> ContextView:
    """Everything at this moment; `notes` are the present plan's."""
    gate = observer.gate
    return ContextView(
        gate=gate.state.value,
        gate_code=gate.code,
        gate_text=gate.text,
        gate_since_s=gate.since_s if math.isfinite(gate.since_s) else None,
        notes=notes,
        changes=tuple(GateChange(time_s, text) for time_s, text in observer.changes),
        gauges=_gauges(observer),
        links=_links(observer),
        conditions=observer.conditions,
    )


def _gauges(observer: HostObserver) -> tuple[GaugeView, ...]:
    views = []
    for gauge, band, trend in zip(GAUGES, observer.gate.rules.bands, observer.gate.trends, strict=True):
        per_minute = trend.slope_per_s * 60.0
        moves = "steady" if abs(per_minute) < _FLAT else "rises" if per_minute > 0 else "falls"
        short_s = trend.until_s(band.pause) if gauge.runs_out and moves == "rises" else None
        views.append(
            GaugeView(
                gauge.code,
                gauge.name,
                trend.level,
                per_minute,
                moves,
                band.resume,
                band.slow,
                band.pause,
                short_s or None,
            )
        )
    return tuple(views)


def _links(observer: HostObserver) -> tuple[LinkView, ...]:
    if observer.links is None:
        return ()
    return tuple(
        LinkView(
            seen.user,
            seen.ghost,
            seen.verdict.quality,
            seen.verdict.text,
            seen.link.rtt_s,
            seen.link.rtt_best_s,
            seen.link.bytes_per_s,
            seen.link.waiting_share,
            seen.link.relayed_bytes,
            seen.link.time_s,
        )
        for seen in observer.links.all()
    )

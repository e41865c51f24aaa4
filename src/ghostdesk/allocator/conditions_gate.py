"""Whether desktops may be made ready now: as usual, one at a time, or not at all while the host is under pressure.

Two thresholds lie between "as usual" and "slow", two between "slow" and "paused" (they share the middle one): a level
that wavers by less than their distance changes the verdict once and not to and fro. It gets worse at once; it gets
better step by step, each time only after things were well for `dwell_s`. A trend that would reach the pause within
`lead_s` slows warming down beforehand.

The gate is about work that is done ahead. Whoever waits, stands at the door or works is served whatever it says. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from ghostdesk.allocator.conditions import GAUGES, ConditionHistory, Gauge, Trend
from ghostdesk.kernel.conditions import HostConditions, HostFault

PAUSING_FAULTS = frozenset({"oom-kill", "read-only", "disk-full"})
"""A host with one of these fails; with any other it is only looked after."""
SLOWING_FAULTS = frozenset({"hot"})


class GateState(StrEnum):
    """How desktops may be made ready ahead of time."""

    OPEN = "open"
    SLOW = "slow"
    """One at a time."""
    PAUSED = "paused"
    """None."""


_ORDER = (GateState.OPEN, GateState.SLOW, GateState.PAUSED)
_WORDS = {
    GateState.OPEN: "Warming goes on as usual",
    GateState.SLOW: "Warming is slowed down to one desktop at a time",
    GateState.PAUSED: "Warming is paused",
}


@dataclass(frozen=True, slots=True)
class Band:
    """Levels at which warming is paused, slowed down, and as usual again; above 1 a step is never taken.

    Raises:
        ValueError: they do not rise from `resume` through `slow` to `pause`.
    """

    resume: float
    slow: float
    pause: float

    def __post_init__(self) -> None:
        if not 0.0 < self.resume < self.slow < self.pause:
            raise ValueError(f"{self.resume:g}, {self.slow:g}, {self.pause:g} do not rise from above 0")


@dataclass(frozen=True, slots=True)
class GateRules:
    """When the gate moves.

    Args:
        cpu, memory, io: bands of PSI pressure (share of time in which some task waited).
        memory_use, swap, disk: bands of what is in use.
        dwell_s: how long things must be well before one step back to usual, and how long a state lasts at least.
        fault_hold_s: how long one fault counts after it was seen.
        lead_s: how far ahead trends are looked at.
        watch: False leaves the gate open whatever comes.
    """

    cpu: Band = Band(0.4, 0.6, 0.9)
    memory: Band = Band(0.05, 0.1, 0.2)
    io: Band = Band(0.2, 0.4, 0.7)
    memory_use: Band = Band(0.85, 0.9, 0.95)
    swap: Band = Band(0.75, 0.85, 0.95)
    disk: Band = Band(0.9, 0.93, 0.97)
    dwell_s: float = 30.0
    fault_hold_s: float = 60.0
    lead_s: float = 60.0
    watch: bool = True

    @property
    def bands(self) -> tuple[Band, ...]:
        """In the order of `GAUGES`."""
        return (self.cpu, self.memory, self.io, self.memory_use, self.swap, self.disk)


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why the gate should be in a state."""

    state: GateState
    code: str
    text: str


_CALM = _Cause(GateState.OPEN, "calm", "the host is calm")


@dataclass(frozen=True, slots=True)
class WarmingGate:
    """The verdict, and all that the next one depends on.

    Args:
        rules: when it moves.
        state: how desktops may be made ready now.
        code: why, for scripts: a gauge's code, a fault's, or "calm".
        text: the verdict in a sentence for people.
        since_s: when it came to this state.
        held_since_s: when it left the open state; None in it.
        change: what changed at this very reading, for people; empty when nothing did.
        well_since_s: since when the next better state is warranted; None while it is not.
        history: the readings of the last minutes.
        trends: every gauge, in the order of `GAUGES`.
        faults: what is wrong, each with the time until which it counts.
    """

    rules: GateRules = GateRules()
    state: GateState = GateState.OPEN
    code: str = _CALM.code
    text: str = f"{_WORDS[GateState.OPEN]}: {_CALM.text}."
    since_s: float = float("-inf")
    held_since_s: float | None = None
    change: str = ""
    well_since_s: float | None = None
    history: ConditionHistory = field(default=ConditionHistory(), repr=False)
    trends: tuple[Trend, ...] = field(default=(Trend(),) * len(GAUGES), repr=False)
    faults: tuple[tuple[HostFault, float], ...] = ()

    @property
    def most_at_once(self) -> int | None:
        """How many desktops may be on their way at once, made ready ahead; None for no limit of ours."""
        return {GateState.OPEN: None, GateState.SLOW: 1, GateState.PAUSED: 0}[self.state]

    def observe(self, told: HostConditions | None, now_s: float) -> WarmingGate:
        """The gate after one more reading; None when the host could not be read, which by and by counts as calm."""
        if not self.rules.watch:
            return self
        history = self.history.until(now_s) if told is None else self.history.add(told, now_s)
        trends = history.trends()
        faults = self._faults_at(told, now_s)
        since_s = self.since_s if self.since_s <= now_s else now_s  # the clock was set back: count anew
        well_s = self.well_since_s if self.well_since_s is None or self.well_since_s <= now_s else now_s
        seen = replace(
            self, history=history, trends=trends, faults=faults, since_s=since_s, well_since_s=well_s, change=""
        )
        worst = _worst(self.rules, trends, faults)
        if _ORDER.index(worst.state) > _ORDER.index(self.state):
            return seen._moved(worst.state, worst, now_s)
        return seen._eased(worst, now_s)

    def _faults_at(self, told: HostConditions | None, now_s: float) -> tuple[tuple[HostFault, float], ...]:
        """Faults that still count. One that is told again counts from now on."""
        hold_s = self.rules.fault_hold_s
        fresh = {fault.code: (fault, now_s + hold_s) for fault in (told.faults if told is not None else ())}
        kept = {fault.code: (fault, until) for fault, until in self.faults if now_s < until <= now_s + hold_s}
        return tuple((kept | fresh).values())

    def _eased(self, worst: _Cause, now_s: float) -> WarmingGate:
        """One step nearer to usual, when that has been warranted for long enough."""
        if self.state is GateState.OPEN:
            return self
        holding = _holding(self.state, self.rules, self.trends, self.faults)
        if holding is not None:
            return replace(self, well_since_s=None, code=holding.code, text=self._sentence(self.state, holding))
        since_s = now_s if self.well_since_s is None else self.well_since_s
        rest_s = self.rules.dwell_s - min(now_s - since_s, now_s - self.since_s)
        if rest_s > 0.0:
            well = _Cause(
                self.state, _CALM.code, f"it gets better by one step when all stays well for {rest_s:.0f} s more"
            )
            return replace(self, well_since_s=since_s, text=self._sentence(self.state, well))
        return self._moved(_ORDER[_ORDER.index(self.state) - 1], worst, now_s)

    def _moved(self, state: GateState, cause: _Cause, now_s: float) -> WarmingGate:
        told = cause if cause.state is state else replace(cause, text=f"{cause.text}; it gets better step by step")
        text = self._sentence(state, told)
        change = text
        held_since_s = now_s if self.held_since_s is None else min(self.held_since_s, now_s)
        if state is GateState.OPEN:
            change = f"{text} It was held back for {now_s - held_since_s:.0f} s."
        return replace(
            self,
            state=state,
            code=cause.code,
            text=text,
            since_s=now_s,
            held_since_s=None if state is GateState.OPEN else held_since_s,
            well_since_s=None,
            change=change,
        )

    def _sentence(self, state: GateState, cause: _Cause) -> str:
        return f"{_WORDS[state]}: {cause.text}."


OPEN_GATE = WarmingGate()


def _worst(rules: GateRules, trends: tuple[Trend, ...], faults: tuple[tuple[HostFault, float], ...]) -> _Cause:
    """What the host asks for at this moment, whatever was before; the first of equals is told."""
    worst = _CALM
    for cause in (
        *_fault_causes(faults),
        *map(_level_cause, GAUGES, rules.bands, trends, [rules.lead_s] * len(GAUGES)),
    ):
        if _ORDER.index(cause.state) > _ORDER.index(worst.state):
            worst = cause
    return worst


def _fault_causes(faults: tuple[tuple[HostFault, float], ...]) -> list[_Cause]:
    causes = []
    for fault, _until_s in faults:
        if fault.code in PAUSING_FAULTS:
            causes.append(_Cause(GateState.PAUSED, fault.code, fault.text))
        elif fault.code in SLOWING_FAULTS:
            causes.append(_Cause(GateState.SLOW, fault.code, fault.text))
    return causes


def _level_cause(gauge: Gauge, band: Band, trend: Trend, lead_s: float) -> _Cause:
    """What one gauge asks for."""
    if trend.level >= band.pause:
        return _Cause(GateState.PAUSED, gauge.code, _at(gauge, trend, band.pause, band.slow))
    if trend.level >= band.slow:
        return _Cause(GateState.SLOW, gauge.code, _at(gauge, trend, band.slow, band.resume))
    if trend.in_s(lead_s) >= band.pause:
        return _Cause(GateState.SLOW, gauge.code, _rising(gauge, trend))
    return _CALM


def _holding(
    state: GateState, rules: GateRules, trends: tuple[Trend, ...], faults: tuple[tuple[HostFault, float], ...]
) -> _Cause | None:
    """What keeps the gate in `state`; None when the next better one is warranted."""
    for cause in _fault_causes(faults):
        if _ORDER.index(cause.state) >= _ORDER.index(state):
            return cause
    for gauge, band, trend in zip(GAUGES, rules.bands, trends, strict=True):
        if state is GateState.PAUSED and trend.level >= band.slow:
            return _Cause(state, gauge.code, _at(gauge, trend, band.pause, band.slow))
        if state is GateState.SLOW and trend.level >= band.resume:
            return _Cause(state, gauge.code, _at(gauge, trend, band.slow, band.resume))
        if state is GateState.SLOW and trend.in_s(rules.lead_s) >= band.slow:
            return _Cause(state, gauge.code, _rising(gauge, trend))
    return None


def _at(gauge: Gauge, trend: Trend, above: float, below: float) -> str:
    now = f"{gauge.name} is {_percent(trend.level)}"
    return f"{now}; this begins at {_percent(above)} and ends below {_percent(below)}"


def _rising(gauge: Gauge, trend: Trend) -> str:
    return f"{gauge.name} is {_percent(trend.level)} and rises {_percent(trend.slope_per_s * 60.0)} a minute"


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %" if share >= 0.1 or share == 0.0 else f"{100.0 * share:.1f} %"

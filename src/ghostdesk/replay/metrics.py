"""What a recording comes to: waits, misses, and what ghosts cost. Pure.

Idle is what waits for nobody in particular: ghosts that are ready, warm or parked, and those that are being made, less
one for each person who waits for one of them meanwhile. So a static pool of five has five idle ghosts at every moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

import numpy as np

from ghostdesk.profiles.arrivals.seam import Flags, Floats, Ints
from ghostdesk.replay.history import Window
from ghostdesk.replay.recorder import Phase, Recording

_HOUR_S = 3_600.0
TIMELINE_STEP_S = 900.0
WEEK_S = 604_800.0
_UNUSED = (Phase.READY, Phase.WARM, Phase.PARKED)


@dataclass(frozen=True, slots=True)
class CostModel:
    """Assumed amounts, and the operator's prices.

    The watts are those of the Cloud Carbon Footprint project's methodology (cloudcarbonfootprint.org, "Methodology"):
    0.392 W for a GB of memory, and 3.5 W for a busy virtual core as the average of one large provider's machines. They
    are a model, not a measurement.

    Args:
        ghost_memory_gib: what a ghost that waits or is being made holds.
        parked_share: share of it that stays resident when parked.
        boot_cores: CPU cores in use while a ghost is being made.
        idle_cores: CPU cores in use by a ghost that waits and is not frozen.
        watts_per_gib, watts_per_core: for energy.
        price_per_ghost_hour, price_per_gib_hour, price_per_kwh: in the operator's money.
    """

    ghost_memory_gib: float = 0.25
    parked_share: float = 0.1
    boot_cores: float = 0.5
    idle_cores: float = 0.0003
    watts_per_gib: float = 0.392
    watts_per_core: float = 3.5
    price_per_ghost_hour: float = 0.0
    price_per_gib_hour: float = 0.0
    price_per_kwh: float = 0.0

    @property
    def priced(self) -> bool:
        """Whether the operator gave any price."""
        return self.price_per_ghost_hour + self.price_per_gib_hour + self.price_per_kwh > 0


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from coming to having a desktop; NaN where there is nobody to tell of."""

    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month of the operator's zone."""

    month: str
    starts: int
    found: int


@dataclass(frozen=True)
class Figures:
    """What a policy would have done in the judged window.

    Args:
        starts: people who came. `found` of them found a ready ghost, `missed` had to wait for one, and `refused` got
            none, as the ceiling or the memory was reached.
        wait: of all who got a desktop; `missed_wait` of those who missed.
        idle_ghost_hours: see the module; `booting_ghost_hours` of them went into making ghosts.
        memory_gib_hours, cpu_core_hours: held by ghosts while idle.
        energy_kwh: modelled.
        boots: ghosts that were begun; `evictions` of ghosts were destroyed unused.
        money: by the operator's prices.
        months: the service target has to hold in each.
        heat_starts, heat_missed: by local weekday and hour, shape (7, 24), Monday first.
    """

    starts: int
    found: int
    missed: int
    refused: int
    hit_rate: float
    wait: Waits
    missed_wait: Waits
    idle_ghost_hours: float
    booting_ghost_hours: float
    memory_gib_hours: float
    cpu_core_hours: float
    energy_kwh: float
    boots: int
    evictions: int
    money: float
    months: tuple[Month, ...]
    heat_starts: list[list[int]] = field(repr=False)
    heat_missed: list[list[int]] = field(repr=False)


@dataclass(frozen=True)
class Timeline:
    """A week in steps of a quarter of an hour: mean number of ghosts by phase, people who came, and who missed."""

    from_s: float
    step_s: float
    starts: list[int]
    missed: list[int]
    booting: list[float]
    ready: list[float]
    warm: list[float]
    active: list[float]


def measure(recording: Recording, window: Window, model: CostModel, zone: tzinfo) -> Figures:
    """Everything but the timeline."""
    return measure_parts([(recording, window)], model, zone)


def measure_parts(parts: Sequence[tuple[Recording, Window]], model: CostModel, zone: tzinfo) -> Figures:
    """Everything but the timeline, of a time that was replayed in parts that follow each other."""
    served = [(one, (one.start_s >= of.judge_s) & (one.start_s < of.until_s)) for one, of in parts]
    start_s = np.concatenate([one.start_s[judged] for one, judged in served])
    served_s = np.concatenate([one.served_s[judged] for one, judged in served])
    found = np.concatenate([one.found[judged] for one, judged in served]) > 0
    got = np.isfinite(served_s)
    wait_s = served_s - start_s
    hours = {phase: sum(phase_s(one, of, phase) for one, of in parts) / _HOUR_S for phase in Phase}
    waiting_h = sum(waiting_s(one, of) for one, of in parts) / _HOUR_S
    unused_h = sum(hours[phase] for phase in _UNUSED)
    booting_h = max(hours[Phase.BOOTING] - waiting_h, 0.0)
    memory = model.ghost_memory_gib * (booting_h + unused_h - (1.0 - model.parked_share) * hours[Phase.PARKED])
    cores = model.boot_cores * booting_h + model.idle_cores * hours[Phase.READY]
    kwh = (memory * model.watts_per_gib + cores * model.watts_per_core) / 1000.0
    boots, evictions = np.sum([_made_and_wasted(one, of) for one, of in parts], axis=0).tolist()
    weekday, hour, month = calendar(start_s, zone)
    return Figures(
        starts=len(start_s),
        found=int(found.sum()),
        missed=int((~found & got).sum()),
        refused=int((~got).sum()),
        hit_rate=float(found.mean()) if len(found) else float("nan"),
        wait=waits(wait_s[got]),
        missed_wait=waits(wait_s[got & ~found]),
        idle_ghost_hours=unused_h + booting_h,
        booting_ghost_hours=booting_h,
        memory_gib_hours=memory,
        cpu_core_hours=cores,
        energy_kwh=kwh,
        boots=boots,
        evictions=evictions,
        money=(unused_h + booting_h) * model.price_per_ghost_hour
        + memory * model.price_per_gib_hour
        + kwh * model.price_per_kwh,
        months=_months(month, found),
        heat_starts=_heat(weekday, hour),
        heat_missed=_heat(weekday[~found], hour[~found]),
    )


def _made_and_wasted(recording: Recording, window: Window) -> tuple[int, int]:
    """Ghosts that were begun within the window, and those destroyed unused."""
    within = (recording.change_s >= window.judge_s) & (recording.change_s < window.until_s)
    wasted = within & (recording.after == Phase.DRAINING) & np.isin(recording.before, _UNUSED)
    return int((within & (recording.after == Phase.BOOTING)).sum()), int(wasted.sum())


def phase_s(recording: Recording, window: Window, phase: Phase) -> float:
    """Ghost-seconds in a phase within the window."""
    delta = (recording.after == phase).astype(np.float64) - (recording.before == phase)
    return float((delta * (window.until_s - np.clip(recording.change_s, window.judge_s, window.until_s))).sum())


def waiting_s(recording: Recording, window: Window) -> float:
    """Seconds that people waited for a ghost that was being made, within the window."""
    missed = (recording.found == 0) & np.isfinite(recording.claimed_s)
    begin = np.clip(recording.start_s[missed], window.judge_s, window.until_s)
    return float((np.clip(recording.claimed_s[missed], window.judge_s, window.until_s) - begin).sum())


def waits(wait_s: Floats) -> Waits:
    """Mean and percentiles."""
    if not len(wait_s):
        return Waits(*(float("nan"),) * 4)
    return Waits(float(wait_s.mean()), *(float(one) for one in np.quantile(wait_s, (0.5, 0.95, 0.99))))


def timeline(recording: Recording, from_s: float, window: Window) -> Timeline:
    """One week from `from_s` on, or less where the window ends before."""
    until_s = min(from_s + WEEK_S, window.until_s)
    steps = max(1, int((until_s - from_s) // TIMELINE_STEP_S))
    edges: Floats = from_s + TIMELINE_STEP_S * np.arange(steps + 1, dtype=np.float64)
    missed = recording.start_s[recording.found == 0]
    return Timeline(
        from_s,
        TIMELINE_STEP_S,
        np.histogram(recording.start_s, edges)[0].tolist(),
        np.histogram(missed, edges)[0].tolist(),
        *(
            np.round(mean_count(recording, phase, edges), 3).tolist()
            for phase in (Phase.BOOTING, Phase.READY, Phase.WARM, Phase.ACTIVE)
        ),
    )


def mean_count(recording: Recording, phase: Phase, edges_s: Floats) -> Floats:
    """Mean number of ghosts in a phase between one edge and the next, shape (edges - 1,)."""
    delta = (recording.after == phase).astype(np.float64) - (recording.before == phase)
    changed = np.flatnonzero(delta)
    change_s = recording.change_s[changed]
    before_s = min([edges_s[0], *change_s[:1]]) - 1.0
    time_s = np.concatenate(([before_s], change_s))
    count = np.concatenate(([0.0], np.cumsum(delta[changed])))
    area = np.concatenate(([0.0], np.cumsum(count[:-1] * np.diff(time_s))))
    last = np.searchsorted(time_s, edges_s, side="right") - 1
    whole = area[last] + count[last] * (edges_s - time_s[last])
    return np.asarray(np.diff(whole) / np.diff(edges_s))


def busiest_week_s(start_s: Floats, window: Window, zone: tzinfo) -> float:
    """The local Monday of the week in which most people came (UTC seconds), within the window."""
    inside = start_s[(start_s >= window.judge_s) & (start_s < window.until_s)]
    first = datetime.fromtimestamp(float(inside[0]), zone)
    monday = first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() - 86_400.0 * first.weekday()
    week = ((inside - monday) // WEEK_S).astype(np.int64)
    return max(monday + float(np.bincount(week).argmax()) * WEEK_S, window.judge_s)


def calendar(time_s: Floats, zone: tzinfo) -> tuple[Ints, Ints, list[str]]:
    """Local weekday (Monday is 0), hour, and month of each time. Clocks change on whole quarters of an hour."""
    quarter, where = np.unique((time_s // TIMELINE_STEP_S).astype(np.int64), return_inverse=True)
    local = [datetime.fromtimestamp(q * TIMELINE_STEP_S, zone) for q in quarter.tolist()]
    weekday = np.array([one.weekday() for one in local], dtype=np.int64)[where]
    hour = np.array([one.hour for one in local], dtype=np.int64)[where]
    months = [f"{one.year:04d}-{one.month:02d}" for one in local]
    return weekday, hour, [months[place] for place in where.tolist()]


def _heat(weekday: Ints, hour: Ints) -> list[list[int]]:
    heat: list[list[int]] = np.bincount(weekday * 24 + hour, minlength=168).reshape(7, 24).tolist()
    return heat


def _months(month: list[str], found: Flags) -> tuple[Month, ...]:
    names, where = np.unique(np.array(month), return_inverse=True)
    starts, hits = np.bincount(where, minlength=len(names)), np.bincount(where, weights=found, minlength=len(names))
    return tuple(Month(str(n), int(s), int(h)) for n, s, h in zip(names, starts, hits, strict=True))

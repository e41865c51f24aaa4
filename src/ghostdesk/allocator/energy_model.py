"""What a host draws: a straight line from idle to busy, its sleep, and its wakes. Pure.

The line is the field's usual model (Fan, Weber and Barroso, "Power provisioning for a warehouse-sized computer", ISCA
2007: power grows nearly linearly with CPU use). `calibrated` fits it to readings of the host itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.resources import GIB

JOULES_A_KWH = 3_600_000.0
_FEWEST_READINGS = 8
_LEAST_SPAN = 0.1
"""Use has to have moved by so much, or a slope cannot be seen."""
_ROUNDS = 4
_OUTLIER_MADS = 4.0
_MAD_TO_DEVIATION = 1.4826
_LEAST_DEVIATION = 0.01
"""Sensors are coarse: what lies within so much of the median power is never an outlier."""
_MOST_W = 1e5


@dataclass(frozen=True, slots=True)
class HostPowerModel:
    """One kind of host. Every figure is an assumption unless `measured` says that idle and busy watts were calibrated.

    Args:
        host_type: its name.
        idle_w, busy_w: awake with nothing to do, and with every core in use.
        suspended_w: in suspend to RAM, or switched off with a network card that listens.
        suspend_time_s, wake_time_s: from the call until it sleeps, and until it can serve.
        transition_w: meanwhile.
        memory_w_per_gib: of memory that ghosts hold, only to compare rungs: it is part of `idle_w`.
        source: where the figures are from.
        measured: whether idle and busy watts were fitted to readings.
    """

    host_type: str
    idle_w: float
    busy_w: float
    suspended_w: float
    suspend_time_s: float
    wake_time_s: float
    transition_w: float
    memory_w_per_gib: float = 0.392
    source: str = "assumed"
    measured: bool = False

    def __post_init__(self) -> None:
        amounts = (self.idle_w, self.busy_w, self.suspended_w, self.transition_w, self.memory_w_per_gib)
        if not all(0.0 <= one <= _MOST_W for one in amounts) or not self.suspended_w <= self.idle_w <= self.busy_w:
            raise ValueError(f"watts of {self.host_type} have to be 0 <= suspended <= idle <= busy: {amounts}")
        if not all(0.0 <= one < math.inf for one in (self.suspend_time_s, self.wake_time_s)):
            raise ValueError(f"times of {self.host_type} have to be 0 or more")

    @property
    def slope_w(self) -> float:
        """Watts from no use to all cores in use."""
        return self.busy_w - self.idle_w

    def power_w(self, use: float) -> float:
        """Awake, with a share of all cores in use; shares beyond 0 to 1 are cut, and NaN counts as none."""
        return self.idle_w + self.slope_w * (min(max(use, 0.0), 1.0) if use == use else 0.0)  # noqa: PLR0124

    @property
    def cycle_energy_j(self) -> float:
        """Of one suspend and one wake."""
        return self.transition_w * (self.suspend_time_s + self.wake_time_s)

    @property
    def break_even_s(self) -> float:
        """A sleep, transitions included, that is shorter than this costs more than staying idle."""
        saved_w = self.idle_w - self.suspended_w
        if saved_w <= 0.0:
            return math.inf
        awake_s = self.suspend_time_s + self.wake_time_s
        return max(awake_s, (self.cycle_energy_j - self.suspended_w * awake_s) / saved_w)

    def rung_w(self, state: GhostState, *, memory_bytes: float, cpu_cores: float = 0.0, cores: float = 1.0) -> float:
        """What holding one ghost costs on a host that is awake anyway: its memory's share, and its CPU's slope.

        Args:
            state: a rung; what is absent, or cached alone, costs nothing, and a parked or warm ghost is frozen.
            memory_bytes: what it keeps resident there.
            cpu_cores: cores in use; frozen ghosts use none.
            cores: of the host.
        """
        if state in (GhostState.ABSENT, GhostState.CACHED):
            return 0.0
        frozen = state in (GhostState.PARKED, GhostState.WARM)
        busy_w = 0.0 if frozen else self.slope_w * min(max(cpu_cores, 0.0) / max(cores, 1e-9), 1.0)
        return self.memory_w_per_gib * max(memory_bytes, 0.0) / GIB + busy_w


SERVER = HostPowerModel(
    "server", idle_w=120.0, busy_w=240.0, suspended_w=12.0, suspend_time_s=10.0, wake_time_s=60.0, transition_w=160.0,
    source="assumed: a small two-socket server, idle at half of its peak; Jettison (EuroSys 2012) tells of up to 60 %",
)  # fmt: skip
"""A server that holds many desktops; all figures assumed."""
DESKTOP_PC = HostPowerModel(
    "desktop PC", idle_w=50.0, busy_w=90.0, suspended_w=2.0, suspend_time_s=10.0, wake_time_s=5.0, transition_w=60.0,
    source="assumed: an office PC without its screen; suspend to RAM draws 1 to 3 W and wakes in seconds (Energy Star)",
)  # fmt: skip
"""A seat of its own; all figures assumed."""
HOST_TYPES = {one.host_type: one for one in (SERVER, DESKTOP_PC)}


@dataclass(frozen=True, slots=True)
class UseReading:
    """Watts of a host while a share of its cores was in use."""

    use: float
    power_w: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted model, or the old one with the reason.

    Args:
        model: to use from now on.
        kept, dropped: readings that were believed, and those that were not.
        deviation_w: root of the mean square of what the line misses by; 0 where nothing was fitted.
        problem: why nothing was fitted; empty when something was.
    """

    model: HostPowerModel
    kept: int
    dropped: int
    deviation_w: float
    problem: str = ""


def calibrated(model: HostPowerModel, readings: Sequence[UseReading]) -> Calibration:
    """Fit idle and busy watts by least squares, dropping what lies 4 deviations (by the median) from the line.

    Sensors that lie give readings that are no number, negative, or absurd: they are dropped first. Too few readings,
    or use that hardly moved, leave the model as it is and say so; so does a slope below zero.
    """
    # Comparisons with what is no number are false.
    sound = [one for one in readings if 0.0 <= one.use <= 1.0 and 0.0 < one.power_w < _MOST_W]
    bad = len(readings) - len(sound)
    if len(sound) < _FEWEST_READINGS:
        return Calibration(model, len(sound), bad, 0.0, f"{len(sound)} sound readings; {_FEWEST_READINGS} are needed")
    use, power_w = np.array([one.use for one in sound]), np.array([one.power_w for one in sound])
    kept = np.ones(len(sound), dtype=bool)
    # The first line goes through medians (Theil and Sen), as one wild reading would draw a least-squares line to it.
    idle_w, slope_w = _median_line(use, power_w)
    for _ in range(_ROUNDS):
        missed_w = power_w - (idle_w + slope_w * use)
        middle_w = float(np.median(missed_w[kept]))
        deviation_w = _MAD_TO_DEVIATION * float(np.median(np.abs(missed_w[kept] - middle_w)))
        least_w = _LEAST_DEVIATION * float(np.median(power_w))
        again = np.abs(missed_w - middle_w) <= _OUTLIER_MADS * max(deviation_w, least_w)
        if int(again.sum()) < _FEWEST_READINGS or float(np.ptp(use[again])) < _LEAST_SPAN:
            problem = f"use hardly moved ({float(np.ptp(use)):.0%}): a slope cannot be seen"
            if int(again.sum()) < _FEWEST_READINGS:
                problem = "the readings follow no line"
            return Calibration(model, int(again.sum()), len(readings) - int(again.sum()), 0.0, problem)
        slope_w, idle_w = (float(one) for one in np.polyfit(use[again], power_w[again], 1))
        if bool((again == kept).all()):
            break
        kept = again
    if slope_w < 0.0 or idle_w <= 0.0:
        return Calibration(model, len(sound), bad, 0.0, "power falls as use grows: the sensor, or the use, is wrong")
    missed_w = power_w[kept] - (idle_w + slope_w * use[kept])
    fitted = replace(
        model, idle_w=idle_w, busy_w=idle_w + slope_w, suspended_w=min(model.suspended_w, idle_w), measured=True,
        source=f"fitted to {int(kept.sum())} readings",
    )  # fmt: skip
    dropped = len(readings) - int(kept.sum())
    return Calibration(fitted, int(kept.sum()), dropped, float(np.sqrt(np.mean(missed_w**2))))


_MOST_PAIRS = 400
_LEAST_RUN = 1e-6
"""Readings closer in use than this say nothing of a slope, and dividing by their distance may overflow."""


def _median_line(use: np.ndarray, power_w: np.ndarray) -> tuple[float, float]:
    """Intercept and slope by the median of slopes between readings (Sen 1968)."""
    places = np.unique(np.linspace(0, len(use) - 1, min(len(use), _MOST_PAIRS)).astype(np.int64))
    x, y = use[places], power_w[places]
    rise, run = y[:, None] - y[None, :], x[:, None] - x[None, :]
    far = run > _LEAST_RUN
    slope_w = float(np.median(rise[far] / run[far])) if bool(far.any()) else 0.0
    return float(np.median(y - slope_w * x)), slope_w


def kwh(energy_j: float) -> float:
    """Joules as kilowatt-hours."""
    return energy_j / JOULES_A_KWH

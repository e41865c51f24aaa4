"""What a fleet of desktops would have drawn, had it slept: kilowatt-hours against always on, with the misses. Modelled.

Two worlds, each with its baselines: desktops hosted on servers that sleep and wake (`energy_world`), and physical
desktops that do (`energy_seats`). Every figure that was assumed is in `EnergyAssumptions` and goes with the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.evaluate.energy_lines import (
    WAKE_TIMES_S,
    EnergyLine,
    SeatSensitivity,
    Sensitivity,
    hosted_lines,
    seat_lines,
    seat_sensitivity,
    sensitivity_lines,
)
from ghostdesk.evaluate.energy_lives import (
    LEFT_OPEN,
    MOVE,
    STAY,
    TIMERS,
    EnergyAssumptions,
    Progress,
    Run,
    all_uses_s,
    lives_of,
    servers_of,
    window_of,
)
from ghostdesk.evaluate.energy_log import DesktopTimes, clipped_s, forgotten
from ghostdesk.kernel.errors import ImportFileError

_DAY_S = 86_400.0
_LEFT_OPEN_H = (4.0, 8.0, 12.0)


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """Both worlds on one log.

    Args:
        modelled: always true: nobody measured a watt.
        desktops, servers: how many there are.
        starts: that were judged.
        on_hours, use_hours: desktop-hours on (not offline) and in use in the judged part.
        left_open: hours, and desktop-hours in use were uses left open from then on.
        days: length of the judged part; `trained_days` lie before it.
        hosted, seats: the lines of both worlds, always on first.
        sensitivity, seat_sensitivity: of the hosted, and of the physical world.
        assumptions: all of them.
        notes: about the log.
    """

    modelled: bool
    desktops: int
    servers: int
    starts: int
    on_hours: float
    use_hours: float
    left_open: tuple[tuple[float, float], ...]
    days: float
    trained_days: float
    hosted: tuple[EnergyLine, ...]
    seats: tuple[EnergyLine, ...]
    sensitivity: tuple[Sensitivity, ...]
    seat_sensitivity: tuple[SeatSensitivity, ...]
    assumptions: EnergyAssumptions
    notes: tuple[str, ...] = ()


def evaluate_energy(
    times: Sequence[DesktopTimes],
    assumed: EnergyAssumptions,
    *,
    train_until_s: float | None = None,
    until_s: float | None = None,
    train_days: float = 180.0,
    sensitivity: bool = True,
    jobs: int = 1,
    notes: Sequence[str] = (),
    progress: Progress = lambda _share: None,
) -> EnergyReport:
    """Both worlds.

    Args:
        times: of every desktop.
        assumed: see there.
        train_until_s: what lies before is learnt from; None is the first four fifths.
        until_s: the end of the judged part; None is the end of the log.
        train_days: how much policies learn from, at most.
        sensitivity: whether other assumptions are tried as well.
        jobs: processes.
        notes: go with the report.
        progress: see there.

    Raises:
        ImportFileError: nobody ever came in the judged part.
    """
    window = window_of(times, train_until_s, until_s, train_days)
    judged = sum(int(((one.start_s >= window.score_s) & (one.start_s < window.until_s)).sum()) for one in window.times)
    if not judged:
        raise ImportFileError("No start is left to judge after the training time.", "Give an earlier --train-until.")
    runs = [STAY, MOVE, LEFT_OPEN, *TIMERS]
    if sensitivity:
        others = [wake_s for wake_s in WAKE_TIMES_S if wake_s != assumed.server.wake_time_s]
        runs += [Run(True, wake_time_s=wake_s) for wake_s in others]
        runs += [Run(True, slots=slots) for slots in (assumed.slots // 2, assumed.slots * 2)]
    costs, seat_pool = lives_of(window, assumed, runs, jobs, progress)
    on = np.concatenate([one.on_s for one in window.times])

    def hours(of: Sequence[DesktopTimes]) -> float:
        return clipped_s(all_uses_s(of), window.score_s, window.until_s) / 3_600.0

    return EnergyReport(
        True, len(window.times), servers_of(window, assumed.slots), judged,
        clipped_s(on, window.score_s, window.until_s) / 3_600.0,
        hours(window.times),
        tuple((cut_h, hours(forgotten(window.times, 3_600.0 * cut_h)[0])) for cut_h in _LEFT_OPEN_H),
        window.hours / 24.0, (window.score_s - window.from_s) / _DAY_S,
        hosted_lines(window, assumed, costs), seat_lines(window, assumed, seat_pool),
        sensitivity_lines(window, assumed, costs) if sensitivity else (),
        seat_sensitivity(window, assumed, seat_pool) if sensitivity else (), assumed, tuple(notes),
    )  # fmt: skip

"""Kilowatt-hours of a replayed fleet: always on against as it ran. Modelled, never measured. Pure.

Desktops are packed on servers of one kind (`allocator.energy_model`), and draw their share of one: awake servers are
full, and what no desktop is on sleeps. So it is a comparison of two ways to run the same desktops, not a forecast of a
bill: `ghostdesk evaluate energy` has the servers one by one, with their wakes.

*Always on* is every desktop of the history (each person's own, or each shared one) that is used in the judged window,
awake throughout. *As run* is the desktops and ghosts that there were, at the times that there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ghostdesk.allocator.energy_model import JOULES_A_KWH, SERVER
from ghostdesk.replay.history import Window
from ghostdesk.replay.metrics import CostModel, phase_s
from ghostdesk.replay.recorder import Phase, Recording

DESKTOPS_A_SERVER = 16
ACTIVE_USE = 0.3
"""Share of a server's cores in use when it is full of desktops in use."""
MODEL = (
    f"a {SERVER.host_type} of {DESKTOPS_A_SERVER} desktops: {SERVER.idle_w:g} W idle, {SERVER.busy_w:g} W busy, "
    f"{SERVER.suspended_w:g} W asleep; {ACTIVE_USE:.0%} of its cores in use when full of desktops in use (all assumed)"
)


@dataclass(frozen=True, slots=True)
class FleetEnergy:
    """What the whole fleet would have drawn.

    Args:
        modelled: always true; `model` names the model.
        desktops: of the history, that were used in the window.
        always_on_kwh, as_run_kwh: see the module.
        saved_share: of the former; below 0 where ghosts cost more than was saved.
    """

    modelled: bool
    model: str
    desktops: int
    always_on_kwh: float
    as_run_kwh: float
    saved_share: float


def fleet_energy(parts: Sequence[tuple[Recording, Window]], desktops: int, model: CostModel) -> FleetEnergy:
    """Of a time that was replayed in parts.

    Args:
        parts: recordings, with the part of the judged window that each is of.
        desktops: that are always on for comparison.
        model: how much of a ghost stays resident when parked, and what making one takes.
    """
    spent_s = {phase: sum(phase_s(one, of, phase) for one, of in parts) for phase in Phase}
    whole_s = desktops * sum(of.until_s - of.judge_s for _, of in parts)
    active_s = spent_s[Phase.ACTIVE] + spent_s[Phase.DRAINING]
    held_s = active_s + spent_s[Phase.BOOTING] + spent_s[Phase.READY] + spent_s[Phase.WARM]
    held_s += model.parked_share * spent_s[Phase.PARKED]
    share_w = SERVER.idle_w / DESKTOPS_A_SERVER
    asleep_w = SERVER.suspended_w / DESKTOPS_A_SERVER
    work_j = active_s * ACTIVE_USE * SERVER.slope_w / DESKTOPS_A_SERVER
    always_j = whole_s * share_w + work_j
    making_j = spent_s[Phase.BOOTING] * model.boot_cores * model.watts_per_core
    run_j = held_s * share_w + max(0.0, whole_s - held_s) * asleep_w + work_j + making_j
    saved = 1.0 - run_j / always_j if always_j else 0.0
    return FleetEnergy(True, MODEL, desktops, always_j / JOULES_A_KWH, run_j / JOULES_A_KWH, saved)

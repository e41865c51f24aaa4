"""Energy as the status shows it."""

from __future__ import annotations

from dataclasses import dataclass

ALONE = (
    "one host: it is never suspended by itself, as it serves the page; unused ghosts are frozen and parked, so that "
    "its processors can idle"
)


@dataclass(frozen=True, slots=True)
class EnergyView:
    """What the status shows.

    Args:
        power_w: now; None where nothing says.
        source: which sensor or model.
        modelled: whether it was worked out from use instead of measured.
        problem: why a sensor was not believed, or the signal not read.
        held_w: what ghosts that wait add to a host that is awake anyway: modelled.
        since_s: since when energy is counted.
        measured_kwh, modelled_kwh: drawn since then, by sensors and by a model.
        saved_kwh: what suspended hosts did not draw.
        unknown_s: time without readings.
        worth: what a watt is worth now against the usual, 1 without a signal; `worth_reason` says why.
        fitted: what readings of this host say of its model: idle and busy watts, readings kept and dropped, and what
            was wrong (empty: it could be fitted).
        hosts: what is done about hosts, for people.
    """

    power_w: float | None = None
    source: str = ""
    modelled: bool = True
    problem: str = ""
    held_w: float = 0.0
    since_s: float = 0.0
    measured_kwh: float = 0.0
    modelled_kwh: float = 0.0
    saved_kwh: float = 0.0
    unknown_s: float = 0.0
    worth: float = 1.0
    worth_reason: str = ""
    fitted_idle_w: float = 0.0
    fitted_busy_w: float = 0.0
    fitted_kept: int = 0
    fitted_dropped: int = 0
    fitted_problem: str = ""
    hosts: str = ALONE


NO_ENERGY = EnergyView()
"""Before anything was read."""

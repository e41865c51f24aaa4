"""Physical desktops: every seat is a PC of its own that sleeps while nobody sits there. Exact from the log. Pure.

Seats wake when they are touched, and that takes the PC's wake time: such a start is late. A seat that was off in the
log until its start counts for nobody. With *consolidation* (LiteGreen, USENIX ATC 2010; Jettison, EuroSys 2012) the
desktop of a sleeping seat goes on, parked, on a server that is always awake, so that it stays reachable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.allocator.energy_model import HostPowerModel
from ghostdesk.evaluate.energy_log import DesktopTimes, clipped_s, count_at, merged, overlap
from ghostdesk.evaluate.pool_world import STEP_S, PoolCost
from ghostdesk.profiles.arrivals.seam import Floats

_SOON_S = 60.0
"""A seat that was on within a minute before its start was not off."""


@dataclass(frozen=True, slots=True)
class SeatWorld:
    """What the world is like.

    Args:
        from_s, until_s: the judged part, UTC seconds.
        seat, server: of every seat, and of servers for parked desktops.
        active_use, idle_use: share of a seat's cores in use while somebody works, and while it idles.
        parked_a_server: desktops that a server holds parked.
    """

    from_s: float
    until_s: float
    seat: HostPowerModel
    server: HostPowerModel
    active_use: float
    idle_use: float
    parked_a_server: int


@dataclass(frozen=True, slots=True)
class SeatCost:
    """What came of it. Seconds are of all seats together.

    Args:
        starts: those whose seat was on, or might have slept; `late` of them found it asleep.
        awake_s: awake, in use or not; `asleep_s` of the time that it was on in the log, it slept.
        wakes: how often.
        server_j: of the servers that hold parked desktops.
        energy_j: of seats and servers.
    """

    starts: int
    late: int
    awake_s: float
    asleep_s: float
    wakes: int
    server_j: float
    energy_j: float

    @property
    def late_share(self) -> float:
        """0 to 1."""
        return self.late / self.starts if self.starts else 0.0


def sleeping_after(
    times: Sequence[DesktopTimes],
    world: SeatWorld,
    after_s: float,
    *,
    consolidated: bool = False,
    foreseen: bool = False,
) -> SeatCost:
    """Every seat sleeps once nobody has used it for `after_s`.

    Args:
        times: of the seats.
        world: see there.
        after_s: infinite is always on.
        consolidated: parked desktops go on, on servers.
        foreseen: the clairvoyant: it sleeps at once where that pays, and is awake just in time.
    """
    starts = late = wakes = 0
    awake_s = use_s = 0.0
    asleep = []
    for one in times:
        begin_s = one.end_s[:-1] if len(one.end_s) else one.end_s
        gaps = np.stack((begin_s + after_s, one.start_s[1:]), axis=1) if len(one.start_s) > 1 else np.zeros((0, 2))
        if foreseen:
            gaps = gaps[gaps[:, 1] - gaps[:, 0] > world.seat.break_even_s]
            gaps[:, 1] -= world.seat.wake_time_s
        ends = _ends(one, after_s)
        sleeps = overlap(merged(np.concatenate((gaps, ends))), one.on_s)
        sleeps = np.clip(sleeps, world.from_s, world.until_s)
        sleeps = sleeps[sleeps[:, 1] > sleeps[:, 0]]
        judged = one.start_s[(one.start_s >= world.from_s) & (one.start_s < world.until_s)]
        was_on = _inside(judged - _SOON_S, one.on_s)
        starts += int(was_on.sum())
        late += 0 if foreseen else int(np.isin(judged[was_on], sleeps[:, 1]).sum())
        wakes += len(sleeps)
        awake_s += clipped_s(one.on_s, world.from_s, world.until_s) - float((sleeps[:, 1] - sleeps[:, 0]).sum())
        use_s += clipped_s(np.stack((one.start_s, one.end_s), axis=1), world.from_s, world.until_s)
        asleep.append(sleeps)
    slept = np.concatenate([np.zeros((0, 2)), *asleep])
    asleep_s = float((slept[:, 1] - slept[:, 0]).sum())
    server_j = _servers_j(slept, world) if consolidated else 0.0
    seat = world.seat
    # A transition draws its own watts instead of those of sleep.
    cycle_j = seat.cycle_energy_j - seat.suspended_w * (seat.suspend_time_s + seat.wake_time_s)
    use = use_s * world.active_use + max(awake_s - use_s, 0.0) * world.idle_use
    energy_j = seat.idle_w * awake_s + seat.slope_w * use + seat.suspended_w * asleep_s + cycle_j * wakes + server_j
    return SeatCost(starts, late, awake_s, asleep_s, wakes, server_j, energy_j)


def pooled(times: Sequence[DesktopTimes], world: SeatWorld, pool: PoolCost, parked_s: Floats) -> SeatCost:
    """People take any seat that is awake, and the pool's policy says how many are: a sign shows which.

    As in the pool's own model, a seat that is taken wakes another one, and one that is left falls asleep.

    Args:
        times: of the seats.
        world: see there.
        pool: what the pool cost, with a seat's wake as its lead time.
        parked_s: when desktops that were left open are parked on servers, shape (times, 2).
    """
    seat = world.seat
    use_s = sum(clipped_s(np.stack((one.start_s, one.end_s), axis=1), world.from_s, world.until_s) for one in times)
    on_s = sum(clipped_s(one.on_s, world.from_s, world.until_s) for one in times)
    asleep_s = max(0.0, on_s - use_s - pool.idle_s)
    # The wake is in the pool's idle time, and the time to fall asleep in that asleep, at their watts.
    more_j = (seat.transition_w - seat.idle_w) * seat.wake_time_s
    more_j += (seat.transition_w - seat.suspended_w) * seat.suspend_time_s
    use = use_s * world.active_use + pool.idle_s * world.idle_use
    server_j = _servers_j(parked_s, world) if len(parked_s) else 0.0
    energy_j = seat.idle_w * (use_s + pool.idle_s) + seat.slope_w * use + seat.suspended_w * asleep_s
    energy_j += more_j * pool.boots + server_j
    return SeatCost(pool.starts, pool.misses, use_s + pool.idle_s, asleep_s, pool.boots, server_j, energy_j)


def _ends(one: DesktopTimes, after_s: float) -> Floats:
    """After the last use there is no next one; before the first, nobody knows of a seat, and it stays awake."""
    if not len(one.end_s) or not np.isfinite(after_s):
        return np.zeros((0, 2))
    return np.array([[one.end_s[-1] + after_s, max(one.on_s[-1, 1], one.end_s[-1] + after_s)]])


def _inside(at_s: Floats, times_s: Floats) -> np.ndarray:
    place = np.searchsorted(times_s[:, 0], at_s, side="right") - 1
    return (place >= 0) & (at_s < times_s[np.maximum(place, 0), 1]) if len(times_s) else np.zeros(len(at_s), dtype=bool)


def _servers_j(slept: Floats, world: SeatWorld) -> float:
    """As many servers as the most parked desktops need, always awake, with next to nothing to do."""
    at_s = np.arange(world.from_s, world.until_s, STEP_S)
    most = int(count_at(slept, at_s).max()) if len(slept) and len(at_s) else 0
    servers = int(np.ceil(most / world.parked_a_server))
    return servers * world.server.power_w(world.idle_use) * (world.until_s - world.from_s)

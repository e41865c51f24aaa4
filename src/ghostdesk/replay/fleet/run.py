"""What a run of the fleet was given, and what came of it, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ghostdesk.engines.simulated_faults import FaultRates
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.fleet.invariants import CODES, Violation
from ghostdesk.replay.fleet.people import Habits

SIMULATED = (
    "Simulated: the control loop, its planner and its recovery are the real ones; hosts, desktops, people, their "
    "forecast and all faults are made up, and time is virtual. Only processor times and memory were measured."
)


@dataclass(frozen=True, slots=True)
class FleetSetup:
    """What is simulated.

    Args:
        hosts, desktops_a_host: how many, and room of each.
        users: synthetic people.
        faults: what goes wrong, in the first `minutes`.
        minutes: how long people come and go and things go wrong; then both end.
        calm_s: how long the loop may take to converge after that.
        tick_s: time between two ticks.
        seed: equal seeds give equal runs.
        floor: fewest ghosts for anybody.
        habits: how people live.
        host_memory_bytes: memory of each host.
    """

    hosts: int
    users: int
    desktops_a_host: int = 50
    faults: FaultRates = field(default_factory=FaultRates)
    minutes: float = 10.0
    calm_s: float = 1800.0
    tick_s: float = 5.0
    seed: int = 0
    floor: int = 2
    habits: Habits = field(default_factory=Habits)
    host_memory_bytes: float = 64.0 * 2**30

    def __post_init__(self) -> None:
        if not (1 <= self.hosts <= 10_000 and 1 <= self.users <= 1_000_000 and 1 <= self.desktops_a_host <= 1_000):
            raise ConfigError(
                f"No fleet has {self.hosts} hosts of {self.desktops_a_host} desktops and {self.users} users.",
                "Give 1 to 10,000 hosts, 1 to 1,000 desktops a host and 1 to 1,000,000 users.",
            )
        if not (0 < self.minutes <= 1440 and 0 < self.tick_s <= 600 and self.calm_s > 0):
            raise ConfigError(
                f"{self.minutes:g} minutes with a tick every {self.tick_s:g} s cannot be simulated.",
                "Give up to 1,440 minutes, and a tick of more than 0 and up to 600 s.",
            )


@dataclass(frozen=True, slots=True)
class TickRecord:
    """One tick.

    Args:
        time_s: virtual seconds since the start.
        tick_s: processor time of the whole tick; observe_s: what the simulated engine's list took of it.
        work_s: processor time of everything since the tick before, people and the simulated cluster included.
        active, personal, ready, coming, draining: desktops by what they are.
        waiting: people who wait for a desktop; hosts_away: hosts that do not answer.
        actions: what the plan decided.
        lingering: homes still in a desktop that is being removed, while their user has another.
        failed: whether the tick failed, as the desktops could not be listed.
    """

    time_s: float
    tick_s: float
    observe_s: float
    work_s: float
    active: int
    personal: int
    ready: int
    coming: int
    draining: int
    waiting: int
    hosts_away: int
    actions: int
    lingering: int
    failed: bool = False


@dataclass(frozen=True, slots=True)
class FleetRun:
    """What came of it.

    Args:
        setup: what was simulated.
        ticks: one after the other.
        faults: injected, by kind.
        violations: the first of what must not be, and `violated`: how many by code.
        converged_s: virtual seconds from the end of the faults until all was well; None when it never was.
        odd: why not, at the end.
        people: counts: at the start, served, how ("path-..."), reconnected, refused, left.
        recovered_s: processor time in which the control plane took over what ran already.
        memory_bytes: most that the process held.
        wall_s: the whole run, with its checks; check_s: of the checks alone.
    """

    setup: FleetSetup
    ticks: tuple[TickRecord, ...]
    faults: Mapping[str, int]
    violations: tuple[Violation, ...]
    violated: Mapping[str, int]
    converged_s: float | None
    odd: str
    people: Mapping[str, int]
    recovered_s: float
    memory_bytes: int
    wall_s: float
    check_s: float

    @property
    def well(self) -> bool:
        """Whether nothing was violated, and the loop converged."""
        return not self.violations and self.converged_s is not None

    def summary(self) -> dict[str, object]:
        """The figures for people and scripts."""
        done = [one for one in self.ticks if not one.failed]
        tick_s = np.array([one.tick_s for one in done] or [0.0])
        observe_s = np.array([one.observe_s for one in done] or [0.0])
        passed_s = self.ticks[-1].time_s if self.ticks else 0.0
        return {
            "simulated": True,
            "statement": SIMULATED,
            "hosts": self.setup.hosts,
            "users": self.setup.users,
            "desktops_most": max(
                (t.active + t.personal + t.ready + t.coming + t.draining for t in self.ticks), default=0
            ),
            "virtual_s": passed_s,
            "ticks": len(self.ticks),
            "ticks_failed": len(self.ticks) - len(done),
            "tick_median_s": round(float(np.median(tick_s)), 4),
            "tick_p95_s": round(float(np.quantile(tick_s, 0.95)), 4),
            "tick_max_s": round(float(tick_s.max()), 4),
            "tick_engine_median_s": round(float(np.median(observe_s)), 4),
            "processor_s_a_virtual_s": round(sum(t.work_s for t in self.ticks) / passed_s, 4) if passed_s else 0.0,
            "recovered_s": round(self.recovered_s, 3),
            "memory_bytes": self.memory_bytes,
            "converged": self.converged_s is not None,
            "converged_after_virtual_s": self.converged_s,
            "odd": self.odd,
            "people": dict(self.people),
            "people_waiting_most": max((t.waiting for t in self.ticks), default=0),
            "people_waiting_at_end": self.ticks[-1].waiting if self.ticks else 0,
            "hosts_away_most": max((t.hosts_away for t in self.ticks), default=0),
            "homes_lingering_most": max((t.lingering for t in self.ticks), default=0),
            "faults": dict(self.faults),
            "violations": {code: self.violated.get(code, 0) for code in CODES},
            "leaks": self.violated.get("leaked", 0),
            "double_owners": self.violated.get("two-owners", 0),
        }

"""Faults for an engine, drawn from a seed: refusals, half-done builds, lost and late answers, slow calls, lost hosts.

`FaultyEngine` wraps any engine; what goes wrong with hosts is done to a `SimulatedCluster` by `HostFaults`. Both are
for the simulator and for tests, never for desktops of people.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from ghostdesk.engines.protocol import Ability, Endpoint, Engine, ObservedGhost
from ghostdesk.engines.simulated_cluster import SimulatedCluster
from ghostdesk.ghosts.commands import Build, EngineCommand, Outcome
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import BuildFailed, ConfigError, EngineError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Resources

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class FaultRates:
    """How often what goes wrong. Shares are of all commands, from 0 to 1.

    Args:
        fail: refused at once, and nothing was done.
        half: builds that fail half-way, and leave remains.
        lost: done, but the answer never comes.
        late: no answer, and done `late_s` after it was given up.
        slow: takes longer, by an exponential time with the mean `slow_s`.
        observe: readings that fail.
        bursts_an_hour, burst_s, burst: API troubles, how long each lasts, and the share of commands that fail
            meanwhile: of a batch that is sent together, some fail.
        host_losses_an_hour, host_cuts_an_hour: hosts that die, or are only cut off; a host and hour.
        host_back_s: mean time until such a host is back.
        deaths_an_hour: desktops whose first process ends; a desktop and hour.
        timeout_s, slow_s, late_s: seconds.
    """

    fail: float = 0.0
    half: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    slow: float = 0.0
    observe: float = 0.0
    bursts_an_hour: float = 0.0
    burst: float = 0.5
    burst_s: float = 20.0
    host_losses_an_hour: float = 0.0
    host_cuts_an_hour: float = 0.0
    host_back_s: float = 120.0
    deaths_an_hour: float = 0.0
    timeout_s: float = 10.0
    slow_s: float = 5.0
    late_s: float = 15.0

    def __post_init__(self) -> None:
        for name in ("fail", "half", "lost", "late", "slow", "observe", "burst"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"The fault {name}={getattr(self, name):g} is no share.", "Give 0 to 1.")
        for one in fields(self):
            if not 0.0 <= getattr(self, one.name) < float("inf"):
                raise ConfigError(f"The fault {one.name}={getattr(self, one.name):g} cannot be.", "Give 0 or more.")
        if self.fail + self.half + self.lost + self.late > 1.0:
            raise ConfigError("fail, half, lost and late are together more than 1.", "Give smaller shares.")


FAULTS = {
    "none": FaultRates(),
    "some": FaultRates(
        fail=0.01, half=0.01, lost=0.005, late=0.005, slow=0.02, observe=0.02, bursts_an_hour=12.0,
        host_losses_an_hour=0.02, host_cuts_an_hour=0.02, deaths_an_hour=0.001,
    ),
    "many": FaultRates(
        fail=0.05, half=0.05, lost=0.03, late=0.03, slow=0.1, observe=0.1, bursts_an_hour=30.0, burst=0.8,
        host_losses_an_hour=0.1, host_cuts_an_hour=0.1, deaths_an_hour=0.02,
    ),
}  # fmt: skip


def parse_faults(text: str) -> FaultRates:
    """Faults as written: "none", "some", "many", or shares such as "some,lost=0.1,host_back_s=30".

    Raises:
        ConfigError: there is no such fault, or its amount cannot be.
    """
    rates = FAULTS["none"]
    known = {one.name for one in fields(FaultRates)}
    for number, part in enumerate(part.strip() for part in text.split(",")):
        name, equals, amount = part.partition("=")
        if not equals and number == 0 and name in FAULTS:
            rates = FAULTS[name]
            continue
        if not equals or name not in known:
            raise ConfigError(
                f"There are no faults {part!r}.",
                f"Give {', '.join(FAULTS)}, or shares such as lost=0.1 of: {', '.join(sorted(known))}.",
            )
        try:
            rates = replace(rates, **{name: float(amount)})
        except ValueError:
            raise ConfigError(f"{part!r} is no amount of faults.", "For example lost=0.1.") from None
    return rates


class FaultyEngine:
    """An `Engine` that passes most commands on, and has something go wrong with some.

    Args:
        inner: the engine that does the work.
        rates: how often what goes wrong.
        clock: whose time passes while an answer is waited for.
        seed: equal seeds and commands give equal faults.
        break_half: makes remains of a desktop that was just built.
    """

    def __init__(
        self, inner: Engine, rates: FaultRates, clock: Clock, seed: int, break_half: Callable[[GhostId], None]
    ) -> None:
        self._inner, self._clock, self._break_half = inner, clock, break_half
        self.rates = rates
        self._generator = random.Random(f"faults/{seed}")  # noqa: S311  (a simulation, nothing secret)
        self._burst_until_s = float("-inf")
        self._late: set[asyncio.Task[object]] = set()
        self.injected: Counter[str] = Counter()
        """Faults so far by kind."""

    def end(self) -> None:
        """Nothing more goes wrong; what was promised late still comes."""
        self.rates = FaultRates()
        self._burst_until_s = float("-inf")

    def begin_burst(self) -> None:
        """The API is in trouble for a while."""
        self.injected["burst"] += 1
        self._burst_until_s = self._clock.now_s() + self.rates.burst_s

    def late(self) -> int:
        """Commands that were given up and are still to be done."""
        return len(self._late)

    async def start(self) -> None:
        """As the engine does."""
        await self._inner.start()

    async def observe(self) -> Sequence[ObservedGhost]:
        """As the engine does; some readings are slow, some fail."""
        if self._happens(self.rates.slow):
            await self._clock.sleep(self._slow_s())
        if self._happens(self.rates.observe) or self._in_burst():
            self.injected["observe"] += 1
            raise EngineError("The desktops could not be listed: this fault was injected into the simulation.")
        return await self._inner.observe()

    async def apply(self, command: EngineCommand) -> Outcome:
        """Carry it out, or not, and answer, or not."""
        start_s = self._clock.now_s()
        if self._happens(self.rates.slow):
            self.injected["slow"] += 1
            await self._clock.sleep(self._slow_s())
        kind = self._kind(command)
        if not kind:
            return await self._inner.apply(command)
        self.injected[kind] += 1
        if kind == "late":
            self._do_late(command)
        elif kind in ("lost", "half"):
            done = await self._inner.apply(command)
            if kind == "half" and done.ok:
                self._break_half(command.ghost)
        if kind in ("lost", "late"):
            await self._clock.sleep(self.rates.timeout_s)
        error_kind = BuildFailed if isinstance(command, Build) else EngineError
        error = error_kind(f"{type(command).__name__} of {command.ghost} met a simulated fault ({kind}).")
        return Outcome(command, error, self._clock.now_s() - start_s, {"simulated": "yes", "fault": kind})

    def endpoint(self, ghost: GhostId) -> Endpoint:
        """As the engine does."""
        return self._inner.endpoint(ghost)

    def abilities(self) -> Sequence[Ability]:
        """As the engine does."""
        return self._inner.abilities()

    def capacity(self) -> Resources:
        """As the engine does."""
        return self._inner.capacity()

    async def conditions(self) -> HostConditions:
        """As the engine does."""
        return await self._inner.conditions()

    async def stop(self, *, keep_ghosts: bool) -> None:
        """As the engine does; what was to come late does not."""
        for task in self._late:
            task.cancel()
        await self._inner.stop(keep_ghosts=keep_ghosts)

    def _kind(self, command: EngineCommand) -> str:
        """What goes wrong with this command; empty for nothing."""
        rates, draw = self.rates, self._generator.random()
        half = rates.half if isinstance(command, Build) else 0.0
        for kind, share in (("fail", rates.fail), ("half", half), ("lost", rates.lost), ("late", rates.late)):
            if draw < share:
                return kind
            draw -= share
        return "batch" if self._in_burst() else ""

    def _in_burst(self) -> bool:
        return self._clock.now_s() < self._burst_until_s and self._happens(self.rates.burst)

    def _happens(self, share: float) -> bool:
        return share > 0.0 and self._generator.random() < share

    def _slow_s(self) -> float:
        return self._generator.expovariate(1.0 / self.rates.slow_s) if self.rates.slow_s > 0 else 0.0

    def _do_late(self, command: EngineCommand) -> None:
        async def later(wait_s: float) -> None:
            await self._clock.sleep(wait_s)
            await self._inner.apply(command)

        task: asyncio.Task[object] = asyncio.create_task(later(self.rates.timeout_s + self.rates.late_s))
        self._late.add(task)
        task.add_done_callback(self._late.discard)


class HostFaults:
    """What goes wrong with hosts and desktops by itself, moment by moment.

    Args:
        cluster: to which it is done.
        engine: whose API has its bursts of trouble.
        seed: equal seeds give equal faults.
    """

    def __init__(self, cluster: SimulatedCluster, engine: FaultyEngine, seed: int) -> None:
        self._cluster, self._engine = cluster, engine
        self._generator = random.Random(f"hosts/{seed}")  # noqa: S311
        self._back_s: dict[int, float] = {}

    def pass_time(self, duration_s: float) -> None:
        """Whatever goes wrong within the next `duration_s` goes wrong now; hosts whose time is up come back."""
        rates, cluster, draw = self._engine.rates, self._cluster, self._generator
        now_s = cluster.clock.now_s()
        for host in [host for host, back_s in self._back_s.items() if back_s <= now_s]:
            self._back(host)
        for rate, dies in ((rates.host_losses_an_hour, True), (rates.host_cuts_an_hour, False)):
            for _ in range(self._count(rate * cluster.hosts * duration_s / HOUR_S)):
                host = draw.randrange(cluster.hosts)
                self._engine.injected["host lost" if dies else "host cut off"] += 1
                cluster.lose(host, dies=dies)
                self._back_s[host] = now_s + draw.expovariate(1.0 / max(rates.host_back_s, 1e-3))
        if self._count(rates.bursts_an_hour * duration_s / HOUR_S):
            self._engine.begin_burst()
        if rates.deaths_an_hour:
            ghosts = list(cluster.desktops)
            for _ in range(self._count(rates.deaths_an_hour * len(ghosts) * duration_s / HOUR_S)):
                self._engine.injected["desktop died"] += 1
                cluster.kill(ghosts[draw.randrange(len(ghosts))])

    def end(self) -> None:
        """Every host is back."""
        for host in list(self._back_s):
            self._back(host)

    def _back(self, host: int) -> None:
        del self._back_s[host]
        self._cluster.bring_back(host)

    def _count(self, mean: float) -> int:
        """How often something happens whose count is Poisson (Knuth 1969; the mean is halved where it is large)."""
        if mean > 30.0:
            return self._count(mean / 2) + self._count(mean / 2)
        count, left = 0, self._generator.expovariate(1.0)
        while left < mean:
            count, left = count + 1, left + self._generator.expovariate(1.0)
        return count

"""Keeps a fleet's hosts as `plan_hosts` says: carries its actions out, and copes with hosts that do not wake.

No sign-in ever waits for it: people are served on hosts that are awake, and what it does runs beside them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ghostdesk.allocator.energy_hosts import (
    FleetHost,
    FleetNeed,
    FleetPlan,
    FleetRules,
    HostAction,
    HostDeed,
    HostState,
    plan_hosts,
    with_wake,
)
from ghostdesk.allocator.lead_time import LeadTime
from ghostdesk.allocator.plan import Reason
from ghostdesk.control.host_power import HostPower
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import HostId

log = logging.getLogger(__name__)
LATE_FACTOR = 2.0
"""A host that takes so many times its wake time has not woken."""
LEAST_PATIENCE_S = 30.0
RETRY_AFTER_S = (300.0, 900.0, 3_600.0)
_REMEMBERED = 30


@dataclass(frozen=True, slots=True)
class HostLoad:
    """What is on a host, as its engine sees it: desktops of people, and ghosts of nobody."""

    claimed: int
    idle: int


@dataclass
class HostKeeper:
    """One fleet.

    Args:
        power: how hosts are suspended and woken.
        clock: tells the time.
        hosts: the fleet as it is when it begins.
        rules: see there.
        recent: what was done, latest first, with the time.
    """

    power: HostPower
    clock: Clock
    hosts: dict[HostId, FleetHost]
    rules: FleetRules = field(default_factory=FleetRules)
    recent: deque[tuple[float, HostAction]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    plan: FleetPlan = field(default_factory=FleetPlan)
    cycles_j: float = 0.0
    _failures: dict[HostId, int] = field(default_factory=dict)

    async def tick(self, loads: Mapping[HostId, HostLoad], need: FleetNeed) -> FleetPlan:
        """Look, decide, act.

        Args:
            loads: what is on each host now; a host that is not named has nothing.
            need: what is foreseen (see `FleetNeed`): the room is asked of the pool's policy with `lead_for_room`.
        """
        now_s = self.clock.now_s()
        for name, host in self.hosts.items():
            load = loads.get(name, HostLoad(0, 0))
            self.hosts[name] = await self._seen(replace(host, claimed=load.claimed, idle=load.idle), now_s)
        self.plan = plan_hosts(list(self.hosts.values()), need, now_s, self.rules, self.plan.spare_since_s)
        for action in self.plan.actions:
            await self._act(action, now_s)
        return self.plan

    @property
    def wake_time_s(self) -> float:
        """What is added to the pool's lead time where room is foreseen; 0 where no host sleeps."""
        sleeping = [one.model.wake_time_s for one in self.hosts.values() if one.state is HostState.SUSPENDED]
        return max(sleeping, default=0.0)

    def lead_for_room(self, lead: LeadTime) -> LeadTime:
        """What the pool's policy is asked with for `FleetNeed.room`; `lead` is that of a build."""
        return with_wake(lead, self.wake_time_s)

    @property
    def saved_w(self) -> float:
        """What sleeping hosts save at present."""
        return sum(
            one.model.idle_w - one.model.suspended_w for one in self.hosts.values() if one.state is HostState.SUSPENDED
        )

    def placeable(self) -> Sequence[HostId]:
        """Hosts on which something new may be placed, the fullest first."""
        awake = [one for one in self.hosts.values() if one.state is HostState.ON and not one.draining and one.room]
        return [one.host for one in sorted(awake, key=lambda h: (-h.claimed, h.host))]

    async def _seen(self, host: FleetHost, now_s: float) -> FleetHost:
        """The host as it is now. One that does not wake is left alone for a while, so that another is woken."""
        if host.state in (HostState.ON, HostState.SUSPENDED):
            return host
        try:
            state = await self.power.state(host.host)
        except GhostdeskError as error:
            log.info("the state of %s cannot be had: %s", host.host, error)
            state = host.state
        if host.state is HostState.WAKING and state is HostState.ON:
            self._failures.pop(host.host, None)
            return replace(host, state=HostState.ON, since_s=now_s)
        if host.state is HostState.SUSPENDING and state is HostState.SUSPENDED:
            return replace(host, state=HostState.SUSPENDED, since_s=now_s)
        passed_s = now_s - host.since_s
        if host.state is HostState.WAKING and passed_s > max(LATE_FACTOR * host.model.wake_time_s, LEAST_PATIENCE_S):
            return self._failed(host, now_s, f"it did not wake within {passed_s:.0f} s")
        if host.state is HostState.SUSPENDING and passed_s > max(
            LATE_FACTOR * host.model.suspend_time_s, LEAST_PATIENCE_S
        ):
            return replace(host, state=HostState.ON, since_s=now_s)  # it would not sleep: it still serves
        return host

    def _failed(self, host: FleetHost, now_s: float, why: str) -> FleetHost:
        failures = self._failures[host.host] = self._failures.get(host.host, 0) + 1
        wait_s = RETRY_AFTER_S[min(failures, len(RETRY_AFTER_S)) - 1]
        text = f"{why}; another is woken instead, and it is tried again in {wait_s / 60:.0f} min"
        log.warning("host %s: %s", host.host, text)
        self.recent.appendleft((now_s, HostAction(HostDeed.WAKE, host.host, Reason("no-wake", text), 0.0)))
        return replace(host, state=HostState.SUSPENDED, since_s=now_s, usable_from_s=now_s + wait_s)

    async def _act(self, action: HostAction, now_s: float) -> None:
        host = self.hosts[action.host]
        self.recent.appendleft((now_s, action))
        try:
            if action.deed is HostDeed.WAKE:
                self.hosts[action.host] = replace(host, state=HostState.WAKING, since_s=now_s, draining=False)
                await self.power.wake(action.host)
            elif action.deed is HostDeed.SUSPEND:
                await self.power.suspend(action.host)
                self.cycles_j += host.model.cycle_energy_j
                self.hosts[action.host] = replace(host, state=HostState.SUSPENDING, since_s=now_s, draining=False)
            else:
                self.hosts[action.host] = replace(host, draining=action.deed is HostDeed.DRAIN)
        except GhostdeskError as error:
            if action.deed is HostDeed.WAKE:
                self.hosts[action.host] = self._failed(host, now_s, f"it cannot be woken: {error.cause}")
            else:
                log.warning("host %s stays awake: %s", action.host, error)
                kept = Reason("stays", f"it stays awake: {error.cause}")
                self.recent.appendleft((now_s, HostAction(HostDeed.KEEP, action.host, kept, 0.0)))
                self.hosts[action.host] = replace(host, since_s=now_s, draining=False)

"""A fleet in virtual time: hosts sleep when nobody comes, wake before people do, and a broken one is replaced."""

from dataclasses import replace

from ghostdesk.allocator.energy_hosts import FleetHost, FleetNeed, FleetRules, HostDeed, HostState
from ghostdesk.allocator.energy_model import SERVER
from ghostdesk.allocator.lead_time import LeadTime
from ghostdesk.control.host_keeper import HostKeeper, HostLoad
from ghostdesk.control.host_power import CommandPower, SimulatedHostPower, TwoWays
from ghostdesk.kernel.ids import HostId

NAMES = [HostId(name) for name in "abc"]
NOBODY = {name: HostLoad(0, 0) for name in NAMES}
RULES = FleetRules(settle_s=300.0, min_on_s=0.0)


class Clock:
    def __init__(self) -> None:
        self.at_s = 1_000_000.0

    def now_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds


def keeper(broken: frozenset[HostId] = frozenset(), asleep: str = "") -> tuple[HostKeeper, Clock, SimulatedHostPower]:
    clock = Clock()
    power = SimulatedHostPower(clock, broken=broken, asleep=frozenset(n for n in NAMES if n in asleep))
    hosts = {name: FleetHost(name, HostState.SUSPENDED if name in asleep else HostState.ON, 0.0, 8) for name in NAMES}
    return HostKeeper(power, clock, hosts, RULES), clock, power


async def run(kept: HostKeeper, clock: Clock, minutes: int, need: FleetNeed, loads: dict[HostId, HostLoad]) -> None:
    for _ in range(minutes):
        await kept.tick(loads, need)
        await clock.sleep(60.0)


async def test_hosts_that_nobody_needs_sleep_and_their_watts_are_counted() -> None:
    kept, clock, power = keeper()
    await run(kept, clock, 30, FleetNeed(1, 1), NOBODY)
    states = [one.state for one in kept.hosts.values()]
    assert states.count(HostState.SUSPENDED) == 2
    assert kept.saved_w == 2 * (SERVER.idle_w - SERVER.suspended_w)
    assert kept.cycles_j == 2 * SERVER.cycle_energy_j
    assert len(kept.placeable()) == 1
    assert [what for what, _ in power.calls] == ["suspend", "suspend"]


async def test_a_host_with_a_claimed_desktop_stays_awake() -> None:
    kept, clock, power = keeper()
    await run(kept, clock, 60, FleetNeed(0, 0), {name: HostLoad(1, 0) for name in NAMES})
    assert not power.calls


async def test_a_host_is_awake_before_the_people_who_are_foreseen() -> None:
    kept, clock, _ = keeper(asleep="bc")
    assert kept.wake_time_s == SERVER.wake_time_s
    assert kept.lead_for_room(LeadTime(5.0)).mean_s == 5.0 + SERVER.wake_time_s
    await run(kept, clock, 4, FleetNeed(2, 12), NOBODY)
    assert kept.hosts[NAMES[1]].state is HostState.ON
    assert kept.hosts[NAMES[2]].state is HostState.SUSPENDED


async def test_a_host_that_does_not_wake_is_replaced_and_said() -> None:
    kept, clock, power = keeper(broken=frozenset({NAMES[1]}), asleep="bc")
    await run(kept, clock, 8, FleetNeed(2, 12), NOBODY)
    assert kept.hosts[NAMES[1]].state is HostState.SUSPENDED
    assert kept.hosts[NAMES[2]].state is HostState.ON
    why = [action.reason for _, action in kept.recent if action.reason.code == "no-wake"]
    assert len(why) == 1
    assert "another is woken instead" in why[0].text
    assert [host for what, host in power.calls if what == "wake"] == [NAMES[1], NAMES[2]]


async def test_a_broken_host_is_tried_again_more_and_more_seldom() -> None:
    kept, clock, power = keeper(broken=frozenset(NAMES[1:]), asleep="bc")
    await run(kept, clock, 240, FleetNeed(2, 12), NOBODY)
    tries = [host for what, host in power.calls if what == "wake"]
    assert 4 <= len(tries) <= 14  # not 240
    assert kept.plan.infeasible


async def test_a_wake_or_suspend_that_cannot_even_be_asked_for_changes_nothing_for_people() -> None:
    kept, clock, _ = keeper(asleep="c")
    kept.power = TwoWays(CommandPower(), CommandPower())
    await run(kept, clock, 3, FleetNeed(2, 20), NOBODY)
    assert kept.hosts[NAMES[2]].state is HostState.SUSPENDED
    assert any("cannot be woken" in action.reason.text for _, action in kept.recent)
    await run(kept, clock, 30, FleetNeed(0, 0), NOBODY)
    assert all(kept.hosts[name].state is HostState.ON for name in NAMES[:2])
    assert any(action.deed is HostDeed.KEEP and action.reason.code == "stays" for _, action in kept.recent)


async def test_a_host_that_would_not_sleep_serves_on() -> None:
    kept, clock, power = keeper()
    power.suspend_time_s = 1e9
    kept.hosts[NAMES[2]] = replace(kept.hosts[NAMES[2]], state=HostState.SUSPENDING, since_s=clock.now_s())
    power._until[NAMES[2]] = (HostState.SUSPENDING, 1e12)
    await run(kept, clock, 2, FleetNeed(2, 20), NOBODY)
    assert kept.hosts[NAMES[2]].state is HostState.ON

"""The loop and the price of energy: what can wait does at dear hours, with the reason; sign-ins never do."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from control_world import World

from ghostdesk.allocator.energy_model import SERVER
from ghostdesk.allocator.energy_signal import EnergySignal
from ghostdesk.control.energy_feed import EnergyFeed
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.ids import UserId

ALICE = UserId("alice")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path, floor=1, ceiling=4, warm_threshold=0.3)
    found.forecast.arrival = {ALICE: 0.4}
    yield found
    found.close()


class Prices:
    def __init__(self, now_s: float, now: float) -> None:
        self.signal = EnergySignal(tuple(now_s + 3_600.0 * h for h in (-2, -1, 0, 1, 2)), (10.0, 10.0, now, 10.0, 10.0))

    def read(self) -> EnergySignal:
        return self.signal


async def priced(world: World, price: float) -> EnergyFeed:
    feed = EnergyFeed(SERVER, lambda: world.observer.conditions, world.clock, Prices(world.clock.now_s(), price))
    await feed.renew_signal()
    world.loop.at_this_price, world.plane.energy = feed.under, feed.view
    return feed


async def test_at_the_usual_price_a_likely_person_is_warmed(world: World) -> None:
    await priced(world, 10.0)
    await world.pass_time(30.0)
    warm = world.manager.of_user(ALICE)
    assert warm is not None
    assert warm.state is GhostState.WARM
    assert not [note for note in world.loop.plan.notes if note.code == "energy"]


async def test_at_a_dear_hour_warming_waits_and_says_why_and_nobody_waits_for_it(world: World) -> None:
    await priced(world, 40.0)
    await world.pass_time(30.0)
    warm = world.manager.of_user(ALICE)
    assert warm is None or warm.state is not GhostState.WARM
    notes = [note.text for note in world.loop.plan.notes if note.code == "energy"]
    assert notes
    assert "within the service target" in notes[0]
    assert len([one for one in world.manager if one.owner is None]) >= 1  # the floor stays
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    assert handle.path != "built"


async def test_the_status_shows_what_is_drawn(world: World) -> None:
    feed = await priced(world, 40.0)
    await world.pass_time(10.0)
    feed.note()
    energy = world.plane.status().energy
    assert energy.worth == 4.0
    assert energy.power_w is None or energy.power_w >= 0.0

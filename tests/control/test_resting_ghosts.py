"""A ghost that is parked as an image has no agent until it is woken: that is no loss."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from control_world import World

from ghostdesk.engines.protocol import ObservedGhost
from ghostdesk.ghosts.events import ParkRequested
from ghostdesk.ghosts.ghost import GhostState


@pytest.mark.parametrize("rests", [True, False])
async def test_an_agent_that_rests_with_its_desktop_is_not_lost(
    tmp_path: Path, rests: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, floor=1, ceiling=3)
    await world.pass_time(30)
    (ghost,) = [one for one in world.manager if one.state is GhostState.READY]
    await world.clock.run(world.executor.carry_out(ghost.ghost, ParkRequested("parked by the test")))
    assert world.manager.get(ghost.ghost).state is GhostState.PARKED
    observe = world.engine.observe

    async def observed() -> Sequence[ObservedGhost]:
        return [replace(one, resting=rests and one.ghost == ghost.ghost) for one in await observe()]

    monkeypatch.setattr(world.engine, "observe", observed)
    world.agents.die(ghost.ghost)
    world.plane.on_agent_lost(ghost.ghost)
    await world.clock.run(world.executor.settle())
    known = {one.ghost: one.state for one in world.manager}
    assert (known.get(ghost.ghost) is GhostState.PARKED) is rests
    world.close()

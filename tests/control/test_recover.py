"""What a desktop that is found after a crash becomes."""

from pathlib import Path

import pytest
from control_world import World

from ghostdesk.control.recover import verdict
from ghostdesk.engines.protocol import ObservedGhost
from ghostdesk.ghosts.commands import Destroy
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.store.protocol import Claim

G, ALICE, BOB = GhostId("g1"), UserId("alice"), UserId("bob")


def _seen(*, alive: bool = True, owner: UserId | None = None) -> ObservedGhost:
    return ObservedGhost(G, alive, False, owner, "generic")


def _claim(user: UserId, state: str = "active") -> Claim:
    return Claim(G, user, 3, state, 1.0)


@pytest.mark.parametrize(
    ("seen", "claim", "state", "owner"),
    [
        (_seen(), None, GhostState.READY, None),
        (_seen(owner=ALICE), _claim(ALICE), GhostState.ACTIVE, ALICE),
        (_seen(owner=ALICE), _claim(ALICE, "warm"), GhostState.READY, ALICE),
        (_seen(owner=ALICE), None, GhostState.READY, ALICE),
    ],
)
def test_kept(seen: ObservedGhost, claim: Claim | None, state: GhostState, owner: UserId | None) -> None:
    ghost = verdict(seen, claim, 5.0)
    assert ghost is not None
    assert (ghost.state, ghost.owner) == (state, owner)
    if claim is not None:
        assert ghost.generation == claim.generation


@pytest.mark.parametrize(
    ("seen", "claim"),
    [
        (_seen(alive=False), None),
        (_seen(alive=False, owner=ALICE), _claim(ALICE)),
        (_seen(owner=BOB), _claim(ALICE)),
        (_seen(), _claim(ALICE)),
    ],
)
def test_destroyed(seen: ObservedGhost, claim: Claim | None) -> None:
    assert verdict(seen, claim, 5.0) is None


async def test_remains_that_cannot_be_removed_at_once_are_removed_later(tmp_path: Path) -> None:
    world = World(tmp_path, floor=0)
    await world.clock.run(world.plane.open_desktop(ALICE))
    (found,) = world.host.desktops
    world.host.kill(found)
    world.host.fail(Destroy)
    await world.crash_and_restart()
    assert world.states() == {found: "draining"}
    await world.pass_time(60)
    assert world.host.desktops == {} and world.states() == {}
    world.close()

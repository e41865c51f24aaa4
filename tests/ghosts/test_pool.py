"""Which ghost is found for whom."""

import pytest

from ghostdesk.ghosts.events import BuildRequested, Done
from ghostdesk.ghosts.ghost import DesktopTemplate, Ghost, GhostState
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId

TEMPLATE = DesktopTemplate(TemplateId("generic"))
ALICE, BOB = UserId("alice"), UserId("bob")


def _manager(*ghosts: Ghost) -> GhostDesktopManager:
    manager = GhostDesktopManager()
    for ghost in ghosts:
        manager.restore(ghost)
    return manager


def _ghost(name: str, state: GhostState, owner: UserId | None = None, since_s: float = 0.0) -> Ghost:
    return Ghost(GhostId(name), TEMPLATE.template, state, owner, since_s=since_s)


def test_ones_own_desktop_comes_first_and_the_active_one_before_all() -> None:
    manager = _manager(
        _ghost("a", GhostState.READY), _ghost("b", GhostState.WARM, ALICE), _ghost("c", GhostState.ACTIVE, ALICE)
    )
    found = manager.find_instance_for(ALICE)
    assert found is not None
    assert found.ghost == "c"


def test_nobody_gets_somebody_elses_ghost() -> None:
    manager = _manager(_ghost("a", GhostState.WARM, ALICE), _ghost("b", GhostState.ACTIVE, ALICE))
    assert manager.find_instance_for(BOB) is None


def test_ready_goes_before_parked_and_the_oldest_before_the_youngest() -> None:
    manager = _manager(
        _ghost("a", GhostState.PARKED),
        _ghost("b", GhostState.READY, since_s=5.0),
        _ghost("c", GhostState.READY, since_s=1.0),
    )
    found = manager.find_instance_for(BOB)
    assert found is not None
    assert found.ghost == "c"


def test_draining_ghosts_are_never_found() -> None:
    assert _manager(_ghost("a", GhostState.DRAINING, ALICE)).find_instance_for(ALICE) is None


def test_ids_are_used_once_and_absent_ghosts_are_forgotten() -> None:
    manager = GhostDesktopManager()
    manager.add(GhostId("a"), TEMPLATE.template)
    with pytest.raises(ValueError, match="used once"):
        manager.add(GhostId("a"), TEMPLATE.template)
    manager.apply(GhostId("a"), BuildRequested(TEMPLATE), 0.0)
    manager.apply(GhostId("a"), Done("build"), 1.0)
    from ghostdesk.ghosts.events import Lost

    manager.apply(GhostId("a"), Lost("gone"), 2.0)
    manager.apply(GhostId("a"), Done("destroy"), 3.0)
    with pytest.raises(NotFound, match="no desktop a"):
        manager.get(GhostId("a"))

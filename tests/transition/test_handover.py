"""A hand-over goes to the rightful user, with the reason that people read."""

import pytest

from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.errors import Conflict
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.transition.handover import SeamlessTransition
from ghostdesk.transition.match import Path, match

ALICE, BOB = UserId("alice"), UserId("bob")


def _ghost(state: GhostState, owner: UserId | None = None, *apps: str) -> Ghost:
    ids = tuple(AppId(a) for a in apps)
    return Ghost(GhostId("g1"), TemplateId("generic"), state, owner, 1, ids, reason="comes at nine" if owner else "")


def test_paths_and_reasons() -> None:
    assert match(None, ALICE).path is Path.BUILT
    assert match(_ghost(GhostState.READY), ALICE).why == "a generic ghost was ready"
    warm = match(_ghost(GhostState.WARM, ALICE, "editor"), ALICE, AppId("editor"))
    assert warm.path is Path.WARM
    assert warm.why == "prepared for alice: comes at nine, editor waits hidden in it"


def test_the_claim_carries_full_limits() -> None:
    limits = Resources(memory_bytes=4e9)
    event = SeamlessTransition().activate_instance(match(_ghost(GhostState.READY), ALICE), ALICE, limits)
    assert (event.user, event.limits) == (ALICE, limits)


def test_somebody_elses_ghost_is_a_conflict() -> None:
    found = match(_ghost(GhostState.WARM, BOB), ALICE)
    with pytest.raises(Conflict, match="belongs to somebody else"):
        SeamlessTransition().activate_instance(found, ALICE, Resources())
    with pytest.raises(Conflict):
        SeamlessTransition().prepare_instance(match(None, ALICE), ALICE)

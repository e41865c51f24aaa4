"""Each thing that must not be is found, and what heals by itself is forgiven for a while only."""

from ghostdesk.engines.simulated_cluster import Instance
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.replay.fleet.invariants import InvariantWatch, Patience

PATIENCE = Patience(unknown_s=60.0, twice_s=20.0, frozen_s=30.0)


def _ghost(name: str, owner: str | None = None, state: GhostState = GhostState.ACTIVE) -> Ghost:
    return Ghost(GhostId(name), TemplateId("t"), state, UserId(owner) if owner else None)


def _there(name: str, owner: str | None = None, host: int = 0, **odd: bool) -> Instance:
    given = {"alive": True, "frozen": False, "reachable": True} | odd
    return Instance(GhostId(name), host, given["alive"], UserId(owner) if owner else None, given["frozen"],
                    given["reachable"])  # fmt: skip


def _codes(watch: InvariantWatch, now_s: float, ghosts: list[Ghost], instances: list[Instance]) -> list[str]:
    return [violation.code for violation in watch.check(now_s, ghosts, instances)]


def test_all_is_well() -> None:
    watch = InvariantWatch(2, PATIENCE)
    for now_s in range(0, 200, 10):
        ghosts = [_ghost("a", "u"), _ghost("b", None, GhostState.READY)]
        assert not _codes(watch, now_s, ghosts, [_there("a", "u"), _there("b")])


def test_an_instance_that_nobody_knows_is_a_leak_after_a_while() -> None:
    watch = InvariantWatch(2, PATIENCE)
    assert _codes(watch, 0.0, [], [_there("a")]) == []
    assert _codes(watch, 59.0, [], [_there("a")]) == []
    assert _codes(watch, 60.0, [], [_there("a")]) == ["leaked"]
    assert _codes(watch, 61.0, [_ghost("a", None, GhostState.DRAINING)], [_there("a")]) == [], "it is being removed"
    assert _codes(watch, 62.0, [], [_there("a", reachable=False)]) == [], "what cannot be seen cannot be removed"


def test_a_second_owner_is_never_forgiven() -> None:
    watch = InvariantWatch(2, PATIENCE)
    assert _codes(watch, 0.0, [_ghost("a", "u")], [_there("a", "u")]) == []
    assert _codes(watch, 1.0, [_ghost("a", "u")], [_there("a", "v")]) == ["two-owners"]
    assert _codes(InvariantWatch(2, PATIENCE), 0.0, [_ghost("a", "u")], [_there("a", "v")]) == ["two-owners"]


def test_two_desktops_or_homes_of_one_person() -> None:
    watch = InvariantWatch(2, PATIENCE)
    ghosts, instances = [_ghost("a", "u"), _ghost("b", "u", GhostState.READY)], [_there("a", "u"), _there("b", "u")]
    assert _codes(watch, 0.0, ghosts, instances) == []
    assert sorted(_codes(watch, 20.0, ghosts, instances)) == ["home-twice", "two-desktops"]
    leaving = [_ghost("a", "u"), _ghost("b", "u", GhostState.DRAINING)]
    assert _codes(watch, 21.0, leaving, instances) == [] and watch.lingering == 1


def test_an_overfull_host() -> None:
    ghosts = [_ghost(n, None, GhostState.READY) for n in "abc"]
    assert _codes(InvariantWatch(2, PATIENCE), 0.0, ghosts, [_there(n) for n in "abc"]) == ["overfull"]


def test_a_frozen_desktop_in_use() -> None:
    watch = InvariantWatch(2, PATIENCE)
    assert _codes(watch, 0.0, [_ghost("a", "u")], [_there("a", "u", frozen=True)]) == []
    assert _codes(watch, 30.0, [_ghost("a", "u")], [_there("a", "u", frozen=True)]) == ["frozen-in-use"]
    assert _codes(watch, 31.0, [_ghost("a", "u", GhostState.WARM)], [_there("a", "u", frozen=True)]) == []

"""What is promised, kept and free: never more than the rules allow."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ghostdesk.allocator.capacity import CapacityRules, Counted, headroom, promise, tally
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, Resources

RULES = CapacityRules()
HOST = Resources(2.0, 12e9, 0.0, 125e6, 0.0)


def _ghost(name: str, state: GhostState, limits: Resources = Resources(), owner: str | None = None) -> Ghost:  # noqa: B008
    return Ghost(GhostId(name), TemplateId("t"), state, UserId(owner) if owner else None, limits=limits)


def test_what_can_be_shared_by_weight_may_be_promised_several_times_and_memory_once() -> None:
    allowed = RULES.allowed(HOST)
    assert (allowed.cpu_cores, allowed.memory_bytes, allowed.network_bytes_per_s) == (8.0, 12e9, 1e9)
    assert allowed.gpu_share == 0.0, "there is none"
    assert allowed.storage_bytes_per_s == float("inf"), "the host does not tell"


def test_memory_that_parking_has_freed_may_be_promised_again() -> None:
    parked = [_ghost(f"g{n}", GhostState.PARKED) for n in range(4)]
    counted = tally(parked, RULES, 250e6, {g.ghost: 10e6 for g in parked})
    assert counted.freed_bytes == 4 * 240e6
    room = headroom(counted, RULES, HOST, 50, {"memory_bytes": 40e6}).room("memory_bytes")
    assert room.allowed == 12e9 + 960e6
    assert room.ghosts == 1e9, "they are promised what they need when they are woken"
    waking = [_ghost("g0", GhostState.PARKED)]
    assert tally(waking, RULES, 250e6, {}).freed_bytes == 0.0, "what nobody measured is not free"


def test_a_limit_below_the_standard_is_all_that_is_promised() -> None:
    standard = Resources(cpu_cores=1.0, memory_bytes=500e6)
    assert promise(Resources(cpu_cores=0.5, memory_bytes=6e9), standard) == Resources(0.5, 500e6)
    assert promise(Resources(), standard) == standard, "no limit is no promise of everything"


def test_people_ghosts_and_classes_are_told_apart() -> None:
    ghosts = [
        _ghost("a", GhostState.ACTIVE, Resources(memory_bytes=6e9), "ada"),
        _ghost("b", GhostState.READY, Resources(cpu_cores=0.5)),
        _ghost("c", GhostState.WARM, Resources(cpu_cores=0.5), "ben"),
        _ghost("d", GhostState.DRAINING, Resources(cpu_cores=0.5), "eve"),
    ]
    found = headroom(tally(ghosts, RULES, 250e6, {}), RULES, HOST, 8, {}, 3, Resources(memory_bytes=250e6))
    memory, cpu = found.room("memory_bytes"), found.room("cpu_cores")
    assert (memory.people, memory.ghosts, memory.reserved, memory.free) == (500e6, 500e6, 750e6, 12e9 - 1.75e9)
    assert (cpu.people, cpu.ghosts) == (1.0, 0.5), "a frozen ghost uses none"
    assert (found.desktops, found.ghosts, found.reserved, found.most_desktops) == (3, 2, 3, 8)
    assert cpu.used is None, "nobody measured it"


def test_memory_that_is_used_is_not_free_whatever_was_promised() -> None:
    ghosts = [_ghost("a", GhostState.ACTIVE, owner="ada")]
    room = headroom(tally(ghosts, RULES, 250e6, {}), RULES, HOST, 8, {"memory_bytes": 9e9}).room("memory_bytes")
    assert (room.people, room.used, room.free) == (500e6, 9e9, 3e9)


amounts = st.builds(
    Resources, st.floats(0, 64), st.floats(0, 64 * GIB), st.floats(0, 1), st.floats(0, 1e9), st.floats(0, 1e9)
)
fleets = st.lists(
    st.builds(
        lambda n, state, limits: _ghost(f"g{n}", state, limits, "u" if state is GhostState.ACTIVE else None),
        st.integers(0, 99),
        st.sampled_from(GhostState),
        amounts,
    ),
    max_size=30,
)


@given(fleets, amounts, st.integers(0, 50), st.floats(0, 64 * GIB))
def test_promised_kept_and_free_never_exceed_what_the_rules_allow(
    ghosts: list[Ghost], host: Resources, reserved: int, used: float
) -> None:
    counted = tally(ghosts, RULES, 250e6, {})
    found = headroom(counted, RULES, host, 99, {"memory_bytes": used}, reserved, Resources(memory_bytes=250e6))
    for room in found.rooms:
        if room.allowed is None:
            assert room.free is None
            continue
        assert room.free is not None
        assert 0.0 <= room.free <= room.allowed
        assert room.people <= room.allowed
        if room.free > 0:
            assert room.people + room.ghosts + room.reserved + room.free <= room.allowed * (1 + 1e-9)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(list(GhostState)), st.booleans(), st.integers(0, 2))))
def test_counted_one_by_one_is_the_same_as_counted_anew(
    changes: list[tuple[int, GhostState, bool, int]],
) -> None:
    rules = replace(RULES, departments={UserId("u1"): "physics", UserId("u2"): "physics"})
    counted, there = Counted(rules.departments), dict[int, Ghost]()
    for number, state, gone, amount in changes:
        if number in there:
            counted.add(there.pop(number), -1)
        if not gone:
            ghost = Ghost(GhostId(f"g{number}"), TemplateId("t"), state, UserId(f"u{number}"),
                          limits=Resources(cpu_cores=float(amount)))  # fmt: skip
            there[number] = ghost
            counted.add(ghost)
    held = {ghost.ghost: 10e6 for ghost in there.values()}
    one, anew = counted.tally(rules, 250e6, held), tally(there.values(), rules, 250e6, held)
    assert set(one.users) == set(anew.users) and one.idle == anew.idle and one.desktops == anew.desktops
    assert one.in_department == anew.in_department
    for mine, theirs in ((one.people, anew.people), (one.ghosts, anew.ghosts)):
        assert mine.as_tuple() == pytest.approx(theirs.as_tuple())
    assert one.freed_bytes == pytest.approx(anew.freed_bytes)

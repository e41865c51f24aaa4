"""Plans under the warming gate: what is done ahead waits, what people need does not, and the plan says so."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from ghostdesk.allocator.conditions_gate import OPEN_GATE, GateState, WarmingGate
from ghostdesk.allocator.plan import Context, Plan, PlanRequest, PoolPolicy
from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.ghosts.events import (
    BindRequested,
    BuildRequested,
    CacheRequested,
    ParkRequested,
    ReleaseRequested,
    ResizeRequested,
    WakeRequested,
    WarmRequested,
)
from ghostdesk.ghosts.ghost import DesktopTemplate, Ghost, GhostState
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, Resources
from ghostdesk.profiles.forecast import ArrivalCurve, LaunchProbability, ModeNeed, UsageCurve

TEMPLATE = DesktopTemplate(TemplateId("generic"))
POLICY = PoolPolicy(TEMPLATE, floor=3, ceiling=12)
ALICE, BOB, CAROL = UserId("alice"), UserId("bob"), UserId("carol")
USERS = (ALICE, BOB, CAROL)
UNKNOWN = UserId("somebody new")
PAUSED = WarmingGate(state=GateState.PAUSED, code="memory", text="Warming is paused: memory pressure is 23 %.")
SLOW = WarmingGate(state=GateState.SLOW, code="io", text="Warming is slowed down.")


def curve(user: UserId, probability: float, *apps: str) -> UsageCurve:
    launches = tuple(LaunchProbability(AppId(app), 0.9) for app in apps)
    return UsageCurve(user, 0.0, 600.0, (probability,), (probability,), launches)


def plan(
    gate: WarmingGate,
    *ghosts: Ghost,
    curves: tuple[UsageCurve, ...] = (),
    expected: frozenset[UserId] = frozenset(),
    waiting: int = 0,
    policy: PoolPolicy = POLICY,
    can_park: bool = False,
) -> Plan:
    context = Context(Resources(8.0, 64.0 * GIB), gate=gate, can_park=can_park)
    by_user = {one.user: one for one in curves}
    nobody = ArrivalCurve(0.0, 3600.0, (0.0,))
    request = PlanRequest(0.0, ghosts, by_user, nobody, policy, context, expected=expected, waiting=waiting)
    return ResourceAllocator().plan(request)


def ghost(name: str, state: GhostState = GhostState.READY, owner: UserId | None = None, **more: object) -> Ghost:
    return Ghost(GhostId(name), TEMPLATE.template, state, owner, **more)  # type: ignore[arg-type]


def kinds(found: Plan) -> list[type]:
    return [type(action.event) for action in found.actions]


def test_an_open_gate_says_nothing() -> None:
    assert plan(OPEN_GATE).notes == ()


def test_a_paused_gate_builds_nothing_ahead_and_says_what_waits() -> None:
    found = plan(PAUSED)
    assert kinds(found) == []
    (note,) = found.notes
    assert note.code == "warming-paused-memory"
    assert note.text == "Warming is paused: memory pressure is 23 %. Waiting: 3 steps."


def test_a_slow_gate_lets_one_begin_beside_what_is_under_way() -> None:
    assert kinds(plan(SLOW)) == [BuildRequested]
    assert kinds(plan(SLOW, ghost("a", GhostState.ABSENT, pending="build"))) == []
    assert kinds(plan(SLOW, ghost("a", GhostState.ACTIVE, ALICE, pending="warm"))) == [BuildRequested]


def test_that_it_resumed_is_said_in_one_plan() -> None:
    assert [note.code for note in plan(replace(OPEN_GATE, change="as usual")).notes] == ["warming-resumed"]


def test_nobody_is_bound_warmed_or_woken_ahead_while_it_is_paused() -> None:
    likely = (curve(ALICE, 0.9, "editor"), curve(BOB, 0.9, "editor"), curve(CAROL, 0.9, "editor"))
    ghosts = (ghost("a", owner=ALICE), ghost("b", GhostState.PARKED, BOB), ghost("c"), ghost("d", GhostState.PARKED))
    assert {WarmRequested, WakeRequested, BindRequested} <= set(kinds(plan(OPEN_GATE, *ghosts, curves=likely)))
    paused = plan(PAUSED, *ghosts, curves=likely)
    assert not {WarmRequested, WakeRequested, BindRequested, BuildRequested} & set(kinds(paused))
    assert not any(isinstance(action.event, ReleaseRequested) for action in paused.actions), "what there is, is kept"


def test_files_are_not_loaded_ahead_while_it_is_paused() -> None:
    unlikely = (curve(ALICE, 0.05, "editor"),)
    assert plan(OPEN_GATE, curves=unlikely).prefetch
    assert plan(PAUSED, curves=unlikely).prefetch == ()


def test_a_desktop_in_use_gets_no_guess_but_the_mode_that_its_user_chose() -> None:
    active = ghost("a", GhostState.ACTIVE, ALICE)
    rest = [ghost(name) for name in "bcd"]
    guess = curve(ALICE, 0.0, "editor")
    chosen = replace(guess, modes=(ModeNeed("work", 1.0, True, (AppId("viewer"),), (), Resources(), "is chosen"),))
    assert WarmRequested in kinds(plan(OPEN_GATE, active, *rest, curves=(guess,)))
    assert WarmRequested not in kinds(plan(PAUSED, active, *rest, curves=(guess,)))
    assert WarmRequested in kinds(plan(PAUSED, active, *rest, curves=(chosen,)))


def test_memory_is_given_back_while_it_is_paused() -> None:
    ghosts = [replace(ghost(name), since_s=-1e6) for name in "abcde"]
    assert kinds(plan(PAUSED, *ghosts, can_park=True)) == [ParkRequested]


STATES = st.sampled_from([GhostState.ABSENT, GhostState.READY, GhostState.PARKED, GhostState.WARM, GhostState.ACTIVE])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[tuple[Ghost, ...], tuple[UsageCurve, ...], frozenset[UserId], int]:
    ghosts = []
    for number in range(draw(st.integers(0, 8))):
        state = draw(STATES)
        pending = "build" if state is GhostState.ABSENT else draw(st.sampled_from([None, None, "warm", "wake"]))
        owner = None if state is GhostState.ABSENT else draw(st.sampled_from([None, *USERS]))
        if state in (GhostState.WARM, GhostState.ACTIVE) and owner is None:
            owner = draw(st.sampled_from(USERS))
        ghosts.append(ghost(f"g{number}", state, owner, pending=pending))
    curves = tuple(curve(user, draw(st.floats(0.0, 1.0)), "editor") for user in USERS)
    return tuple(ghosts), curves, frozenset(draw(st.sets(st.sampled_from((*USERS, UNKNOWN))))), draw(st.integers(0, 3))


@given(worlds(), st.sampled_from([PAUSED, SLOW]), st.booleans())
def test_people_are_never_blocked(
    world: tuple[tuple[Ghost, ...], tuple[UsageCurve, ...], frozenset[UserId], int], gate: WarmingGate, can_park: bool
) -> None:
    """Whatever is done for those at the door, and whatever is done to desktops in use, is done under any gate; and as
    many desktops come as there are people without one."""
    ghosts, curves, expected, waiting = world
    owners = {one.ghost: one.owner for one in ghosts}
    active = {one.ghost for one in ghosts if one.state is GhostState.ACTIVE}
    usual, held = (
        plan(one, *ghosts, curves=curves, expected=expected, waiting=waiting, can_park=can_park)
        for one in (OPEN_GATE, gate)
    )

    def for_people(found: Plan) -> set[object]:
        return {
            (action.ghost, action.event)
            for action in found.actions
            if (isinstance(action.event, BindRequested) and action.event.user in expected)
            or (
                isinstance(action.event, WarmRequested | WakeRequested)
                and owners.get(action.ghost) in expected - {None}
            )
        } | {
            (action.ghost, action.event)
            for action in found.actions
            if action.ghost in active and isinstance(action.event, ResizeRequested | ReleaseRequested)
        }

    foreseen = {action.ghost for action in usual.actions if action.reason.code == "foresee"}
    assert for_people(usual) - {pair for pair in for_people(usual) if pair[0] in foreseen} <= for_people(held)
    assert not any(isinstance(a.event, ReleaseRequested | ParkRequested) and a.ghost in active for a in held.actions)

    has_own = {one.owner for one in ghosts}
    bound = {a.event.user for a in held.actions if isinstance(a.event, BindRequested)}
    without = waiting + len(expected - has_own - bound)
    ready = sum(1 for g in ghosts if g.owner is None and g.state is GhostState.READY and g.pending is None)
    coming = sum(1 for g in ghosts if g.owner is None and g.coming)
    brought = sum(1 for a in held.actions if isinstance(a.event, BuildRequested)) + sum(
        1 for a in held.actions if isinstance(a.event, WakeRequested) and owners[a.ghost] is None
    )
    assert brought >= min(without - (ready - len(bound)) - coming, POLICY.ceiling - len(ghosts))
    if gate is PAUSED:
        assert not any(isinstance(a.event, CacheRequested) for a in held.actions)


@given(worlds(), st.sampled_from([PAUSED, SLOW]))
def test_a_held_gate_never_does_more_ahead_than_it_says(
    world: tuple[tuple[Ghost, ...], tuple[UsageCurve, ...], frozenset[UserId], int], gate: WarmingGate
) -> None:
    ghosts, curves, _, _ = world
    found = plan(gate, *ghosts, curves=curves)
    begun = [
        a for a in found.actions if isinstance(a.event, BuildRequested | BindRequested | WakeRequested | WarmRequested)
    ]
    most = gate.most_at_once
    assert most is not None and len(begun) <= most
    assert len(found.notes) == 1

"""Plans under quotas and bookings: people before ghosts, nothing counted twice, a reason for each wish not granted."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from ghostdesk.allocator.bookings import Booking
from ghostdesk.allocator.capacity import UNRULED, CapacityRules
from ghostdesk.allocator.conditions_gate import GateState, WarmingGate
from ghostdesk.allocator.plan import Context, Plan, PlanRequest, PoolPolicy
from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.allocator.quotas import GhostQuota, Quota, Quotas
from ghostdesk.ghosts.events import BindRequested, BuildRequested, ReleaseRequested, WarmRequested
from ghostdesk.ghosts.ghost import DesktopTemplate, Ghost, GhostState
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, Priority, Resources
from ghostdesk.profiles.forecast import ArrivalCurve, UsageCurve

TEMPLATE = DesktopTemplate(TemplateId("generic"))
POLICY = PoolPolicy(TEMPLATE, floor=2, ceiling=40, ghost_limits=Resources(cpu_cores=0.5, memory_bytes=1e9))
ROOMY = Context(Resources(8.0, 64.0 * GIB))
NOBODY = ArrivalCurve(0.0, 3600.0, (0.0,))
ADA, BEN, CLEO = UserId("ada"), UserId("ben"), UserId("cleo")
WHERE = {ADA: "physics", BEN: "physics", CLEO: "law"}
NOW_S = 10_000.0
CLASS = Booking("physics 2b", NOW_S + 60, NOW_S + 3660, 6, department="physics", number=1)


def _curve(user: UserId, probability: float) -> UsageCurve:
    return UsageCurve(user, NOW_S, 600.0, (probability,), (probability,), ())


def _plan(
    rules: CapacityRules,
    *ghosts: Ghost,
    curves: tuple[UsageCurve, ...] = (),
    policy: PoolPolicy = POLICY,
    context: Context = ROOMY,
    expected: frozenset[UserId] = frozenset(),
) -> Plan:
    by_user = {c.user: c for c in curves}
    request = PlanRequest(NOW_S, ghosts, by_user, NOBODY, policy, context, expected=expected, rules=rules)
    return ResourceAllocator().plan(request)


def _ghost(name: str, state: GhostState = GhostState.READY, owner: UserId | None = None) -> Ghost:
    priority = Priority.PERSON if state is GhostState.ACTIVE else Priority.GHOST
    since_s, limits = NOW_S - 60, POLICY.ghost_limits
    return Ghost(GhostId(name), TEMPLATE.template, state, owner, since_s=since_s, limits=limits, priority=priority)


def _ready(count: int) -> list[Ghost]:
    return [_ghost(f"r{n}") for n in range(count)]


def _rules(*bookings: Booking, **quotas: object) -> CapacityRules:
    return CapacityRules(quotas=Quotas(**quotas), departments=WHERE, bookings=bookings)  # type: ignore[arg-type]


def _builds(plan: Plan) -> int:
    return sum(isinstance(a.event, BuildRequested) for a in plan.actions)


def test_without_rules_nothing_is_counted() -> None:
    plan = _plan(UNRULED)
    assert (plan.headroom, plan.holds, _builds(plan)) == (None, (), 2)


def test_a_booked_class_is_built_beside_the_pool_and_says_so() -> None:
    plan = _plan(_rules(CLASS))
    assert (plan.pool_target, plan.pool_code, _builds(plan)) == (8, "booked", 8)
    assert "6 more are booked: physics 2b" in plan.pool_reason
    assert plan.infeasible == ()
    assert plan.holds[0].left == 6


def test_desktops_of_the_class_that_are_there_are_not_held_again() -> None:
    own = _ghost("a", GhostState.ACTIVE, ADA)
    plan = _plan(_rules(CLASS), own, *_ready(3))
    assert (plan.pool_target, _builds(plan), plan.holds[0].taken) == (7, 4, 1)
    assert plan.headroom is not None and plan.headroom.reserved == 2, "three of five are ready"


def test_whom_the_forecast_expects_for_a_class_is_not_held_for_twice() -> None:
    many = tuple(UserId(f"p{n}") for n in range(6))
    rules = replace(_rules(CLASS), departments=dict.fromkeys(many, "physics"))
    policy = replace(POLICY, floor=0, warm_threshold=2.0, in_steps=False, target_hit_rate=0.5)
    curves = tuple(_curve(user, 0.2) for user in many)
    arrivals = ArrivalCurve(NOW_S, 600.0, (1.2,))
    context = replace(ROOMY, build_time_s=600.0)
    request = PlanRequest(NOW_S, (), {c.user: c for c in curves}, arrivals, policy, context, rules=rules)
    booked = ResourceAllocator().plan(request)
    plain = ResourceAllocator().plan(replace(request, rules=UNRULED))
    assert plain.pool_target > 0, "the forecast alone holds some"
    assert booked.pool_target == 6, "and none beside what is held for the class"


def test_after_the_end_what_is_too_many_is_let_go() -> None:
    over = replace(CLASS, start_s=NOW_S - 3660, end_s=NOW_S - 1)
    policy = replace(POLICY, park_after_s=30.0)
    plan = _plan(_rules(over), *_ready(8), policy=policy)
    assert plan.pool_target == 2
    assert any(isinstance(a.event, ReleaseRequested) for a in plan.actions)


def test_named_people_get_their_own_with_the_applications_that_were_booked() -> None:
    exam = replace(CLASS, department="", users=frozenset({ADA, CLEO}), apps=(AppId("writer"),), desktops=3)
    plan = _plan(_rules(exam), *_ready(2))
    assert {a.event.user for a in plan.actions if isinstance(a.event, BindRequested)} == {ADA, CLEO}
    assert plan.pool_target == 2 + 1, "the third is for whoever comes without a name"
    plan = _plan(_rules(exam), _ghost("a", owner=ADA), _ghost("b", owner=CLEO), *_ready(3))
    warmed = [a.event for a in plan.actions if isinstance(a.event, WarmRequested)]
    assert [event.apps for event in warmed] == [("writer",), ("writer",)]
    assert "is booked: physics 2b" in warmed[0].reason


def test_a_class_beyond_the_ceiling_is_listed_with_how_many_are_short() -> None:
    plan = _plan(_rules(CLASS), policy=replace(POLICY, ceiling=5))
    told = [entry for entry in plan.infeasible if "physics 2b" in entry.wish]
    assert len(told) == 1, "once, not for each way of seeing it"
    assert (told[0].resource, told[0].asked, told[0].free) == ("desktops", 6, 5)
    later = replace(CLASS, start_s=NOW_S + 86_400, end_s=NOW_S + 90_000)
    (ahead,) = _plan(_rules(later), policy=replace(POLICY, ceiling=5)).infeasible
    assert "1 short: the ceiling is 5 desktops" in ahead.reason.text, "long before it starts"


def test_ghosts_keep_to_their_quota_and_booked_desktops_are_not_held_back_by_it() -> None:
    rules = _rules(ghosts=GhostQuota(desktops=1))
    plan = _plan(rules)
    assert (plan.pool_target, _builds(plan)) == (1, 1)
    assert [(e.reason.code, e.resource, e.asked, e.free) for e in plan.infeasible] == [
        ("ghost-quota", "desktops", 2, 1)
    ]
    assert _builds(_plan(replace(rules, bookings=(CLASS,)))) == 7


def test_ghosts_keep_to_their_share_of_memory() -> None:
    context = Context(Resources(8.0, 8e9))
    rules = _rules(ghosts=GhostQuota(share=Resources(memory_bytes=0.125)))
    plan = _plan(rules, policy=replace(POLICY, floor=10), context=context)
    assert _builds(plan) == 4, "a gigabyte, in desktops of 250 MB"
    (entry,) = plan.infeasible
    assert (entry.reason.code, entry.resource) == ("ghost-quota", "memory_bytes")


def test_a_department_at_its_quota_gets_no_more_prepared_and_is_told_why() -> None:
    rules = _rules(departments={"physics": Quota(desktops=1)})
    curves = (_curve(ADA, 0.9), _curve(BEN, 0.8), _curve(CLEO, 0.7))
    plan = _plan(rules, *_ready(4), curves=curves)
    assert {a.event.user for a in plan.actions if isinstance(a.event, BindRequested)} == {ADA, CLEO}
    (entry,) = plan.infeasible
    assert entry.wish == "a warm desktop for ben"
    assert "the quota of physics is 1 desktop, in use or prepared: 1" in entry.reason.text
    plan = _plan(rules, _ghost("a", GhostState.ACTIVE, ADA), *_ready(4), curves=curves)
    assert {a.event.user for a in plan.actions if isinstance(a.event, BindRequested)} == {CLEO}


def test_limits_of_desktops_in_use_stay_within_the_quota_and_the_cut_is_listed() -> None:
    rules = _rules(person=Quota(most=Resources(memory_bytes=4e9)))
    policy = replace(POLICY, active_limits=Resources(memory_bytes=6e9), floor=0)
    ghost = replace(_ghost("a", GhostState.ACTIVE, ADA), limits=Resources(memory_bytes=4e9))
    plan = _plan(rules, ghost, policy=policy)
    assert plan.actions == (), "the next plan does not lift them again"
    (entry,) = plan.infeasible
    assert (entry.wish, entry.asked, entry.free) == ("full memory for ada", 6e9, 4e9)


def test_more_people_than_the_rule_foresees_are_told_of() -> None:
    context = Context(Resources(1.0, 64 * GIB))
    busy = [_ghost(f"a{n}", GhostState.ACTIVE, UserId(f"u{n}")) for n in range(20)]
    busy = [replace(g, limits=Resources()) for g in busy]
    plan = _plan(_rules(), *busy, context=context, policy=replace(POLICY, floor=0))
    (entry,) = plan.infeasible
    assert (entry.reason.code, entry.resource, entry.asked, entry.free) == ("promised", "cpu_cores", 20.0, 4.0)
    assert plan.headroom is not None and plan.headroom.room("cpu_cores").people == 4.0


states = st.sampled_from([GhostState.READY, GhostState.WARM, GhostState.PARKED, GhostState.ACTIVE])
owners = st.sampled_from([None, *(UserId(f"u{n}") for n in range(12))])
ghosts = st.lists(st.tuples(states, owners), max_size=15).map(
    lambda rows: [
        _ghost(f"g{n}", GhostState.READY if owner is None and state is not GhostState.PARKED else state, owner)
        for n, (state, owner) in enumerate(rows)
    ]
)
rules = st.builds(
    lambda most, share, quota, booked: CapacityRules(
        quotas=Quotas(departments={"d": Quota(desktops=quota)}, ghosts=GhostQuota(most, share=share)),
        departments={UserId(f"u{n}"): "d" for n in range(6)},
        bookings=(replace(CLASS, department="d", desktops=booked),) if booked else (),
    ),
    st.none() | st.integers(0, 6),
    st.builds(Resources, memory_bytes=st.sampled_from([0.0, 0.1, 0.5])),
    st.integers(0, 8),
    st.integers(0, 10),
)


@given(ghosts, rules, st.sampled_from([1e9, 3e9, 64e9]), st.integers(1, 20), st.integers(0, 6))
def test_ghosts_never_take_more_than_the_rules_leave_and_each_wish_not_granted_has_a_reason(
    there: list[Ghost], ruled: CapacityRules, memory_bytes: float, ceiling: int, floor: int
) -> None:
    policy = replace(POLICY, ceiling=max(ceiling, floor), floor=floor)
    context = Context(Resources(8.0, memory_bytes))
    curves = tuple(_curve(UserId(f"u{n}"), 0.9) for n in range(8))
    plan = _plan(ruled, *there, curves=curves, policy=policy, context=context)
    before = [g for g in there if g.state is not GhostState.ACTIVE]
    builds = _builds(plan)
    held = sum(hold.left for hold in plan.holds)
    quota = ruled.quotas.ghosts
    if quota.desktops is not None and builds:
        assert len(before) + builds <= max(quota.desktops, len(before)) + held
    most = quota.amounts(context.capacity).memory_bytes
    if most and builds:
        assert (len(before) + builds) * policy.ghost_memory_bytes <= max(
            most, len(before) * policy.ghost_memory_bytes
        ) + held * policy.ghost_memory_bytes
    people = sum(500e6 for g in there if g.state is GhostState.ACTIVE)
    if builds:
        total = people + (len(before) + builds) * policy.ghost_memory_bytes
        assert total <= ruled.allowed(context.capacity).memory_bytes + 1, "people first, and nothing promised twice"
    assert all(entry.reason.code and entry.reason.text for entry in plan.infeasible)
    prepared = {a.event.user for a in plan.actions if isinstance(a.event, BindRequested)}
    working = {g.owner for g in there if g.state is GhostState.ACTIVE}
    of_department = {user for user in prepared if user in ruled.departments}
    limit = ruled.quotas.departments["d"].desktops
    used = sum(1 for g in there if g.state is GhostState.ACTIVE and g.owner in ruled.departments)
    assert limit is None or not of_department or used + len(of_department - working) <= limit


def test_a_class_is_not_held_more_desktops_than_its_department_may_have() -> None:
    plan = _plan(_rules(CLASS, departments={"physics": Quota(desktops=2)}))
    assert plan.pool_target == 2 + 2
    (entry,) = plan.infeasible
    assert entry.reason.text == "4 short: the quota of physics is 2 desktops"


def test_files_of_a_class_without_names_are_loaded_ahead() -> None:
    plan = _plan(_rules(replace(CLASS, apps=(AppId("writer"),))))
    assert [(wish.apps, wish.user, wish.reason) for wish in plan.prefetch] == [
        (("writer",), None, "booked: physics 2b")
    ]
    named = replace(CLASS, apps=(AppId("writer"),), department="", users=frozenset({ADA}))
    assert all(wish.user == ADA for wish in _plan(_rules(named)).prefetch), "for her it is launched"


def test_while_warming_is_paused_a_class_that_is_not_ready_is_told_of() -> None:
    paused = replace(ROOMY, gate=WarmingGate(state=GateState.PAUSED))
    plan = _plan(_rules(CLASS), context=paused)
    assert _builds(plan) == 0
    told = [entry for entry in plan.infeasible if entry.reason.code == "booking-short"]
    assert [(entry.wish, entry.asked, entry.free) for entry in told] == [("6 desktops for physics 2b", 6, 0)]
    assert "warming is paused" in told[0].reason.text

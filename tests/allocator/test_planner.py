"""Plans: pure, with a reason for everything, and honest about what cannot be had."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

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
from ghostdesk.ghosts.lifecycle import step
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, Priority, Resources
from ghostdesk.profiles.forecast import ArrivalCurve, LaunchProbability, ModeNeed, UsageCurve

TEMPLATE = DesktopTemplate(TemplateId("generic"))
POLICY = PoolPolicy(TEMPLATE, floor=2, ceiling=6)
ROOMY = Context(Resources(8.0, 64.0 * GIB))
NOBODY = ArrivalCurve(0.0, 3600.0, (0.0,))
ALICE, BOB = UserId("alice"), UserId("bob")


def _curve(user: UserId, probability: float, *apps: str) -> UsageCurve:
    launches = tuple(LaunchProbability(AppId(a), 0.3) for a in apps)
    return UsageCurve(user, 0.0, 600.0, (probability,), (probability,), launches)


def _plan(
    ghosts: tuple[Ghost, ...] = (),
    curves: tuple[UsageCurve, ...] = (),
    *,
    policy: PoolPolicy = POLICY,
    context: Context = ROOMY,
    arrivals: ArrivalCurve = NOBODY,
    excluded: frozenset[UserId] = frozenset(),
    now_s: float = 0.0,
) -> Plan:
    by_user = {c.user: c for c in curves}
    return ResourceAllocator().plan(PlanRequest(now_s, ghosts, by_user, arrivals, policy, context, excluded))


def _ready(name: str, owner: UserId | None = None) -> Ghost:
    return Ghost(GhostId(name), TEMPLATE.template, GhostState.READY, owner)


def test_an_empty_pool_is_built_to_the_floor() -> None:
    plan = _plan()
    assert [type(a.event) for a in plan.actions] == [BuildRequested, BuildRequested]
    assert plan.pool_target == 2


def test_a_likely_user_gets_a_ghost_bound_then_warmed() -> None:
    curve = _curve(ALICE, 0.8, "editor", "browser", "viewer")
    plan = _plan((_ready("a"), _ready("b"), _ready("c")), (curve,))
    assert next(a.event for a in plan.actions if isinstance(a.event, BindRequested)).user == ALICE
    plan = _plan((_ready("a", ALICE), _ready("b"), _ready("c")), (curve,))
    warm = [a.event for a in plan.actions if isinstance(a.event, WarmRequested)]
    assert warm[0].apps == ("editor", "browser"), "at most two, the likeliest"


def _mode(probability: float, *apps: str, chosen: bool = False) -> ModeNeed:
    reason = "video editing is chosen" if chosen else f"video editing is likely at this hour ({probability:.0%})"
    asked = tuple(AppId(app) for app in apps)
    return ModeNeed("video editing", probability, chosen, asked, (), Resources(), reason)


def test_the_applications_of_a_likely_mode_are_warmed_with_its_reason() -> None:
    curve = replace(_curve(ALICE, 0.8, "browser"), modes=(_mode(0.62, "kdenlive", "gimp", "browser"),))
    plan = _plan((_ready("a", ALICE), _ready("b"), _ready("c")), (curve,))
    (warm,) = [a.event for a in plan.actions if isinstance(a.event, WarmRequested)]
    assert set(warm.apps) <= {"kdenlive", "gimp", "browser"} and len(warm.apps) == 2
    assert "video editing is likely at this hour (62%)" in warm.reason
    unlikely = replace(curve, modes=(_mode(0.4, "kdenlive", "gimp"),))
    plan = _plan((_ready("a", ALICE), _ready("b"), _ready("c")), (unlikely,))
    (warm,) = [a.event for a in plan.actions if isinstance(a.event, WarmRequested)]
    assert warm.apps == ("browser",) and "video editing" not in warm.reason


def test_only_applications_that_the_template_offers_are_warmed_for_a_mode() -> None:
    template = DesktopTemplate(TemplateId("generic"), apps=(AppId("gimp"),))
    curve = replace(_curve(ALICE, 0.8), modes=(_mode(0.9, "kdenlive", "gimp"),))
    ghosts = (_ready("a", ALICE), _ready("b"), _ready("c"))
    plan = _plan(ghosts, (curve,), policy=replace(POLICY, template=template))
    (warm,) = [a.event for a in plan.actions if isinstance(a.event, WarmRequested)]
    assert warm.apps == ("gimp",)


def test_a_chosen_mode_holds_at_once_in_a_desktop_in_use_and_a_likely_one_does_not() -> None:
    used = Ghost(
        GhostId("a"), TEMPLATE.template, GhostState.ACTIVE, ALICE, apps=(AppId("gimp"),), priority=Priority.PERSON
    )
    ghosts = (used, _ready("b"), _ready("c"))
    curve = replace(_curve(ALICE, 0.0), modes=(_mode(1.0, "gimp", "kdenlive", chosen=True),))
    (action,) = _plan(ghosts, (curve,)).actions
    assert isinstance(action.event, WarmRequested)
    assert (action.event.apps, action.event.freeze) == (("kdenlive",), False)
    assert action.event.reason == "alice: video editing is chosen"
    there = replace(used, apps=(AppId("gimp"), AppId("kdenlive")))
    assert _plan((there, *ghosts[1:]), (curve,)).actions == ()
    assert _plan(ghosts, (replace(curve, modes=(_mode(0.9, "kdenlive"),)),)).actions == ()
    off = replace(POLICY, active_app_threshold=1.1)
    assert _plan(ghosts, (curve,), policy=off).actions == ()
    full = Context(Resources(8.0, 1e6), used=Resources(memory_bytes=1e6))
    assert not any(isinstance(a.event, WarmRequested) for a in _plan(ghosts, (curve,), context=full).actions)


def test_the_next_application_of_a_desktop_in_use_is_launched_ahead_once() -> None:
    active = Ghost(GhostId("a"), TEMPLATE.template, GhostState.ACTIVE, ALICE, priority=Priority.PERSON)
    likely = UsageCurve(ALICE, 0.0, 600.0, apps=(LaunchProbability(AppId("browser"), 0.7),))
    plan = _plan((active, _ready("b"), _ready("c")), (likely,))
    assert [a.event for a in plan.actions] == [
        WarmRequested((AppId("browser"),), False, "alice turns to browser next with 70%")
    ]
    had = Ghost(
        GhostId("a"), TEMPLATE.template, GhostState.ACTIVE, ALICE, apps=(AppId("browser"),), priority=Priority.PERSON
    )
    assert not _plan((had, _ready("b"), _ready("c")), (likely,)).actions
    unsure = UsageCurve(ALICE, 0.0, 600.0, apps=(LaunchProbability(AppId("browser"), 0.4),))
    assert not _plan((active, _ready("b"), _ready("c")), (unsure,)).actions


def test_excluded_and_unlikely_users_get_nothing() -> None:
    curves = (_curve(ALICE, 0.9), _curve(BOB, 0.1))
    plan = _plan((_ready("a"), _ready("b")), curves, excluded=frozenset({ALICE}))
    assert not [a for a in plan.actions if isinstance(a.event, BindRequested)]


def test_a_parked_spare_is_woken_before_anything_is_built() -> None:
    parked = Ghost(GhostId("p"), TEMPLATE.template, GhostState.PARKED)
    plan = _plan((_ready("a"), parked))
    assert [type(a.event) for a in plan.actions] == [WakeRequested]


def test_back_off_is_listed_as_infeasible_with_its_reason() -> None:
    plan = _plan(context=Context(Resources(8.0, 64.0 * GIB), build_blocked="building failed once: no Xvnc."))
    assert not plan.actions
    assert plan.infeasible[0].reason.text == "building failed once: no Xvnc."


def test_without_memory_builds_are_infeasible_and_files_are_cached_meanwhile() -> None:
    plan = _plan(context=Context(Resources(8.0, 1e6)))
    assert [type(a.event) for a in plan.actions] == [CacheRequested]
    assert plan.infeasible[0].reason.code == "memory"


def test_memory_goes_to_the_likeliest_users_and_the_rest_is_said() -> None:
    policy = PoolPolicy(TEMPLATE, floor=0, ceiling=6, ghost_memory_bytes=1e9)
    curves = tuple(_curve(UserId(f"u{n}"), 0.4 + n / 20) for n in range(6))
    plan = _plan(tuple(_ready(f"g{n}") for n in range(6)), curves, policy=policy, context=Context(Resources(8.0, 3e9)))
    bound = [a.event.user for a in plan.actions if isinstance(a.event, BindRequested)]
    assert bound == ["u5", "u4", "u3"]
    assert plan.memory_price > 0
    assert {i.wish for i in plan.infeasible} >= {f"a warm desktop for u{n}" for n in range(3)}


GHOSTS = st.lists(
    st.builds(
        lambda state, owner, pending, since: (state, owner if state != GhostState.WARM else ALICE, pending, since),
        st.sampled_from([s for s in GhostState if s is not GhostState.ABSENT]),
        st.sampled_from([None, ALICE, BOB]),
        st.sampled_from([None, "build", "warm", "destroy"]),
        st.floats(0, 5000),
    ),
    max_size=8,
)


@given(GHOSTS, st.floats(0, 1), st.floats(0, 1), st.floats(0, 40), st.floats(0, 64e9), st.booleans())
def test_any_plan_can_be_carried_out_and_has_reasons(
    raw: list[tuple[GhostState, UserId | None, str | None, float]],
    alice: float,
    bob: float,
    expected: float,
    memory_bytes: float,
    can_park: bool,
) -> None:
    ghosts = tuple(
        Ghost(GhostId(f"g{n}"), TEMPLATE.template, state, owner, pending=pending, since_s=since)
        for n, (state, owner, pending, since) in enumerate(raw)
    )
    context = Context(Resources(8.0, memory_bytes), can_park=can_park)
    curves = (_curve(ALICE, alice, "editor"), _curve(BOB, bob))
    arrivals = ArrivalCurve(0.0, 7200.0, (expected,))
    plan = _plan(ghosts, curves, context=context, arrivals=arrivals, now_s=6000.0)
    by_id = {g.ghost: g for g in ghosts}
    seen = [a.ghost for a in plan.actions if a.ghost is not None]
    assert len(seen) == len(set(seen)), "one action a ghost"
    for action in plan.actions:
        assert action.reason.text
        ghost = by_id[action.ghost] if action.ghost else Ghost(GhostId("new"), TEMPLATE.template)
        assert not step(ghost, action.event, 6000.0).refused
    new = [a for a in plan.actions if isinstance(a.event, BuildRequested) and a.ghost is None]
    alive = [g for g in ghosts if g.state is not GhostState.DRAINING]
    assert len(new) <= max(0, POLICY.ceiling - len(alive)), "never beyond the ceiling"
    assert plan == _plan(ghosts, curves, context=context, arrivals=arrivals, now_s=6000.0), "the same again"


PARKS = replace(ROOMY, can_park=True)


def _personal(state: GhostState, *apps: str) -> Ghost:
    names = tuple(AppId(app) for app in apps)
    return Ghost(GhostId("a"), TEMPLATE.template, state, ALICE, 1, names)


def test_a_ghost_climbs_step_by_step_each_with_its_price() -> None:
    spares = (_ready("b"), _ready("c"))
    plan = _plan(spares, (_curve(ALICE, 0.03, "editor"),), context=PARKS)
    assert not plan.actions
    (wish,) = plan.prefetch
    assert (wish.apps, wish.user) == (("editor",), ALICE)
    assert "3% likely to sign in" in wish.reason and "cached pays from" in wish.reason
    likelier = _curve(ALICE, 0.2, "editor")
    steps = []
    for ghosts in (spares, (_personal(GhostState.READY), *spares), (_personal(GhostState.WARM, "editor"), *spares)):
        plan = _plan(ghosts, (likelier,), context=PARKS)
        (event,) = [a.event for a in plan.actions if not isinstance(a.event, BuildRequested)]
        assert "parked pays from 7%" in event.reason
        steps.append(type(event))
    assert steps == [BindRequested, WarmRequested, ParkRequested]
    parked = (_personal(GhostState.PARKED, "editor"), *spares)
    assert not _plan(parked, (likelier,), context=PARKS).actions, "there it stays"
    plan = _plan(parked, (_curve(ALICE, 0.4, "editor"),), context=PARKS)
    assert [type(a.event) for a in plan.actions] == [WakeRequested]
    assert "warm pays from 30%" in plan.actions[0].event.reason


def test_without_steps_only_likely_people_get_something() -> None:
    policy = replace(POLICY, in_steps=False)
    plan = _plan((_ready("b"), _ready("c")), (_curve(ALICE, 0.2, "editor"),), context=PARKS, policy=policy)
    assert not plan.actions and not plan.prefetch


def test_dear_energy_lets_ghosts_climb_less() -> None:
    dear = replace(POLICY, warm_threshold=2.0 * POLICY.warm_threshold)
    ghosts, curves = (_personal(GhostState.PARKED, "editor"), _ready("b"), _ready("c")), (_curve(ALICE, 0.4, "editor"),)
    assert _plan(ghosts, curves, context=PARKS).actions
    assert not _plan(ghosts, curves, context=PARKS, policy=dear).actions


def test_where_memory_is_short_some_are_kept_parked_and_it_is_said() -> None:
    policy = PoolPolicy(TEMPLATE, floor=0, ceiling=6, ghost_memory_bytes=1e9)
    users = [UserId(f"u{n}") for n in range(6)]
    curves = tuple(_curve(user, 0.4 + n / 20, "editor") for n, user in enumerate(users))
    ghosts = tuple(
        Ghost(GhostId(f"g{n}"), TEMPLATE.template, GhostState.PARKED, user, 1, (AppId("editor"),))
        for n, user in enumerate(users)
    )
    context = Context(Resources(8.0, 4e9), can_park=True)
    plan = _plan(ghosts, curves, policy=policy, context=context)
    woken = {a.ghost for a in plan.actions if isinstance(a.event, WakeRequested)}
    refused = [i for i in plan.infeasible if "no memory left" in i.reason.text]
    assert woken and len(woken) * 1e9 + (6 - len(woken) - len(refused)) * 0.24e9 <= 4e9
    assert woken == {f"g{n}" for n in range(6 - len(woken), 6)}, "the likeliest are warm"
    said = {i.wish for i in plan.infeasible}
    assert said == {f"a warm desktop for u{n}" for n in range(6 - len(woken))}
    assert plan.memory_price > 0


def test_people_come_before_ghosts_when_memory_runs_out() -> None:
    active = Ghost(GhostId("p"), TEMPLATE.template, GhostState.ACTIVE, BOB, 1)
    warm = _personal(GhostState.WARM, "editor")
    context = replace(PARKS, used=Resources(memory_bytes=64.0 * GIB + 200e6))
    ghosts = (active, warm, _ready("b"), _ready("c"))
    plan = _plan(ghosts, (_curve(ALICE, 0.9, "editor"),), context=context)
    made = [(a.ghost, type(a.event)) for a in plan.actions if a.reason.code == "make-way"]
    assert made == [("b", ParkRequested), ("c", ParkRequested)], "spares before the desktop of somebody likely"
    plan = _plan(ghosts, (_curve(ALICE, 0.9, "editor"),), context=replace(context, can_park=False))
    made = [(a.ghost, type(a.event)) for a in plan.actions if a.reason.code == "make-way"]
    assert made == [("b", ReleaseRequested)]
    assert not [a for a in _plan(ghosts[1:], context=context).actions if a.reason.code == "make-way"], "for nobody"


def test_limits_rise_before_their_user_comes_and_after_a_restart() -> None:
    policy = replace(POLICY, ghost_limits=Resources(0.5, 1e9), active_limits=Resources(4.0, 6e9))
    need = Resources(1.6, 2e9)
    curve = replace(_curve(ALICE, 0.9, "editor"), slot_s=180.0, resources=need)
    warm = replace(_personal(GhostState.WARM, "editor"), limits=policy.ghost_limits)
    spares = tuple(replace(_ready(name), limits=policy.ghost_limits) for name in "bc")
    (action,) = _plan((warm, *spares), (curve,), policy=policy).actions
    assert isinstance(action.event, ResizeRequested) and action.event.priority is Priority.GHOST
    assert action.event.limits.cpu_cores == 2.0 and action.event.limits.memory_bytes > 2e9
    raised = replace(warm, limits=action.event.limits)
    assert not _plan((raised, *spares), (curve,), policy=policy).actions, "once"
    found = Ghost(GhostId("a"), TEMPLATE.template, GhostState.ACTIVE, ALICE, 1)
    (action,) = _plan((found, *spares), policy=policy).actions
    assert action.event == ResizeRequested(
        Resources(4.0, 6e9), Priority.PERSON, "alice works in it: all that it may use"
    )

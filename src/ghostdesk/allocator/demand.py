"""From forecasts to wishes: whose ghost to bring to which rung, with what, and how many the pool needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ghostdesk.allocator.fleet.pool import pool_demand
from ghostdesk.allocator.host_plan import has_room_for_all, lead_of, plan_host, pool_of
from ghostdesk.allocator.ladder import Ladder
from ghostdesk.allocator.plan import PlanRequest, PolicyAnswer, PoolPolicy
from ghostdesk.ghosts.ghost import LIVE, GhostState
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.forecast import UsageCurve

_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class PersonalWish:
    """One user for whom something should be prepared: a warm desktop, a parked one, or files in the page cache."""

    user: UserId
    probability: float
    apps: tuple[AppId, ...]
    why: str
    rung: GhostState = GhostState.WARM


@dataclass(frozen=True, slots=True)
class PersonalWishes:
    """What is prepared for whom.

    Args:
        granted: ghosts, likeliest user first, each with the rung that it gets.
        refused: wishes that no memory is left for; `lowered` those that get a lower rung than they were worth.
        cached: people for whom files are brought into the page cache, and no more.
        price: shadow price of a byte.
    """

    granted: tuple[PersonalWish, ...] = ()
    refused: tuple[PersonalWish, ...] = ()
    lowered: tuple[PersonalWish, ...] = ()
    cached: tuple[PersonalWish, ...] = ()
    price: float = 0.0


@dataclass(frozen=True, slots=True)
class PoolWish:
    """How many generic ghosts should be ready, and why."""

    target: int
    why: str
    code: str = "forecast"


def likely_apps(curve: UsageCurve, policy: PoolPolicy) -> tuple[AppId, ...]:
    """The applications worth launching ahead, likeliest first."""
    offered = set(policy.template.apps)
    chances = {a.app: a.probability for a in curve.apps if a.probability >= policy.app_threshold}
    for need in curve.modes:
        if need.acts:
            chances |= {app: max(chances.get(app, 0.0), need.probability) for app in need.apps}
    likely = sorted((app for app in chances if not offered or app in offered), key=lambda app: -chances[app])
    return tuple(likely[: policy.warm_apps])


def mode_reasons(curve: UsageCurve, apps: Sequence[AppId]) -> str:
    """Which modes these applications are launched ahead for; empty when for none."""
    return "; ".join(need.reason for need in curve.modes if need.acts and set(need.apps) & set(apps))


def ladder_of(request: PlanRequest) -> Ladder:
    """The priced ladder of this host."""
    policy, context = request.policy, request.context
    return Ladder.priced(
        policy.ladder,
        policy.warm_threshold,
        policy.ghost_memory_bytes,
        can_park=context.can_park and policy.in_steps,
    )


def personal_wishes(request: PlanRequest, booked: Sequence[PersonalWish] = ()) -> PersonalWishes:
    """Who should get what now: the rung that pays at their probability, lowered where the memory's price says so; and
    what is `booked` for them."""
    answer = request.answer
    asked = with_booked(_forecast_wishes(request) if answer is None else _policy_wishes(request, answer), booked)
    asked.sort(key=lambda wish: (-wish.probability, wish.user))
    cached = tuple(wish for wish in asked if wish.rung is GhostState.CACHED)
    wishes = [wish for wish in asked if wish.rung is not GhostState.CACHED]
    if not wishes:
        return PersonalWishes(cached=cached)
    room = request.context.capacity.memory_bytes - _memory_of_active(request)
    highest, price = [w.rung for w in wishes], 0.0
    rungs = highest
    if not has_room_for_all(request, len(wishes), room):
        chances, shares = [w.probability for w in wishes], [_covered(request, w.user) for w in wishes]
        rungs, price = plan_host(request, chances, shares, highest, room, _quantile(request))
    pairs = list(zip(wishes, rungs, strict=True))
    return PersonalWishes(
        granted=tuple(replace(w, rung=rung) for w, rung in pairs if rung is not GhostState.ABSENT),
        refused=tuple(w for w, rung in pairs if rung is GhostState.ABSENT),
        lowered=tuple(w for w, rung in pairs if rung is not w.rung and rung is not GhostState.ABSENT),
        cached=cached,
        price=price,
    )


def with_booked(wishes: list[PersonalWish], booked: Sequence[PersonalWish]) -> list[PersonalWish]:
    """One wish a person: what is booked for somebody raises their chance, and its applications come first."""
    if not booked:
        return wishes
    own = {wish.user: wish for wish in wishes}
    for wish in booked:
        other = own.get(wish.user)
        if other is None:
            own[wish.user] = wish
            continue
        apps = tuple(dict.fromkeys((*wish.apps, *other.apps)))
        chance, why = max(wish.probability, other.probability), f"{wish.why}; {other.why}"
        own[wish.user] = PersonalWish(wish.user, chance, apps, why, wish.rung)
    return list(own.values())


def _policy_wishes(request: PlanRequest, answer: PolicyAnswer) -> list[PersonalWish]:
    """Those whom the policy names, and those at the door; applications come from the forecast, where there is one."""
    policy, wishes = request.policy, []
    named = frozenset() if policy.forecast_only else answer.users
    for user in sorted((named | request.expected) - request.excluded):
        curve = request.curves.get(user)
        why = "has come to the page" if user in request.expected else f"is to be kept ready: {answer.why}"
        wishes.append(_wish(user, 1.0, curve, policy, why))
    return wishes


def _forecast_wishes(request: PlanRequest) -> list[PersonalWish]:
    """A user who already has a ghost keeps it down to a lower probability, so that one that wavers around a threshold
    does not build and destroy by turns."""
    policy = request.policy
    held = {g.owner: g.state for g in request.ghosts if g.owner is not None and g.state in LIVE}
    ladder = ladder_of(request)
    prices = {step.rung: step.why() for step in ladder.steps}
    wishes: list[PersonalWish] = []
    for user, curve in request.curves.items():
        if user in request.excluded:
            continue
        if user in request.expected:
            wishes.append(_wish(user, 1.0, curve, policy, "has come to the page"))
            continue
        probability = curve.arrival_within(request.now_s, policy.warm_lead_s)
        step = None if policy.forecast_only else ladder.rung_for(probability, held.get(user, GhostState.ABSENT))
        if step is None or (step.rung is GhostState.CACHED and not policy.in_steps):
            continue
        why = f"{_why(curve, probability, policy.warm_lead_s)}; {prices[step.rung]}"
        wishes.append(_wish(user, probability, curve, policy, why, step.rung))
    return wishes


def _wish(
    user: UserId,
    probability: float,
    curve: UsageCurve | None,
    policy: PoolPolicy,
    why: str,
    rung: GhostState = GhostState.WARM,
) -> PersonalWish:
    """With the applications that are likely, and the reasons of the modes that bring them."""
    if curve is None:
        return PersonalWish(user, probability, (), why, rung)
    apps = likely_apps(curve, policy)
    modes = mode_reasons(curve, apps)
    return PersonalWish(user, probability, apps, f"{why}; {modes}" if modes else why, rung)


def pool_wish(request: PlanRequest, personal: Sequence[PersonalWish]) -> PoolWish:
    """How many generic ghosts to hold: what the chosen policy says, else the newsvendor quantile of sign-ins within the
    time that a build takes, that time being as uncertain as it was measured, and the quantile corrected for what became
    of the last starts.

    Those with a `personal` ghost are taken off the expectation, as far as they are expected within that time.
    """
    policy = request.policy
    if policy.forecast_only:
        return PoolWish(policy.floor, f"forecast only: the floor of {policy.floor} is held")
    if request.answer is not None:
        answer = request.answer
        target = min(max(policy.floor, answer.target), policy.ceiling)
        bounds = "" if target == answer.target else f"; floor {policy.floor}, ceiling {policy.ceiling}"
        return PoolWish(target, answer.why + bounds, answer.code)
    quantile, lead = _quantile(request), lead_of(request)
    pool = pool_of(request, quantile)
    covered = sum(_covered(request, wish.user) for wish in personal)
    expected = max(0.0, float(pool.expected @ pool.shares) - covered)
    needed = pool_demand(replace(pool, floor=0, ceiling=_MOST), covered).wanted
    target = min(max(policy.floor, needed), policy.ceiling)
    why = request.service.why() if request.service is not None else ""
    return PoolWish(
        target,
        f"{expected:.2f} sign-ins expected in the {lead.mean_s:.1f} s that a build takes: {needed} ready ghosts serve "
        f"them {quantile:.4g} of the time{f' ({why})' if why else ''}; floor {policy.floor}, ceiling {policy.ceiling}",
    )


def _quantile(request: PlanRequest) -> float:
    """The service target, corrected for what became of it."""
    return request.policy.target_hit_rate if request.service is None else request.service.quantile()


def _covered(request: PlanRequest, user: UserId) -> float:
    """Sign-ins of this user expected within a build's time; somebody at the door counts as one."""
    if user in request.expected:
        return 1.0
    curve = request.curves.get(user)
    return 0.0 if curve is None else curve.arrival_within(request.now_s, request.context.build_time_s)


def _why(curve: UsageCurve, probability: float, lead_s: float) -> str:
    habit = f": {curve.reasons[0]}" if curve.reasons else ""
    return f"{probability:.0%} likely to sign in within {lead_s / 60:.0f} min{habit}"


def _memory_of_active(request: PlanRequest) -> float:
    """Memory that claimed desktops are counted with: people come before ghosts."""
    active = sum(1 for g in request.ghosts if g.state is GhostState.ACTIVE)
    return active * request.policy.ghost_memory_bytes * 2

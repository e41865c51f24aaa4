"""The plan of one tick: pooled and personal ghosts out of one decision, each action with its reason. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ghostdesk.allocator.ahead import Ahead
from ghostdesk.allocator.conditions_gate import GateState
from ghostdesk.allocator.demand import PersonalWish, PersonalWishes, PoolWish, personal_wishes, pool_wish
from ghostdesk.allocator.limits import full_limits, material, wanted_limits
from ghostdesk.allocator.links import judge, network_wish, slow_line_text
from ghostdesk.allocator.plan import Action, Infeasible, Plan, PlanRequest, Reason
from ghostdesk.allocator.reasons import grouped
from ghostdesk.allocator.standing import Standing
from ghostdesk.ghosts.events import (
    BindRequested,
    BuildRequested,
    CacheRequested,
    GhostEvent,
    ParkRequested,
    ReleaseRequested,
    ResizeRequested,
    WakeRequested,
    WarmRequested,
)
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import Priority, Resources
from ghostdesk.prefetch.plan import PrefetchWish
from ghostdesk.profiles.forecast import UsageCurve

_IDLE = frozenset({GhostState.READY, GhostState.WARM, GhostState.PARKED})
_RUNNING = frozenset({GhostState.READY, GhostState.WARM, GhostState.ACTIVE})


@dataclass
class _Draft:
    """A plan in the making."""

    request: PlanRequest
    actions: list[Action] = field(default_factory=list)
    infeasible: list[Infeasible] = field(default_factory=list)
    touched: set[GhostId] = field(default_factory=set)
    unowned: list[Ghost] = field(default_factory=list)
    """Ghosts of nobody, in whatever state; beside many desktops in use they are few."""
    personal: list[Ghost] = field(default_factory=list)
    """Ghosts of people who have not come yet."""
    draining: list[Ghost] = field(default_factory=list)
    owned: dict[UserId, list[Ghost]] = field(default_factory=dict)
    """Each person's desktops and ghosts that are not being destroyed."""
    ready: list[Ghost] | None = None
    """Ready ghosts of nobody in the order of `free`, the first at the end; those that were used leave it when met."""
    ahead: Ahead = field(init=False)
    """What may be done for people who are not here yet."""

    def __post_init__(self) -> None:
        self.ahead = Ahead.under(self.request.context.gate, self.request.ghosts)
        active, draining = GhostState.ACTIVE, GhostState.DRAINING
        for ghost in self.request.ghosts:  # once, as most are in use and of no concern
            if ghost.state is draining:
                self.draining.append(ghost)
                continue
            if ghost.owner is not None:
                self.owned.setdefault(ghost.owner, []).append(ghost)
            if ghost.state is active:
                continue
            if ghost.owner is None:
                self.unowned.append(ghost)
            else:
                self.personal.append(ghost)

    def act(self, ghost: Ghost | None, event: GhostEvent, code: str) -> None:
        """Add one action; the event's own reason is what people read."""
        self.actions.append(Action(event, ghost.ghost if ghost else None, Reason(code, event.reason)))
        if ghost:
            self.touched.add(ghost.ghost)

    def free(self, *states: GhostState) -> list[Ghost]:
        """Idle ghosts of nobody that this plan has not used yet, quickest to wake and oldest first."""
        found = [g for g in self.unowned if g.state in states and g.pending is None and g.ghost not in self.touched]
        found.sort(key=lambda g: (states.index(g.state), g.since_s, g.ghost))
        return found

    def first_ready(self) -> Ghost | None:
        """The first of `free(READY)`, found without looking at all of them for each of many people."""
        if self.ready is None:
            self.ready = self.free(GhostState.READY)[::-1]
        while self.ready and self.ready[-1].ghost in self.touched:
            self.ready.pop()
        return self.ready[-1] if self.ready else None


class ResourceAllocator:
    """Plans within capacity and context. It holds nothing: every answer depends on the request alone."""

    def plan(self, request: PlanRequest) -> Plan:
        """What to do now, and why; what could not be done, and why."""
        draft, standing = _Draft(request), Standing.of(request)
        wishes = standing.allow(personal_wishes(request, standing.booked_wishes()))
        _retry_drains(draft)
        _make_way(draft, wishes)
        unserved = [wish for wish in wishes.granted if not _serve(draft, wish)]
        for wish in wishes.refused:
            _no_memory(draft, wish, "no memory left at the present price")
        for wish in wishes.lowered:
            _no_memory(draft, wish, "it is kept parked: memory is too dear at present")
        standing.reserve(wishes.granted)
        pool = standing.pool(pool_wish(request, (*wishes.granted, *standing.coming_for_classes())))
        _fill(draft, pool, unserved, standing)
        _foresee_in_active(draft)
        _retire_personal(draft, {wish.user for wish in wishes.granted})
        _retire_generic(draft, pool, len(unserved))
        _resize(draft, standing)
        not_granted = standing.not_granted()
        return Plan(
            tuple(draft.actions),
            grouped((*draft.infeasible, *not_granted)),
            pool.target,
            pool.why,
            pool.code,
            wishes.price,
            notes=(*draft.ahead.notes(), *_slow_lines(draft)),
            prefetch=(
                *(standing.booked_launches() if request.context.gate.state is not GateState.PAUSED else ()),
                *_prefetch(request, (*unserved, *wishes.cached)),
            ),
            headroom=standing.headroom() if request.rules.enforced else None,
            holds=standing.reserved.holds,
        )

    def maximize_resources(self, request_limits: Resources, capacity: Resources) -> Resources:
        """What a claimed desktop may use: what the policy grants, never more than the host has. Zero means no limit."""
        return full_limits(request_limits, capacity)


def _prefetch(request: PlanRequest, wishes: Sequence[PersonalWish]) -> tuple[PrefetchWish, ...]:
    """Files to have in the page cache for those who have no ghost (yet), likeliest first; while warming is paused, for
    those at the door alone."""
    paused = request.context.gate.state is GateState.PAUSED
    budget_bytes = request.policy.ladder.cached_bytes
    return tuple(
        PrefetchWish(wish.apps, wish.user, wish.probability, budget_bytes, f"{wish.user} {wish.why}")
        for wish in sorted(wishes, key=lambda wish: (-wish.probability, wish.user))
        if wish.apps and (not paused or wish.user in request.expected)
    )


def _make_way(draft: _Draft, wishes: PersonalWishes) -> None:
    """People before ghosts: when desktops hold more memory than there is for them, the least useful ghosts give
    theirs back, parked where that frees it."""
    request, policy, context = draft.request, draft.request.policy, draft.request.context
    over_bytes = context.used.memory_bytes - context.capacity.memory_bytes
    if over_bytes <= 0 or not any(g.state is GhostState.ACTIVE for g in request.ghosts):
        return
    chances = {wish.user: wish.probability for wish in wishes.granted}
    ghosts = [
        ghost
        for ghost in (*draft.personal, *draft.unowned)
        if ghost.state in (GhostState.READY, GhostState.WARM)
        and ghost.pending is None
        and ghost.ghost not in context.watched
        and chances.get(ghost.owner, 0.0) < 1.0  # type: ignore[arg-type]
    ]
    # A person's likely desktop is worth more than a spare, and a spare more than one that nobody is expected for.
    spare = policy.warm_threshold
    ghosts.sort(key=lambda g: (spare if g.owner is None else chances.get(g.owner, 0.0), g.since_s, g.ghost))
    share = 1.0 - policy.ladder.parked_share if context.can_park else 1.0
    for ghost in ghosts:
        if over_bytes <= 0:
            break
        why = f"desktops in use need its memory ({over_bytes / 1e6:.0f} MB too much is held)"
        draft.act(ghost, ParkRequested(why) if context.can_park else ReleaseRequested(why), "make-way")
        over_bytes -= share * policy.ghost_memory_bytes


def _resize(draft: _Draft, standing: Standing) -> None:
    """Let desktops use what they should on their rung, where that differs from what they were last told."""
    request, policy = draft.request, draft.request.policy
    full_of = standing.full_limits_of(full_limits(policy.active_limits, request.context.capacity))
    active, person = GhostState.ACTIVE, Priority.PERSON
    for ghost in request.ghosts:
        if ghost.state not in _RUNNING or ghost.pending is not None or ghost.ghost in draft.touched:
            continue
        if ghost.state is active and ghost.priority is person and ghost.limits == full_of(ghost):
            continue  # as nearly all are
        curve = request.curves.get(ghost.owner) if ghost.owner is not None else None
        limits, priority, why = wanted_limits(policy, ghost, curve, full_of(ghost))
        link = request.context.links.get(ghost.owner) if ghost.owner is not None else None
        if priority is Priority.GHOST and link is not None:
            slim = network_wish(limits, policy.ghost_limits, link, request.context.link_rules)
            limits, why = slim, why if slim == limits else f"{why}; no more network than its user's slow line can show"
        if priority is not ghost.priority or material(limits, ghost.limits):
            draft.act(ghost, ResizeRequested(limits, priority, why), "resize")


def _slow_lines(draft: _Draft) -> tuple[Reason, ...]:
    """Of whom the plan knows that less can be done ahead, since their line is slow."""
    context = draft.request.context
    found = {}
    for ghost in draft.personal if context.links else ():
        link = context.links.get(ghost.owner) if ghost.owner is not None else None
        if ghost.owner is None or link is None:
            continue
        verdict = judge(link, context.link_rules)
        if verdict.slow:
            found[ghost.owner] = Reason("slow-line", slow_line_text(ghost.owner, verdict))
    return tuple(found[user] for user in sorted(found))


def _retry_drains(draft: _Draft) -> None:
    """A ghost whose destruction failed is tried again: nothing of ours stays behind."""
    for ghost in draft.draining:
        if ghost.pending is None:
            draft.act(ghost, ReleaseRequested("destroying it failed before"), "destroy-again")


def _serve(draft: _Draft, wish: PersonalWish) -> bool:
    """Bring this user's ghost one rung nearer; false when there is no ghost to give them yet. What is for
    somebody who is not at the door waits while the gate says so."""
    own = draft.owned.get(wish.user)
    if own:
        ghost = max(own, key=lambda g: (g.generation, g.ghost))
        if ghost.pending is None and ghost.ghost not in draft.touched:
            _climb(draft, wish, ghost)
        return True
    generic = draft.first_ready()
    if generic is not None:
        if not _may_begin(draft, wish):
            return True
        draft.act(generic, BindRequested(wish.user, f"{wish.user} {wish.why}"), "bind")
        return True
    return False


def _climb(draft: _Draft, wish: PersonalWish, ghost: Ghost) -> None:
    """The next step of a ghost towards the rung that its user's probability pays for."""
    missing = tuple(app for app in wish.apps if app not in (*ghost.apps, *ghost.failed_apps))
    watched = ghost.ghost in draft.request.context.watched
    warms = ghost.state is GhostState.READY or (ghost.state is GhostState.WARM and missing)
    if ghost.state is GhostState.PARKED:
        if wish.rung is GhostState.WARM and _may_begin(draft, wish):
            draft.act(ghost, WakeRequested(f"{wish.user} {wish.why}"), "wake-personal")
    elif warms and (missing or wish.rung is GhostState.WARM):
        names = f" with {', '.join(wish.apps)}" if wish.apps else ""
        if _may_begin(draft, wish):
            draft.act(ghost, WarmRequested(wish.apps, not watched, f"{wish.user} {wish.why}{names}"), "warm")
    elif wish.rung is GhostState.PARKED and ghost.state in (GhostState.READY, GhostState.WARM) and not watched:
        draft.act(ghost, ParkRequested(f"{wish.user} {wish.why}"), "park-step")


def _may_begin(draft: _Draft, wish: PersonalWish) -> bool:
    """Whether a step for this user may begin now: always for somebody at the door."""
    return wish.user in draft.request.expected or draft.ahead.take() > 0


def _foresee_in_active(draft: _Draft) -> None:
    """Launch the next application of a desktop in use, hidden, when it is likely enough and memory is left."""
    request, policy = draft.request, draft.request.policy
    room = request.context.capacity.memory_bytes - request.context.used.memory_bytes
    for ghost in request.ghosts if request.curves else ():
        if ghost.state is not GhostState.ACTIVE or ghost.pending is not None or room < policy.ghost_memory_bytes:
            continue
        curve = request.curves.get(ghost.owner) if ghost.owner is not None else None
        if curve and _begin_mode(draft, ghost, curve):
            room -= policy.ghost_memory_bytes
            continue
        for launch in curve.apps[:1] if curve else ():
            if launch.probability < policy.active_app_threshold or launch.app in (*ghost.apps, *ghost.failed_apps):
                continue
            if not draft.ahead.take():
                continue
            reason = f"{ghost.owner} turns to {launch.app} next with {launch.probability:.0%}"
            draft.act(ghost, WarmRequested((launch.app,), False, reason), "foresee")
            room -= policy.ghost_memory_bytes


def _begin_mode(draft: _Draft, ghost: Ghost, curve: UsageCurve) -> bool:
    """A mode that is chosen holds at once: launch the first of its applications that are not there, hidden."""
    policy = draft.request.policy
    if policy.active_app_threshold > 1.0:
        return False
    offered = set(policy.template.apps)
    for need in curve.modes:
        first = [app for app in need.apps if not offered or app in offered][: policy.warm_apps]
        missing = tuple(app for app in first if app not in (*ghost.apps, *ghost.failed_apps))
        if need.chosen and missing:
            draft.act(ghost, WarmRequested(missing, False, f"{ghost.owner}: {need.reason}"), "mode")
            return True
    return False


def _here_without(draft: _Draft) -> int:
    """People who wait, or stand at the door, and have no desktop: those of whom nothing is known, too."""
    request = draft.request
    bound = {action.event.user for action in draft.actions if isinstance(action.event, BindRequested)}
    return request.waiting + len(request.expected - request.excluded - draft.owned.keys() - bound)


def _fill(draft: _Draft, pool: PoolWish, unserved: list[PersonalWish], standing: Standing) -> None:
    """Wake or build until the pool is at its target and every personal wish has a ghost coming. What comes first is for
    those who wait."""
    request = draft.request
    on_hand = len(draft.free(GhostState.READY))
    coming = sum(1 for g in draft.unowned if g.coming)
    short = pool.target + len(unserved) + request.waiting - on_hand - coming
    booked = min(max(short, 0), max(0, standing.held_for_classes - on_hand - coming))
    urgent = min(max(_here_without(draft) - on_hand - coming, 0), max(short, 0))
    short = urgent + draft.ahead.take(short - urgent)
    parked = draft.free(GhostState.PARKED)[: max(short, 0)]
    for ghost in parked:
        draft.act(ghost, WakeRequested(f"the pool needs {pool.target}: {pool.why}"), "wake-pool")
    short -= len(parked)
    begun, why = len(parked), "there is no room for more desktops now"
    if short > 0 and request.context.build_blocked:
        why = request.context.build_blocked
        _infeasible(draft, f"{short} more ghosts", "backing-off", why, "desktops", short)
    elif short > 0:
        begun += _build(draft, standing.may_build(short, booked + request.waiting), pool, unserved)
    if request.context.gate.state is GateState.PAUSED:
        why = "warming is paused while the host is under pressure"
    elif request.context.gate.state is not GateState.OPEN:
        return  # they are begun, a few at a time
    standing.tell_booked(max(0, booked - begun), why)


def _build(draft: _Draft, short: int, pool: PoolWish, unserved: list[PersonalWish]) -> int:
    """Build `short` ghosts, or as many as there is room for; how many that is."""
    request, policy = draft.request, draft.request.policy
    alive = len(request.ghosts) - len(draft.draining)
    room = request.context.capacity.memory_bytes - request.context.used.memory_bytes
    affordable = max(0, int(room // policy.ghost_memory_bytes))
    may = min(short, max(0, policy.ceiling - alive), affordable)
    cached = [g for g in draft.unowned if g.state is GhostState.CACHED and g.pending is None]
    for number in range(may):
        reason = f"the pool needs {pool.target}: {pool.why}"
        if number < len(unserved):
            reason = f"{unserved[number].user} {unserved[number].why}"
        event = BuildRequested(policy.template, policy.ghost_limits, reason)
        draft.act(cached[number] if number < len(cached) else None, event, "build")
    if may < short:
        full = policy.ceiling - alive <= may
        code = "ceiling" if full else "memory"
        why = f"the ceiling of {policy.ceiling} desktops is reached" if full else "no memory left for more"
        what = ("desktops", short, may) if full else ("memory_bytes", short * policy.ghost_memory_bytes, max(room, 0.0))
        _infeasible(draft, f"{short - may} more ghosts", code, why, *what)
        if code == "memory" and not cached:
            draft.act(None, CacheRequested(policy.template, "a build is wanted as soon as there is memory"), "cache")
    return may


def _retire_personal(draft: _Draft, wanted: set[str]) -> None:
    """Park, and at length destroy, personal ghosts that nobody is expected for."""
    request, policy = draft.request, draft.request.policy
    for ghost in draft.personal:
        idle = ghost.state in _IDLE and ghost.pending is None
        if not idle or ghost.owner in wanted or ghost.ghost in request.context.watched:
            continue
        age_s = request.now_s - ghost.since_s
        if request.answer is not None:
            draft.act(ghost, ReleaseRequested(f"the policy keeps none for {ghost.owner}"), "release-personal")
        elif ghost.state is not GhostState.PARKED and request.context.can_park and age_s > policy.park_after_s / 4:
            draft.act(ghost, ParkRequested(f"{ghost.owner} is not expected any more"), "park-personal")
        elif age_s > policy.park_after_s:
            draft.act(
                ghost, ReleaseRequested(f"{ghost.owner} did not come for {age_s / 60:.0f} min"), "release-personal"
            )


def _retire_generic(draft: _Draft, pool: PoolWish, unserved: int) -> None:
    """Park or destroy one ghost a tick beyond the target, and only after it was idle a while (hysteresis). A chosen
    policy has its own hysteresis: what it does not want goes at once, the newest first; what is being made goes on."""
    request, policy = draft.request, draft.request.policy
    ready = draft.free(GhostState.READY)
    if request.answer is not None:
        coming = sum(1 for g in draft.unowned if g.coming)
        surplus = max(0, len(ready) + coming - request.waiting - unserved - pool.target)
        for ghost in [*draft.free(GhostState.PARKED), *(ready[-surplus:] if surplus else ())]:
            draft.act(ghost, ReleaseRequested(f"the pool needs only {pool.target}"), "shrink")
        return
    spare = [g for g in ready if request.now_s - g.since_s > policy.park_after_s]
    if len(ready) > pool.target and spare:
        event: GhostEvent = ReleaseRequested(f"the pool needs only {pool.target}")
        if request.context.can_park and not draft.free(GhostState.PARKED):
            event = ParkRequested(f"the pool needs only {pool.target}")
        draft.act(spare[-1], event, "shrink")
    for ghost in draft.free(GhostState.PARKED)[1:]:
        draft.act(ghost, ReleaseRequested("one parked spare is enough"), "release-parked")


def _no_memory(draft: _Draft, wish: PersonalWish, text: str) -> None:
    what = f"a {wish.rung} desktop for {wish.user}"
    _infeasible(draft, what, "memory", text, "memory_bytes", draft.request.policy.ghost_memory_bytes)


def _infeasible(
    draft: _Draft, wish: str, code: str, text: str, resource: str = "", asked: float = 0.0, free: float = 0.0
) -> None:
    draft.infeasible.append(Infeasible(wish, Reason(code, text), resource, asked, free))

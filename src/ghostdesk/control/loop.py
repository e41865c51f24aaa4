"""The loop that everything serves: observe, predict, plan, apply each tick; and the two paths that never wait for one.

every tick:
    usage  = UserProfileEngine.predict_resource_needs(user, now)
    plan   = ResourceAllocator.plan(requirements of every ghost, context)
    apply the plan
on sign-in or launch, without waiting for a tick:
    ghost  = GhostDesktopManager.find_instance_for(user, application)
    limits = ResourceAllocator.maximize_resources(ghost)
    SeamlessTransition.activate_instance(ghost)
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ghostdesk.allocator.capacity import CapacityRules
from ghostdesk.allocator.conditions_gate import GateState
from ghostdesk.allocator.limits import material
from ghostdesk.allocator.plan import Action, Plan, PlanRequest, PoolPolicy, Reason
from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.allocator.service_target import ServiceTarget
from ghostdesk.control.admission import Admission, no_rules
from ghostdesk.control.execute import Executor
from ghostdesk.control.observe import HostObserver
from ghostdesk.control.policy_feed import PolicyFeed
from ghostdesk.control.recover import remains
from ghostdesk.control.supply import Supply, Wait
from ghostdesk.engines.protocol import AgentLink
from ghostdesk.ghosts.commands import Outcome, ShowApp
from ghostdesk.ghosts.events import BindRequested, GhostEvent, Lost, ReleaseRequested, ResizeRequested, WakeRequested
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import Conflict, GhostdeskError, NotFound
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.kernel.resources import Priority, Resources
from ghostdesk.prefetch.plan import PrefetchWish
from ghostdesk.profiles.forecast import ArrivalCurve, UsageCurve
from ghostdesk.profiles.protocol import ProfileEngine, arrival_within
from ghostdesk.transition.handover import SeamlessTransition
from ghostdesk.transition.match import Match, Path, match

log = logging.getLogger(__name__)
_AT_THE_DOOR_S = 900.0
_IN_QUESTION_A_DESKTOP = 4
"""People who are asked about for each desktop that there may be: more than can be served, so that the best are."""
_WORKING_A_TICK = 2_000
"""Of people in desktops that are in use, so many curves a tick, in turn: only what they launch next depends on them,
and forty thousand curves would take longer than a tick."""
_TRIES = 8
"""Ghosts that somebody else took in the same moment; waiting for one is no try."""


@dataclass(frozen=True, slots=True)
class Served:
    """How somebody was served: the ghost they got, by which path, in what time, and why."""

    ghost: Ghost
    path: Path
    duration_s: float
    why: str


class ControlLoop:
    """One control plane: the only writer of its pool."""

    def __init__(
        self,
        manager: GhostDesktopManager,
        profiles: ProfileEngine,
        allocator: ResourceAllocator,
        transition: SeamlessTransition,
        executor: Executor,
        agents: AgentLink,
        observer: HostObserver,
        supply: Supply,
        policy: PoolPolicy,
        clock: Clock,
        *,
        horizon_s: float = 7200.0,
        eligible: Callable[[], frozenset[UserId] | None] = lambda: None,
        feed: PolicyFeed | None = None,
        rules: Callable[[], CapacityRules] = no_rules,
    ) -> None:
        self.manager = manager
        self.profiles = profiles
        self.allocator = allocator
        self.transition = transition
        self.executor = executor
        self.agents = agents
        self.observer = observer
        self.supply = supply
        self.policy = policy
        self.clock = clock
        self.horizon_s = horizon_s
        self.eligible = eligible
        self.service = ServiceTarget(policy.target_hit_rate)
        self.feed = feed
        self.admission = Admission(manager, observer, allocator, policy, clock, rules, lambda: supply.lead_time.mean_s)
        self.at_this_price: Callable[[PoolPolicy, ServiceTarget], tuple[PoolPolicy, ServiceTarget, Reason | None]]
        self.at_this_price = lambda policy, service: (policy, service, None)
        """What of the policy waits while energy is dear; the wiring sets it."""
        self.plan = Plan()
        self.on_wishes: Callable[[Sequence[PrefetchWish], bool], None] = lambda _wishes, _paused: None
        """Told what the plan wishes to have in the page cache, and whether warming is paused; the wiring sets it."""
        self.recent: deque[tuple[float, Action]] = deque(maxlen=30)
        self.curves: dict[UserId, UsageCurve] = {}
        self._at_the_door: dict[UserId, float] = {}
        self._working_from = 0
        self._stirred: set[UserId] = set()
        if feed is not None:
            executor.listeners.append(feed.on_change)

    async def tick(self) -> Plan:
        """Observe, predict, plan, apply. What the plan starts runs on beside the loop."""
        now_s = self.clock.now_s()
        await self._observe(now_s)
        self.ask_policy(now_s)
        expected = self._expected(now_s)
        self.curves, arrivals = self._predict(now_s, expected)
        ghosts = tuple(self.manager)
        policy, service, note = self.at_this_price(self.policy, self.service)
        plan = self.allocator.plan(
            PlanRequest(
                now_s,
                ghosts,
                self.curves,
                arrivals,
                policy,
                self.observer.context(self.supply, self.policy, now_s, len(ghosts)),
                self._excluded(),
                expected,
                service=service,
                waiting=self.supply.waiting,
                answer=self.feed.answer if self.feed is not None else None,
                rules=self.admission.rules(),
            )
        )
        self.plan = replace(plan, notes=(*plan.notes, note)) if note is not None else plan
        for action in self.plan.actions:
            self.recent.appendleft((now_s, action))
            self._apply(action)
        self.on_wishes(self.plan.prefetch, self.observer.gate.state is GateState.PAUSED)
        return self.plan

    async def _observe(self, now_s: float) -> None:
        """Ghosts whose processes are gone are lost, whatever we thought; their remains are destroyed."""
        for ghost, why in await self.observer.find_lost(self.manager, now_s):
            self.executor.spawn(self.executor.carry_out(ghost, Lost(why)))
        for frozen in self.observer.frozen_in_use:
            log.warning("desktop %s is in use and was frozen: it is thawed", frozen)
            self.executor.spawn(self.executor.thaw(frozen))
        for stray in self.observer.strays(now_s):
            log.warning("desktop %s is there and nobody knows of it: it is removed", stray.ghost)
            self.manager.restore(remains(stray, now_s, "it was found, and nobody knew of it"))

    def ask_policy(self, now_s: float) -> bool:
        """Ask the chosen policy, if it is time; whether it now wants something else. One that fails keeps its last
        answer, and is asked again at the next tick."""
        if self.feed is None or not self.feed.due(now_s):
            return False
        generic = self.manager.of_nobody()
        try:
            return self.feed.renew(now_s, generic, self.supply.lead_time, len(self.manager) - len(generic))
        except Exception:  # as with a forecast: sign-ins still work
            log.exception("the policy failed; its last answer holds until it works again")
            return False

    def _predict(self, now_s: float, expected: frozenset[UserId]) -> tuple[dict[UserId, UsageCurve], ArrivalCurve]:
        """Curves of those whom the plan may be about; when the model fails, the floor still holds and sign-ins still
        work."""
        try:
            curves = {
                user: self.profiles.predict_resource_needs(user, now_s) for user in self._in_question(now_s, expected)
            }
            if self.feed is not None:
                return curves, ArrivalCurve(now_s, self.horizon_s, (0.0,))  # the policy says how many
            return curves, self.profiles.predict_arrivals(now_s, self.horizon_s)
        except Exception:  # a forecast must never stop the loop, whatever a predictor raises
            log.exception("the forecast failed; the pool's floor is held until it works again")
            return {}, ArrivalCurve(now_s, self.horizon_s, (0.0,))

    def _in_question(self, now_s: float, expected: frozenset[UserId]) -> list[UserId]:
        """Owners of ghosts, those at the door, and whoever is likely (or named by the policy) to come: of a hundred
        thousand people few, and a curve of each is work."""
        known = self.profiles.users()
        if not known:
            return []
        likely = self.feed.answer.users if self.feed is not None else self._likely(now_s, known)
        asked = self._owners() | expected | likely
        return [user for user in known if user in asked] if asked else []

    def _owners(self) -> set[UserId]:
        """Owners of ghosts, and of desktops in use as many as there is time for, in turn; those of whom something new
        is known (`stir`) always."""
        owners: set[UserId] = set()
        working: list[UserId] = []
        for ghost in self.manager:
            if ghost.owner is None:
                continue
            if ghost.state is GhostState.ACTIVE:
                working.append(ghost.owner)
            else:
                owners.add(ghost.owner)
        if len(working) > _WORKING_A_TICK:
            begin = self._working_from % len(working)
            self._working_from = begin + _WORKING_A_TICK
            stirred = self._stirred.intersection(working)
            working = (working[begin:] + working[:begin])[:_WORKING_A_TICK]
            owners |= stirred
        self._stirred.clear()
        return owners.union(working)

    def stir(self, user: UserId) -> None:
        """Something new is known of this person: the next plan asks for their curve, however many others there are."""
        self._stirred.add(user)

    def _likely(self, now_s: float, known: Sequence[UserId]) -> frozenset[UserId]:
        """Whoever may get something of their own: the likeliest, as many as there can be plans for."""
        chances = arrival_within(self.profiles.outlook(now_s), self.horizon_s, self.policy.warm_lead_s)[: len(known)]
        rows = np.flatnonzero(chances >= self.policy.lowest_chance)
        most = _IN_QUESTION_A_DESKTOP * max(self.policy.ceiling, 1)
        if len(rows) > most:
            rows = rows[np.argsort(-chances[rows], kind="stable")[:most]]
        return frozenset(known[row] for row in rows.tolist())

    def curve_of(self, user: UserId) -> UsageCurve | None:
        """The person's curve, from the last tick or made now; None when they are unknown or the forecast fails."""
        curve = self.curves.get(user)
        if curve is not None:
            return curve
        try:
            known = user in self.profiles.users()
            return self.profiles.predict_resource_needs(user, self.clock.now_s()) if known else None
        except Exception:  # a page without odds is better than none
            log.exception("the forecast failed")
            return None

    def _apply(self, action: Action) -> None:
        if action.ghost is None:
            self.supply.make(action.event)
        else:
            self.executor.spawn(self._carry_out(action.ghost, action.event))

    async def _carry_out(self, ghost: GhostId, event: GhostEvent) -> None:
        """One action of the plan, in its turn: whoever has got a desktop meanwhile is bound to no second one."""
        if isinstance(event, BindRequested) and self.manager.of_user(event.user) is not None:
            return
        await self.executor.carry_out(ghost, event)

    async def sign_in(self, user: UserId) -> Served:
        """The sign-in path: claim the best ghost at hand; build one only when there is none.

        Raises:
            EngineError: no desktop could be had; cause and mend are for the user.
        """
        started_s = self.clock.now_s()
        found = self._find(user)
        waited = found.ghost is None
        if found.path is not Path.ACTIVE:
            self.admission.admit(user)  # whoever gets none is told so at once
        if self.feed is not None and found.path is not Path.ACTIVE:
            self.feed.started(user, started_s, missed=waited)
        try:
            return await self._claim_any(user, started_s, found)
        except GhostdeskError:
            if self.feed is not None:
                self.feed.ended(user, self.clock.now_s())
            raise

    async def _claim_any(self, user: UserId, started_s: float, found: Match) -> Served:
        waited, wait = False, Wait()
        for _ in range(_TRIES):
            while found.ghost is None:
                waited = True
                await self.supply.await_ghost(user, self.policy, self.admission.kept_from(user), wait)
                found = self._find(user, waited=True)
            limits = self._limits_of(user, found)
            event = self.transition.activate_instance(found, user, limits)
            try:
                step, _ = await self.executor.carry_out(found.ghost.ghost, event)
            except NotFound:
                found = self._find(user, waited=waited)
                continue
            if step.refused or not self._holds(step.ghost):
                found = self._find(user, waited=waited)
                continue
            self._at_the_door.pop(user, None)
            path = Path.BUILT if waited else found.path
            if path is not Path.ACTIVE and self.feed is None:  # a chosen policy has a correction of its own
                self.recall([path])
            return Served(step.ghost, path, self.clock.now_s() - started_s, found.why)
        raise Conflict("Every desktop that was ready was taken in the same moment.", "Press “Open desktop” again.")

    def _holds(self, ghost: Ghost) -> bool:
        """Whether it is still theirs: its host may have died while the home was attached."""
        return ghost.ghost in self.manager and self.manager.get(ghost.ghost).state is GhostState.ACTIVE

    def recall(self, paths: Iterable[str]) -> None:
        """Correct the service target by how people were served, in the order of time: after a restart, too."""
        for path in paths:
            missed = path == Path.BUILT
            self.service = self.service.observe(int(not missed), int(missed))

    async def prepare(self, user: UserId) -> Served | None:
        """The user is at the door: bind a ghost to them if one is at hand, and have the next tick warm it."""
        started_s = self.clock.now_s()
        self._at_the_door[user] = started_s + _AT_THE_DOOR_S
        found = self._find(user)
        if found.ghost is None or (found.path is not Path.ACTIVE and self.admission.ask(user).refusal is not None):
            return None
        if found.ghost.owner is None:
            if found.ghost.state is not GhostState.READY:
                return None
            step, _ = await self.executor.carry_out(found.ghost.ghost, self.transition.prepare_instance(found, user))
            if step.refused:
                return None
        elif found.ghost.state is GhostState.PARKED:
            # Its pages come back from swap while the person is still on the page; a claim may cut in at any time.
            why = f"{user} is at the door; {found.ghost.reason}"  # why it was prepared stays on it
            self.executor.spawn(self.executor.carry_out(found.ghost.ghost, WakeRequested(why)))
        ghost = self.manager.get(found.ghost.ghost)
        return Served(ghost, found.path, self.clock.now_s() - started_s, found.why)

    async def launch(self, user: UserId, app: AppId) -> Outcome:
        """The launch path: the target gets full resources, and its window is shown while it is still frozen.

        Raises:
            NotFound: the user has no desktop open.
            EngineError: the application cannot be shown.
        """
        ghost = self.manager.find_instance_for(user, app)
        if ghost is None or ghost.state is not GhostState.ACTIVE:
            raise NotFound("You have no desktop open.", "Open your desktop first, then start the application.")
        limits = self.admission.limits_in_use(ghost)
        if ghost.priority is not Priority.PERSON or material(limits, ghost.limits):
            why = f"{user} starts {app}: all that it may use"
            self.executor.spawn(self.executor.carry_out(ghost.ghost, ResizeRequested(limits, Priority.PERSON, why)))
        outcome = await self.agents.apply(ShowApp(ghost.ghost, app))
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def end_session(self, user: UserId, reason: str) -> None:
        """The user is done: their desktop is destroyed, never handed on; their home stays."""
        self._at_the_door.pop(user, None)
        ghost = self.manager.of_user(user)
        if ghost is not None:
            await self.executor.carry_out(ghost.ghost, ReleaseRequested(reason))

    def _excluded(self) -> frozenset[UserId]:
        """Users in the history who cannot sign in: no account, or a disabled one. Nothing is prepared for them."""
        eligible = self.eligible()
        if eligible is None:
            return frozenset()
        named = self.feed.answer.users if self.feed is not None else frozenset()
        return (named | self.curves.keys()) - eligible

    def _find(self, user: UserId, *, waited: bool = False) -> Match:
        ghost = self.manager.find_instance_for(user)
        return match(ghost if self.admission.may_take(user, ghost, waited=waited) else None, user)

    def _limits_of(self, user: UserId, found: Match) -> Resources:
        """What their desktop may use; one that is in use stays as it is, whatever became of a quota."""
        if found.path is Path.ACTIVE and found.ghost is not None:
            return found.ghost.limits
        return self.admission.admit(user).limits

    def _expected(self, now_s: float) -> frozenset[UserId]:
        self._at_the_door = {user: until_s for user, until_s in self._at_the_door.items() if until_s > now_s}
        return frozenset(self._at_the_door)

    async def run(self, tick_s: float, wake: asyncio.Event) -> None:
        """Tick for ever, every `tick_s` seconds and whenever `wake` is set; a tick that fails is logged."""
        while True:
            try:
                await self.tick()
            except GhostdeskError as error:
                log.warning("a tick failed: %s", error)
            except Exception:  # the loop outlives whatever a tick meets
                log.exception("a tick failed")
            wake.clear()
            try:
                async with asyncio.timeout(tick_s):
                    await wake.wait()
            except TimeoutError:
                continue

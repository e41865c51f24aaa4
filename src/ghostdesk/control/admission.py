"""Who gets a desktop now, with which limits; who does not, and why; and what is kept for booked classes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from ghostdesk.allocator.bookings import NOTHING_KEPT, Kept
from ghostdesk.allocator.capacity import UNRULED, CapacityRules, Counted
from ghostdesk.allocator.grants import Grant, Host, InUse, Refusal, grant, reserved_now
from ghostdesk.allocator.plan import PoolPolicy
from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.allocator.reasons import Infeasible
from ghostdesk.control.observe import HostObserver
from ghostdesk.ghosts.ghost import LIVE, Ghost
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import InsufficientCapacity, QuotaReached
from ghostdesk.kernel.ids import UserId
from ghostdesk.kernel.resources import Resources

TOLD_FOR_S = 900.0
"""A refusal is listed among the wishes that were not granted for so long."""
_MOST_REFUSALS = 200
LEAST_EACH_S = 2.0
"""However quick builds are: two are at a time, and plans start them."""


def no_rules() -> CapacityRules:
    """Nothing is counted: what a control plane without settings does."""
    return UNRULED


class Admission:
    """Decides at the door, from memory alone: nothing here waits.

    Args:
        rules: what holds at this moment; asked each time, as quotas, departments and bookings change.
        build_time_s: how long a build takes here, as measured: the more are booked, the earlier they are begun.
    """

    def __init__(
        self,
        manager: GhostDesktopManager,
        observer: HostObserver,
        allocator: ResourceAllocator,
        policy: PoolPolicy,
        clock: Clock,
        rules: Callable[[], CapacityRules] = no_rules,
        build_time_s: Callable[[], float] = lambda: LEAST_EACH_S,
    ) -> None:
        self._manager, self._observer, self._allocator = manager, observer, allocator
        self._policy, self._clock = policy, clock
        self._rules, self._build_time_s = rules, build_time_s
        self._counted = Counted({})
        self._count_anew()
        manager.watchers.append(self._changed)
        self._refusals: deque[tuple[float, UserId, Refusal]] = deque(maxlen=_MOST_REFUSALS)

    def rules(self) -> CapacityRules:
        """What holds now."""
        rules = self._rules()
        if not rules.bookings:
            return rules
        return replace(rules, lead=replace(rules.lead, each_s=max(self._build_time_s(), LEAST_EACH_S)))

    def ask(self, user: UserId) -> Grant:
        """What somebody without a desktop in use would get now."""
        full = self._allocator.maximize_resources(self._policy.active_limits, self._observer.capacity)
        return grant(user, full, self.rules(), self._host(), self._clock.now_s())

    def limits_in_use(self, ghost: Ghost) -> Resources:
        """What a desktop in use may use at most."""
        full = self._allocator.maximize_resources(self._policy.active_limits, self._observer.capacity)
        rules = self.rules()
        return InUse.of(self._host(), full, rules, self._clock.now_s()).limits_of(ghost) if rules.enforced else full

    def _host(self) -> Host:
        observer, memory_bytes = self._observer, self._policy.ghost_memory_bytes
        return Host(
            observer.our_share(),
            observer.capacity,
            self._manager,
            memory_bytes,
            observer.held_bytes,
            self._counted_now(),
        )

    def _counted_now(self) -> Counted:
        """All ghosts as they were counted when they changed: a sign-in does not look through everybody's."""
        departments = self._rules().departments
        if departments is not self._counted.departments:
            self._counted = Counted(departments)
            self._count_anew()
        return self._counted

    def _count_anew(self) -> None:
        for ghost in self._manager:
            self._counted.add(ghost)

    def _changed(self, before: Ghost | None, after: Ghost | None) -> None:
        if before is not None:
            self._counted.add(before, -1)
        if after is not None:
            self._counted.add(after)

    def admit(self, user: UserId) -> Grant:
        """The same for somebody who is here now; a refusal is remembered.

        Raises:
            QuotaReached: a quota leaves them none.
            InsufficientCapacity: desktops in use leave none.
        """
        given = self.ask(user)
        if given.refusal is None:
            return given
        self._refusals.append((self._clock.now_s(), user, given.refusal))
        error = QuotaReached if given.refusal.by_quota else InsufficientCapacity
        raise error(given.refusal.cause, given.refusal.mend)

    def kept_from(self, user: UserId) -> Kept:
        """What is kept for classes that `user` does not belong to."""
        rules = self.rules()
        if not rules.bookings:
            return NOTHING_KEPT
        reserved = reserved_now(self._manager, rules, self._clock.now_s())
        return reserved.kept_from(user, rules.department_of(user))

    def may_take(self, user: UserId, ghost: Ghost | None, *, waited: bool) -> bool:
        """Whether this ghost is for them. What is kept for a class is for others only after they have waited for one of
        their own, and while there is room to make another for the class."""
        if ghost is None or ghost.owner is not None:
            return True
        kept = self.kept_from(user).of_nobody
        if not kept or (waited and len(self._manager) < self._policy.ceiling):
            return True
        return sum(1 for g in self._manager.of_nobody() if g.state in LIVE and g.pending is None) > kept

    def forget(self, user: UserId) -> None:
        """Drop what is remembered of somebody who deleted their data."""
        self._refusals = deque((entry for entry in self._refusals if entry[1] != user), maxlen=_MOST_REFUSALS)

    def refused(self, now_s: float) -> list[Infeasible]:
        """Who was refused lately, once for each person and reason, latest first."""
        found: dict[tuple[str, str], Infeasible] = {}
        for time_s, _, refusal in reversed(self._refusals):
            entry = refusal.entry
            if now_s - time_s <= TOLD_FOR_S:
                found.setdefault((entry.wish, entry.reason.code), entry)
        return list(found.values())

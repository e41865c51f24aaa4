"""How a plan stands with the rules of capacity: which wishes quotas allow, what bookings add, how many ghosts fit.

Pure. People come before ghosts: what desktops in use are promised is taken off first, then what is kept for booked
classes, and ghosts get the rest, within their own quota. Desktops for a booked class are the operator's word, and no
ghosts' quota holds them back.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ghostdesk.allocator.bookings import (
    DESKTOPS,
    NONE_RESERVED,
    RESOURCE_WORDS,
    Booking,
    Reserved,
    Seat,
    booked_wish,
    desktops_text,
    reserved_at,
    shortfalls,
)
from ghostdesk.allocator.capacity import Headroom, Tally, booking_room, headroom, tally
from ghostdesk.allocator.demand import PersonalWish, PersonalWishes, PoolWish
from ghostdesk.allocator.grants import Host, InUse, seats_of
from ghostdesk.allocator.limits import full_limits
from ghostdesk.allocator.plan import PlanRequest
from ghostdesk.allocator.reasons import Infeasible, Reason
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import NOTHING, Resources
from ghostdesk.prefetch.plan import PrefetchWish

BOOKED = 0.99
"""Likelihood with which somebody named in a booking is counted: behind those at the door, before any forecast."""
SHOWN_AHEAD_S = 8 * 86_400.0
"""Bookings that will not fit are listed so long before they start."""


@dataclass
class Standing:
    """One plan's account with the rules."""

    request: PlanRequest
    counted: Tally = field(default_factory=Tally)
    reserved: Reserved = NONE_RESERVED
    infeasible: list[Infeasible] = field(default_factory=list)

    @classmethod
    def of(cls, request: PlanRequest) -> Standing:
        """Add up what is promised; nothing, where no rules are in force."""
        rules = request.rules
        if not rules.enforced:
            return cls(request)
        memory_bytes = request.policy.ghost_memory_bytes
        return cls(request, tally(request.ghosts, rules, memory_bytes, request.context.held_bytes))

    def booked_wishes(self) -> list[PersonalWish]:
        """A desktop of their own for everybody who is named in a booking that has opened and who is not there yet."""
        request, rules = self.request, self.request.rules
        if not rules.bookings:
            return []
        found: dict[UserId, PersonalWish] = {}
        for booking in rules.bookings:
            if not booking.users or not rules.lead.opens_s(booking) <= request.now_s < booking.end_s:
                continue
            why = f"is booked: {booking.name}"
            for user in sorted(booking.users - self.counted.users - request.excluded - found.keys()):
                found[user] = PersonalWish(user, BOOKED, _offered(booking, request), why)
        return list(found.values())

    def allow(self, wishes: PersonalWishes) -> PersonalWishes:
        """Those that quotas allow, the likeliest first; why not, for the others. What is prepared is for a person, so
        it counts against what that person may have."""
        return replace(wishes, granted=self._allowed(wishes.granted)) if self.request.rules.enforced else wishes

    def _allowed(self, wanted: Sequence[PersonalWish]) -> tuple[PersonalWish, ...]:
        rules = self.request.rules
        there = Counter(self.counted.in_department)
        allowed: list[PersonalWish] = []
        for wish in wanted:
            own = rules.quotas.of(wish.user).desktops
            department = rules.department_of(wish.user)
            quota = rules.quotas.of_department(department).desktops
            if wish.user in self.counted.users:
                allowed.append(wish)  # they have what they may have
            elif own is not None and own < 1:
                self._refuse(wish, "user-quota", f"the quota of {wish.user} is {desktops_text(own)}", own)
            elif quota is not None and there[department] >= quota:
                text = f"the quota of {department} is {desktops_text(quota)}, in use or prepared: {there[department]}"
                self._refuse(wish, "department-quota", text, max(0, quota - there[department]))
            else:
                there[department] += 1
                allowed.append(wish)
        return tuple(allowed)

    def _refuse(self, wish: PersonalWish, code: str, text: str, free: float) -> None:
        self.infeasible.append(
            Infeasible(f"a {wish.rung} desktop for {wish.user}", Reason(code, text), DESKTOPS, 1, free)
        )

    def reserve(self, wanted: Iterable[PersonalWish]) -> None:
        """Find what bookings ask for, beside the people for whom something is prepared."""
        request, rules = self.request, self.request.rules
        if rules.bookings:
            seats = seats_of(request.ghosts, rules)
            seats += [Seat(wish.user, rules.department_of(wish.user), request.now_s) for wish in wanted]
            self.reserved = reserved_at(rules.bookings_to_hold(), request.now_s, rules.lead, seats)

    def coming_for_classes(self) -> list[PersonalWish]:
        """People of booked classes whom the forecast expects as well: what is held for their class is for them, and the
        pool need not hold it again. As many as their class has desktops left, the likeliest first."""
        rules, curves, now_s = self.request.rules, self.request.curves, self.request.now_s
        ahead_s = self.request.policy.warm_lead_s
        found: list[PersonalWish] = []
        seen = set(self.reserved.seated)
        for hold in self.reserved.holds:
            members = [user for user in curves if hold.booking.includes(user, rules.department_of(user))]
            chances = {u: curves[u].arrival_within(now_s, ahead_s) for u in members}
            likeliest = sorted(chances.keys() - seen, key=lambda user: (-chances[user], user))[: hold.left]
            found += [PersonalWish(user, chances[user], (), f"comes for {hold.booking.name}") for user in likeliest]
            seen.update(likeliest)
        return found

    def pool(self, pool: PoolWish) -> PoolWish:
        """The pool's target with what bookings ask for, and no more ghosts than their quota."""
        request, rules = self.request, self.request.rules
        if not rules.enforced:
            return pool
        quota = rules.quotas.ghosts.desktops
        if quota is not None:
            personal = sum(1 for g in request.ghosts if g.owner is not None and _is_ghost(g.state))
            most = max(0, quota - personal)
            if pool.target > most:
                text = f"the quota of all ghosts is {quota}, {personal} are kept for single people"
                self._short(f"{pool.target - most} of {pool.target} ghosts for anybody", "ghost-quota", text,
                            DESKTOPS, pool.target, most)  # fmt: skip
                pool = replace(pool, target=most, why=f"{pool.why}; {text}", code="ghost-quota")
        extra = self.held_for_classes
        if not extra:
            return pool
        names = ", ".join(hold.booking.name for hold in self.reserved.holds if hold.left)
        return PoolWish(pool.target + extra, f"{pool.why}; {extra} more are booked: {names}", "booked")

    @property
    def held_for_classes(self) -> int:
        """Ghosts of nobody that bookings ask for; those who are named get one of their own, or had their answer."""
        return sum(max(0, h.left - len(h.booking.users - self.reserved.seated.keys())) for h in self.reserved.holds)

    def may_build(self, wished: int, booked: int) -> int:
        """How many of `wished` ghosts may be built under the rules, of which `booked` are for booked classes."""
        rules, request = self.request.rules, self.request
        if not rules.enforced or wished <= 0:
            return wished
        quota = rules.quotas.ghosts
        limits = [(math.inf, DESKTOPS, "", "")]
        if quota.desktops is not None:
            free = max(0, quota.desktops - self.counted.idle)
            limits.append((free + booked, DESKTOPS, "ghost-quota", f"the quota of all ghosts is {quota.desktops}"))
        each = Resources(request.policy.ghost_limits.cpu_cores, request.policy.ghost_memory_bytes)
        most = quota.amounts(request.context.capacity)
        for name, one, has, may in zip(
            RESOURCE_WORDS, each.as_tuple(), self.counted.ghosts.as_tuple(), most.as_tuple(), strict=True
        ):
            if may > 0 and one > 0:
                free = max(0, math.floor((may - has) / one + 1e-9))
                text = f"the quota of all ghosts leaves too little {RESOURCE_WORDS[name]}"
                limits.append((free + booked, name, "ghost-quota", text))
        for room, one in zip(self.headroom().rooms, each.as_tuple(), strict=True):
            if (left := room.unpromised) is not None and one > 0:
                text = f"{RESOURCE_WORDS[room.resource]} is promised to people and ghosts"
                limits.append((math.floor(left / one + 1e-9), room.resource, "promised", text))
        most_ghosts, resource, code, text = min(limits, key=lambda limit: limit[0])
        may = int(min(wished, most_ghosts))
        if may < wished:
            self._short(f"{wished - may} more ghosts", code, text, resource, wished, may)
        return may

    def booked_launches(self) -> tuple[PrefetchWish, ...]:
        """Files of applications that a class will start, where nobody knows who will sit where: for those who are named
        they are launched ahead instead."""
        budget_bytes = self.request.policy.ladder.cached_bytes
        return tuple(
            PrefetchWish(hold.booking.apps, None, BOOKED, budget_bytes, f"booked: {hold.booking.name}")
            for hold in self.reserved.holds
            if hold.left and hold.booking.apps and not hold.booking.users
        )

    def tell_booked(self, missing: int, why: str) -> None:
        """`missing` of the ghosts that are booked cannot be had now; the bookings that start last go short."""
        whole = {(b.number, b.name, b.start_s): b for b in self.request.rules.bookings}
        for hold in sorted(self.reserved.holds, key=lambda h: -h.booking.start_s):
            short = min(missing, hold.left)
            if short > 0:
                missing -= short
                booking = whole[hold.booking.number, hold.booking.name, hold.booking.start_s]
                free = hold.booking.desktops - short
                self._short(
                    booked_wish(booking), "booking-short", f"{short} short: {why}", DESKTOPS, booking.desktops, free
                )

    def _short(self, wish: str, code: str, text: str, resource: str, asked: float, free: float) -> None:
        self.infeasible.append(Infeasible(wish, Reason(code, text), resource, asked, free))

    def headroom(self) -> Headroom:
        """What is promised, used, kept and free."""
        request = self.request
        used = {"memory_bytes": request.context.used.memory_bytes}
        if (conditions := request.context.conditions) is not None:
            used["cpu_cores"] = conditions.cpu_share * request.context.capacity.cpu_cores
            used["network_bytes_per_s"] = max(conditions.network_in_bytes_per_s, conditions.network_out_bytes_per_s)
        rules = request.rules
        # Ghosts that are ready are what the classes will have: only what is missing is kept beside them.
        ready = sum(1 for g in request.ghosts if g.owner is None and _is_ghost(g.state))
        kept = max(0, self.held_for_classes - ready)
        return headroom(self.counted, rules, request.context.capacity, request.policy.ceiling, used, kept,
                        Resources(memory_bytes=request.policy.ghost_memory_bytes))  # fmt: skip

    def full_limits_of(self, full: Resources) -> Callable[[Ghost], Resources]:
        """What each desktop may use when its person is there: `full`, within quotas."""
        request, rules = self.request, self.request.rules
        if not rules.enforced or (rules.quotas.alike and self.reserved is NONE_RESERVED):
            return lambda _ghost: full
        context = request.context
        memory_bytes = request.policy.ghost_memory_bytes
        host = Host(context.capacity, context.capacity, request.ghosts, memory_bytes, context.held_bytes)
        return InUse(full, rules, host, lambda: self.counted, self.reserved).limits_of

    def not_granted(self) -> list[Infeasible]:
        """What quotas and rules held back; bookings that will not fit; desktops in use that have less than all."""
        request, rules = self.request, self.request.rules
        if not rules.enforced:
            return []
        soon = [b for b in rules.bookings if b.start_s < request.now_s + SHOWN_AHEAD_S]
        room = booking_room(rules, request.context.capacity, request.policy.ceiling)
        found = list(shortfalls(soon, room, request.now_s)) if soon else []
        known = {entry.wish for entry in found}
        self.infeasible = [e for e in self.infeasible if e.reason.code != "booking-short" or e.wish not in known]
        found += self._more_people_than_promised()
        return self.infeasible + found + self._cut_limits()

    def _more_people_than_promised(self) -> list[Infeasible]:
        request, rules = self.request, self.request.rules
        allowed = rules.allowed(request.context.capacity, self.counted.freed_bytes)
        found = []
        for name, asked, may in zip(RESOURCE_WORDS, self.counted.people.as_tuple(), allowed.as_tuple(), strict=True):
            if asked > may + 1e-6:
                text = f"{desktops_text(self.counted.desktops)} in use share what may be promised, by weight"
                wish = f"the usual {RESOURCE_WORDS[name]} for every desktop in use"
                found.append(Infeasible(wish, Reason("promised", text), name, asked, may))
        return found

    def _cut_limits(self) -> list[Infeasible]:
        request, rules = self.request, self.request.rules
        if rules.quotas.person.most == NOTHING and not rules.quotas.people and not rules.quotas.departments:
            return []
        whole = request.context.capacity
        asked = full_limits(request.policy.active_limits, whole)
        found: list[Infeasible] = []
        for ghost in request.ghosts:
            if ghost.state is not GhostState.ACTIVE or ghost.owner is None or ghost.limits == NOTHING:
                continue
            department = rules.department_of(ghost.owner)
            own, theirs = rules.quotas.of(ghost.owner).most, rules.quotas.of_department(department).most
            if own is NOTHING and theirs is NOTHING:
                continue
            for row, name in enumerate(RESOURCE_WORDS):
                limit, wanted = ghost.limits.as_tuple()[row], asked.as_tuple()[row]
                mine, ours = own.as_tuple()[row], theirs.as_tuple()[row]
                if not limit or not (mine or ours) or (wanted and limit >= wanted - 1e-6):
                    continue
                if not wanted and not mine and limit >= rules.desktop.as_tuple()[row]:
                    continue  # the standard, as for everybody of a department with a quota
                by_person = bool(mine) and limit >= mine - 1e-6
                code, whose = ("user-quota", ghost.owner) if by_person else ("department-quota", department)
                text = f"the {RESOURCE_WORDS[name]} quota of {whose}"
                wish = f"full {RESOURCE_WORDS[name]} for {ghost.owner}"
                found.append(Infeasible(wish, Reason(code, text), name, wanted or whole.as_tuple()[row], limit))
        return found


def _offered(booking: Booking, request: PlanRequest) -> tuple[AppId, ...]:
    offered = set(request.policy.template.apps)
    return tuple(app for app in booking.apps if not offered or app in offered)[: request.policy.warm_apps]


def _is_ghost(state: GhostState) -> bool:
    return state not in (GhostState.ACTIVE, GhostState.DRAINING, GhostState.CACHED)

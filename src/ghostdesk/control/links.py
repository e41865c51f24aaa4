"""The lines to people's browsers as the gateway measured them, for a while: what they are like, not what is on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ghostdesk.allocator.links import DEFAULT_LINK_RULES, LinkRules, LinkVerdict, judge
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.ids import GhostId, UserId

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class SeenLink:
    """The latest measurement of one person's line to one ghost."""

    user: UserId
    ghost: GhostId
    link: ClientLink
    verdict: LinkVerdict


class LinkBook:
    """One line a person: the one that was measured last, in whichever browser."""

    def __init__(self, clock: Clock, rules: LinkRules = DEFAULT_LINK_RULES) -> None:
        self._clock = clock
        self.rules = rules
        self._seen: dict[UserId, SeenLink] = {}

    def measured(self, user: UserId, ghost: GhostId, link: ClientLink) -> None:
        """The gateway measured this person's line."""
        before = self._seen.pop(user, None)
        now = replace(link, time_s=self._clock.now_s())
        if now.bytes_per_s is None and before is not None and self._fresh(before):
            now = replace(now, bytes_per_s=before.link.bytes_per_s)  # a new stream has carried too little to tell
        self._seen[user] = SeenLink(user, ghost, now, judge(now, self.rules))
        while len(self._seen) > _MOST:
            self._seen.pop(next(iter(self._seen)))

    def of(self, user: UserId) -> SeenLink | None:
        """This person's line; None when it was not measured of late."""
        found = self._seen.get(user)
        return found if found is not None and self._fresh(found) else None

    def all(self) -> tuple[SeenLink, ...]:
        """Every line that was measured of late, by user."""
        stale = [user for user, seen in self._seen.items() if not self._fresh(seen)]
        for user in stale:
            del self._seen[user]
        return tuple(sorted(self._seen.values(), key=lambda seen: seen.user))

    def by_user(self) -> Mapping[UserId, ClientLink]:
        """The same, for the plan."""
        return {seen.user: seen.link for seen in self.all()}

    def forget(self, user: UserId) -> None:
        """Drop what is known of somebody's line."""
        self._seen.pop(user, None)

    def _fresh(self, seen: SeenLink) -> bool:
        return abs(self._clock.now_s() - seen.link.time_s) <= self.rules.remember_s

"""Counts of applications with a share left for what was never seen: the ground that the counting experts stand on."""

from __future__ import annotations

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.next_app.expert import Shares

MOST_APPS = 512
"""More different applications than a person uses: beyond it the rarest half is forgotten."""


class Tally:
    """How often each application came, in one place.

    What is left for the unseen is escape method C (Moffat 1990): with `d` different applications in `n` events it is
    d / (n + d), as a new one came d times so far.

    Args:
        limit: how many applications are kept at most; some 100 bytes each.
    """

    __slots__ = ("counts", "limit", "total")

    def __init__(self, limit: int = MOST_APPS) -> None:
        self.counts: dict[AppId, int] = {}
        self.total = 0
        self.limit = limit

    def add(self, app: AppId) -> None:
        """`app` came once more."""
        self.counts[app] = self.counts.get(app, 0) + 1
        self.total += 1
        if len(self.counts) > self.limit:
            self._forget_rarest(app)

    def escape(self) -> float:
        """Share that is left for applications not counted here; 1 when there are none."""
        distinct = len(self.counts)
        return distinct / (self.total + distinct) if distinct else 1.0

    def shares(self) -> Shares:
        """Each application's share; with `escape` they sum to 1."""
        whole = self.total + len(self.counts)
        return {app: count / whole for app, count in self.counts.items()}

    def _forget_rarest(self, newest: AppId) -> None:
        ranked = sorted(self.counts, key=lambda app: (app == newest, self.counts[app]), reverse=True)
        for app in ranked[max(1, self.limit // 2) :]:
            self.total -= self.counts.pop(app)

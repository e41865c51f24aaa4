"""Between the control loop and a policy: who came and left goes in, what to hold comes out.

A policy knows rows by number. Here each person is a row of their own, numbered in the order in which they first came;
where nobody's name is known (a state log of shared desktops), rows are desktops and ghosts are for anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

import numpy as np

from ghostdesk.allocator.lead_time import LeadTime
from ghostdesk.allocator.plan import PolicyAnswer
from ghostdesk.allocator.policies.seam import Decision, Floats, Ints, Moment, Observed, Policy
from ghostdesk.ghosts.commands import Outcome
from ghostdesk.ghosts.events import Failed, GhostEvent, Lost, ReleaseRequested
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.ghosts.lifecycle import Step
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.ids import UserId

DECIDE_EVERY_S = 60.0
_FIRST_ROWS = 64
_QUARTER_S = 900.0
_READY = GhostState.READY
_NOBODY = PolicyAnswer(0, frozenset(), "none", "the policy has not been asked yet")


class PolicyFeed:
    """Keeps one policy informed, and its last answer.

    Args:
        policy: has seen nothing yet.
        clock: when people leave.
        zone: by whose clock people live.
        every_s: the policy is asked again after so long; its answer holds until then.
        shared: ghosts are never kept for single rows: as many are held as rows would be warm.
        row_name: the name under which a user's row is known; by default every user is a row.
    """

    def __init__(
        self,
        policy: Policy,
        clock: Clock,
        *,
        zone: tzinfo,
        every_s: float = DECIDE_EVERY_S,
        shared: bool = False,
        row_name: Callable[[UserId], str] = str,
    ) -> None:
        self.policy = policy
        self._clock = clock
        self.answer = _NOBODY
        self._zone, self._every_s, self._shared, self._row_name = zone, every_s, shared, row_name
        self._rows: dict[str, int] = {}
        self._names: list[str] = []
        self._ended_s: Floats = np.full(_FIRST_ROWS, -np.inf)
        """When the use of each row ended: -infinity where none is known, NaN in use."""
        self._in_use: dict[UserId, int] = {}
        self._started: list[tuple[int, float]] = []
        self._ended: list[tuple[int, float]] = []
        self._misses = 0
        self._seen_s: float | None = None
        self._next_s = float("-inf")
        self._offset_at, self._offset = float("nan"), 0.0

    def row(self, name: str) -> int:
        """The number of a row; a new name gets the next."""
        number = self._rows.get(name)
        if number is None:
            number = self._rows[name] = len(self._names)
            self._names.append(name)
            if number >= len(self._ended_s):
                self._ended_s = np.concatenate([self._ended_s, np.full(len(self._ended_s), -np.inf)])
            self.policy.grow(number + 1)
        return number

    def started(self, user: UserId, now_s: float, *, missed: bool) -> None:
        """Somebody came; `missed` when nothing was ready for them."""
        if user in self._in_use:
            return
        row = self._in_use[user] = self.row(self._row_name(user))
        self._started.append((row, now_s))
        self._ended_s[row] = np.nan
        self._misses += missed

    def ended(self, user: UserId, now_s: float) -> None:
        """Somebody left, or never got in."""
        row = self._in_use.pop(user, None)
        if row is not None:
            self._ended.append((row, now_s))
            self._ended_s[row] = now_s

    def on_change(self, step: Step, event: GhostEvent, _outcomes: Sequence[Outcome]) -> None:
        """Somebody's desktop is gone: released, lost, or failed."""
        ghost = step.ghost
        if ghost.state is GhostState.DRAINING and ghost.owner is not None:  # noqa: SIM102
            if isinstance(event, ReleaseRequested | Lost | Failed):
                self.ended(ghost.owner, self._clock.now_s())

    def due(self, now_s: float) -> bool:
        """Whether the policy is to be asked again; also when the clock was set back."""
        return now_s >= self._next_s or (self._seen_s is not None and now_s < self._seen_s)

    def renew(self, now_s: float, ghosts: Sequence[Ghost], lead: LeadTime, active: int) -> bool:
        """Tell the policy what happened since, and ask it; whether its answer is another than before.

        Args:
            now_s: UTC seconds.
            ghosts: those that belong to nobody, whatever their state.
            lead: how long a new ghost takes.
            active: desktops in use.
        """
        self._tell(now_s)
        self._next_s = now_s + self._every_s
        ready = coming = 0
        for ghost in ghosts:
            if ghost.coming:
                coming += 1
            else:
                ready += ghost.state is _READY and ghost.pending is None
        idle_s = now_s - self._ended_s[: len(self._names)]
        moment = Moment(
            now_s, self._offset_s(now_s), self._next_s, lead.mean_s, lead.spread, ready, coming, active, idle_s
        )
        decision, before = self.policy.decide(moment), self.answer
        same = decision.warm is None and not before.users
        if not same or (decision.target, decision.why) != (before.target, before.why):
            self.answer = self._answer(decision)
        return (before.target, before.users) != (self.answer.target, self.answer.users)

    def learn(self, past: Sequence[Observed], lead: LeadTime) -> None:
        """Pass on what is known of the past, in the order of time; rows are as `row` gave them.

        The policy is asked after every moment, as it expects to be; what it answers is dropped.
        """
        for observed in past:
            if self._seen_s is None:
                self.policy.decide(self._past_moment(observed.from_s, observed.to_s, lead))
            self.policy.observe(observed)
            self._note(observed)
            self._seen_s = observed.to_s
            until_s = 2 * observed.to_s - observed.from_s
            self.policy.decide(self._past_moment(observed.to_s, until_s, lead))

    def _note(self, observed: Observed) -> None:
        """What happened last to a row is how it stands."""
        order = np.argsort(np.concatenate((observed.ended_s, observed.started_s)), kind="stable")
        stands = np.concatenate((observed.ended_s, np.full(len(observed.started), np.nan)))
        self._ended_s[np.concatenate((observed.ended, observed.started))[order]] = stands[order]

    def _past_moment(self, now_s: float, until_s: float, lead: LeadTime) -> Moment:
        ended_s = self._ended_s[: len(self._names)]
        active = int(np.isnan(ended_s).sum())
        return Moment(now_s, self._offset_s(now_s), until_s, lead.mean_s, lead.spread, 0, 0, active, now_s - ended_s)

    def resumed(self, user: UserId) -> None:
        """The person's use, which was learnt of, goes on."""
        row = self._in_use[user] = self.row(self._row_name(user))
        self._ended_s[row] = np.nan

    def others_left(self, now_s: float) -> None:
        """Whoever was in use by what was learnt, and was not resumed, is not there any more."""
        gone = np.isnan(self._ended_s)
        gone[list(self._in_use.values())] = False
        self._ended_s[gone] = now_s

    def _tell(self, now_s: float) -> None:
        seen_s = now_s if self._seen_s is None else min(self._seen_s, now_s)
        self._seen_s = now_s
        if not self._started and not self._ended:
            if now_s == seen_s:
                return
            self.policy.observe(Observed(seen_s, now_s))
            return
        started, started_s = _by_time(self._started)
        ended, ended_s = _by_time(self._ended)
        self.policy.observe(Observed(seen_s, now_s, started, started_s, ended, ended_s, self._misses))
        self._started, self._ended, self._misses = [], [], 0

    def _offset_s(self, now_s: float) -> float:
        """Local time minus UTC; clocks change on whole quarters of an hour."""
        quarter = now_s // _QUARTER_S
        if quarter != self._offset_at:
            offset = datetime.fromtimestamp(now_s, self._zone).utcoffset()
            self._offset_at, self._offset = quarter, offset.total_seconds() if offset is not None else 0.0
        return self._offset

    def _answer(self, decision: Decision) -> PolicyAnswer:
        if decision.warm is None:
            return PolicyAnswer(decision.target, frozenset(), decision.code, decision.why)
        if self._shared:
            return PolicyAnswer(decision.target + int(decision.warm.sum()), frozenset(), decision.code, decision.why)
        users = frozenset(UserId(self._names[row]) for row in np.flatnonzero(decision.warm).tolist())
        return PolicyAnswer(decision.target, users - self._in_use.keys(), decision.code, decision.why)


def _by_time(told: list[tuple[int, float]]) -> tuple[Ints, Floats]:
    told.sort(key=lambda one: one[1])
    rows, times_s = [row for row, _ in told], [time_s for _, time_s in told]
    return np.array(rows, dtype=np.int64), np.array(times_s, dtype=np.float64)

"""What a policy learns from a history before it is asked for the first time: in a replay, and when a service starts."""

from __future__ import annotations

import numpy as np

from ghostdesk.allocator.lead_time import LeadTime
from ghostdesk.allocator.policies.seam import Observed
from ghostdesk.control.policy_feed import DECIDE_EVERY_S, PolicyFeed
from ghostdesk.profiles.arrivals.seam import Floats, Ints
from ghostdesk.replay.history import Sessions

_STEP_S = 600.0
_FINE_S = 2 * 86_400.0
_MOST_S = 52 * 604_800.0


def teach(feed: PolicyFeed, sessions: Sessions, until_s: float, lead: LeadTime) -> None:
    """Tell a policy of all sessions up to `until_s`, without a loop."""
    first = int(np.searchsorted(sessions.start_s, until_s))
    if first:
        number = np.array([feed.row(name) for name in sessions.names], dtype=np.int64)
        feed.learn(moments(sessions, number, first, until_s), lead)


def moments(sessions: Sessions, number: Ints, first: int, until_s: float) -> list[Observed]:
    """What happened in the year before `until_s`, for a policy to learn from: cut into steps of ten minutes, and into
    minutes in the last two days, as policies look at the last minutes most closely.

    Args:
        number: the policy's number of each row, shape (rows,).
        first: how many sessions started before `until_s`.
    """
    row, start_s, end_s = sessions.row[:first], sessions.start_s[:first], sessions.end_s[:first]
    over = np.flatnonzero(end_s <= until_s)
    over = over[np.argsort(end_s[over], kind="stable")]
    if not first:
        return []
    fine_s = until_s - _FINE_S
    from_s = max(float(start_s[0]), until_s - _MOST_S) // _STEP_S * _STEP_S
    coarse, fine = np.arange(from_s, fine_s, _STEP_S), np.arange(max(from_s, fine_s), until_s, DECIDE_EVERY_S)
    edges: Floats = np.concatenate((coarse, fine, [until_s]))
    starts, ends = np.searchsorted(start_s, edges), np.searchsorted(end_s[over], edges)
    steps = []
    for step in range(len(edges) - 1):
        a, b = slice(starts[step], starts[step + 1]), over[ends[step] : ends[step + 1]]
        steps.append(
            Observed(float(edges[step]), float(edges[step + 1]), number[row[a]], start_s[a], number[row[b]], end_s[b])
        )
    return steps

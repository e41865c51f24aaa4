"""Why: reasons with stable codes, and what a plan wanted and could not have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

MOST_LISTED = 50
"""As many wishes that were not granted are listed one by one; of a large fleet the rest are grouped."""
_TOLD_APART = 3
"""As many of a group are told by name before they are counted."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a stable `code` for scripts and counters, a `text` for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Infeasible:
    """What the plan wanted and could not have.

    Args:
        wish: what was wanted, for people.
        reason: why it cannot be had.
        resource: which resource is short: a field of `Resources`, or "desktops"; empty where it is none.
        asked, free: how much of it was wanted, and how much there was; 0 without a resource.
        count: how many wishes this entry stands for.
    """

    wish: str
    reason: Reason
    resource: str = ""
    asked: float = 0.0
    free: float = 0.0
    count: int = 1


def grouped(entries: Sequence[Infeasible], most: int = MOST_LISTED) -> tuple[Infeasible, ...]:
    """The same, `most` at most: as they are where they are few; else one entry for each code and resource.

    A group's `asked` and `count` are sums over all that it stands for, its `free` is the most that one of them had. The
    order is that of the first of each group. Codes are few, so that groups beyond `most` are joined into a last one.
    """
    if len(entries) <= most:
        return tuple(entries)
    groups: dict[tuple[str, str], list[Infeasible]] = defaultdict(list)
    for entry in entries:
        groups[entry.reason.code, entry.resource].append(entry)
    found = [_joined(group) for group in groups.values()]
    if len(found) <= most:
        return tuple(found)
    rest = _joined(found[most - 1 :])
    return (*found[: most - 1], replace(rest, reason=Reason("several", "for several reasons"), resource=""))


def _joined(group: Sequence[Infeasible]) -> Infeasible:
    if len(group) == 1:
        return group[0]
    named = ", ".join(entry.wish for entry in group[:_TOLD_APART])
    more = len(group) - _TOLD_APART
    first = group[0]
    return Infeasible(
        f"{named} and {more} more" if more > 0 else named,
        first.reason,
        first.resource,
        sum(entry.asked for entry in group),
        max(entry.free for entry in group),
        sum(entry.count for entry in group),
    )

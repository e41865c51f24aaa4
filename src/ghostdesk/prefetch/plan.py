"""What to have in the page cache before it is asked for, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ghostdesk.kernel.ids import AppId, UserId


@dataclass(frozen=True, slots=True)
class PrefetchWish:
    """Files to load into the page cache ahead of a likely launch.

    Args:
        apps: whose launch sets to load, likeliest first.
        user: for whom; None when for anybody.
        probability: of a launch while the files would stay there.
        budget_bytes: most bytes to load for it.
        reason: why, for people.
    """

    apps: tuple[AppId, ...]
    user: UserId | None
    probability: float
    budget_bytes: float
    reason: str

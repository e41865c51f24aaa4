"""Quotas: how much one person, one department, and all ghosts together may have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ghostdesk.kernel.ids import UserId
from ghostdesk.kernel.resources import NOTHING, Resources


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that somebody may have.

    Args:
        desktops: None for as many as there are.
        most: of each resource, over all their desktops; a zero amount means no quota.
    """

    desktops: int | None = None
    most: Resources = NOTHING

    def __post_init__(self) -> None:
        if self.most == NOTHING:
            object.__setattr__(self, "most", NOTHING)  # so that "none" is told by identity, for thousands of desktops


NO_QUOTA = Quota()


@dataclass(frozen=True, slots=True)
class GhostQuota:
    """The most that all ghosts of people who have not come may hold together.

    Args:
        desktops: None for as many as the ceiling leaves.
        most: of each resource; a zero amount means no quota.
        share: the same as a share of what the host has.
    """

    desktops: int | None = None
    most: Resources = NOTHING
    share: Resources = NOTHING

    def amounts(self, capacity: Resources) -> Resources:
        """The lower of amount and share of each resource; zero where there is no quota."""
        shares = (share * has for share, has in zip(self.share.as_tuple(), capacity.as_tuple(), strict=True))
        return Resources(*(min(a, b) if a and b else a or b for a, b in zip(self.most.as_tuple(), shares, strict=True)))


@dataclass(frozen=True, slots=True)
class Quotas:
    """Everybody's.

    Args:
        person: of each person without one of their own.
        people: of single people.
        departments: of all people of a department together.
        ghosts: of all ghosts together.
    """

    person: Quota = NO_QUOTA
    people: Mapping[UserId, Quota] = field(default_factory=dict)
    departments: Mapping[str, Quota] = field(default_factory=dict)
    ghosts: GhostQuota = GhostQuota()

    @property
    def alike(self) -> bool:
        """Whether the limits of everybody's desktop are the same."""
        return self.person.most is NOTHING and not self.people and not self.departments

    def of(self, user: UserId) -> Quota:
        """One person's."""
        return self.people.get(user, self.person)

    def of_department(self, department: str) -> Quota:
        """One department's; none for people of no department."""
        return self.departments.get(department, NO_QUOTA) if department else NO_QUOTA

"""What must hold whatever goes wrong: nothing leaked, no two owners, nobody with two desktops, no host overfull. Pure.

The cluster's instances as they really are are held against the ghosts that the control loop knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ghostdesk.engines.simulated_cluster import Instance
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import GhostId, UserId

LEAKED, TWO_OWNERS, TWO_DESKTOPS, HOME_TWICE, OVERFULL, FROZEN = (
    "leaked", "two-owners", "two-desktops", "home-twice", "overfull", "frozen-in-use",
)  # fmt: skip
CODES = (LEAKED, TWO_OWNERS, TWO_DESKTOPS, HOME_TWICE, OVERFULL, FROZEN)


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be.

    Args:
        code: one of `CODES`.
        about: the ghost, user or host.
        text: what is wrong, for people.
    """

    code: str
    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what heals by itself may last before it counts.

    Args:
        unknown_s: an instance that nobody knows: a build that came after it was given up, until it is found.
        twice_s: a desktop or a home that one person has twice, until one of the two is being removed.
        frozen_s: a frozen desktop in use.
    """

    unknown_s: float
    twice_s: float
    frozen_s: float


class InvariantWatch:
    """Checks moment after moment; it remembers who owned what, and since when something is odd.

    Args:
        desktops_a_host: room of each host.
        patience: what is forgiven for how long.
    """

    def __init__(self, desktops_a_host: int, patience: Patience) -> None:
        self._desktops_a_host, self._patience = desktops_a_host, patience
        self._owners: dict[GhostId, UserId] = {}
        self._since_s: dict[tuple[str, str], float] = {}
        self.lingering = 0
        """Homes that are still in a desktop that is being removed, while their user has another: at present."""

    def check(self, now_s: float, ghosts: Iterable[Ghost], instances: Sequence[Instance]) -> list[Violation]:
        """What is wrong at this moment.

        Args:
            now_s: UTC seconds.
            ghosts: all that the control loop knows.
            instances: all that there is.
        """
        known = {ghost.ghost: ghost for ghost in ghosts}
        odd: dict[tuple[str, str], str] = {}
        found = [*self._second_owners(known, instances), *self._overfull(instances)]
        self._unknown(known, instances, odd)
        self._twice(known, instances, odd)
        limits = {
            LEAKED: self._patience.unknown_s,
            TWO_DESKTOPS: self._patience.twice_s,
            HOME_TWICE: self._patience.twice_s,
            FROZEN: self._patience.frozen_s,
        }
        self._since_s = {key: self._since_s.get(key, now_s) for key in odd}
        for key, since_s in self._since_s.items():
            if now_s - since_s >= limits[key[0]]:
                found.append(Violation(*key, f"{odd[key]} (for {now_s - since_s:.0f} s)"))
        return found

    def _second_owners(self, known: dict[GhostId, Ghost], instances: Sequence[Instance]) -> list[Violation]:
        found = []
        there: dict[GhostId, UserId] = {}
        for one in instances:
            if one.owner is None:
                continue
            before = self._owners.get(one.ghost, one.owner)
            ghost = known.get(one.ghost)
            told = ghost.owner if ghost is not None else None
            there[one.ghost] = before
            if before != one.owner:
                found.append(Violation(TWO_OWNERS, one.ghost, f"{one.ghost} was {before}'s and is {one.owner}'s"))
            elif told not in (None, one.owner):
                found.append(Violation(TWO_OWNERS, one.ghost, f"{one.ghost} holds {one.owner}'s home and is {told}'s"))
        self._owners = there
        return found

    def _overfull(self, instances: Sequence[Instance]) -> list[Violation]:
        on_host = Counter([one.host for one in instances])
        return [
            Violation(OVERFULL, f"host {host}", f"host {host} holds {count} of {self._desktops_a_host} desktops")
            for host, count in on_host.items()
            if count > self._desktops_a_host
        ]

    def _unknown(
        self, known: dict[GhostId, Ghost], instances: Sequence[Instance], odd: dict[tuple[str, str], str]
    ) -> None:
        for one in instances:
            ghost = known.get(one.ghost)
            if ghost is None:
                if one.reachable:
                    odd[LEAKED, one.ghost] = f"nobody knows desktop {one.ghost}"
            elif one.frozen and ghost.state is GhostState.ACTIVE and one.alive and one.reachable:
                odd[FROZEN, one.ghost] = f"{ghost.owner}'s desktop {one.ghost} is in use and frozen"

    def _twice(
        self, known: dict[GhostId, Ghost], instances: Sequence[Instance], odd: dict[tuple[str, str], str]
    ) -> None:
        kept = [g for g in known.values() if g.owner is not None and g.state is not GhostState.DRAINING]
        for user, count in Counter([ghost.owner for ghost in kept]).items():
            if count > 1:
                odd[TWO_DESKTOPS, str(user)] = f"{user} has {count} desktops"
        keeping = {ghost.ghost for ghost in kept}
        homes = Counter([one.owner for one in instances if one.owner is not None and one.ghost in keeping])
        for home, count in homes.items():
            if count > 1:
                odd[HOME_TWICE, str(home)] = f"the home of {home} is in {count} desktops"
        self.lingering = sum(
            1
            for one in instances
            if one.owner is not None and one.alive and one.ghost not in keeping and homes.get(one.owner)
        )

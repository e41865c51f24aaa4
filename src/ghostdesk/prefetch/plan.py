"""What to have in the page cache before it is asked for, as values. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import MIB
from ghostdesk.prefetch.launch_set import LaunchSet

RESIDENT_ENOUGH = 0.98
"""Of a set, from which loading the rest is not worth a process."""
ASSUMED_BYTES_PER_S = 100e6
"""How quickly launches read from a cold disk, until one from the disk and one from memory were recorded."""
MORE_THAN_ESTIMATED = 1.1
"""What is missing is estimated from some of the files."""


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


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """How much loading may take of the host.

    Args:
        bytes_per_s: most to read in a second; 0 as fast as the disk gives it to the lowest priority.
        reserve_bytes: memory to be left free of it (see `prefetch.room`).
        most_pressure: share of time in which tasks wait for memory, from which loading stops.
    """

    bytes_per_s: float = 0.0
    reserve_bytes: float = 0.0
    most_pressure: float = 0.1


@dataclass(frozen=True, slots=True)
class AppChance:
    """How likely an application is to be started soon, by anybody.

    Args:
        app: which.
        probability: that at least one of them starts it.
        user: who is likeliest; None where it is nobody in particular.
        people: how many may.
        why: of the likeliest one, for people.
    """

    app: AppId
    probability: float
    user: UserId | None
    people: int
    why: str


def chances_of(wishes: Sequence[PrefetchWish]) -> tuple[AppChance, ...]:
    """The applications that the plan's wishes name, likeliest first; each person is taken to decide on their own."""
    none_starts: dict[AppId, float] = {}
    likeliest: dict[AppId, PrefetchWish] = {}
    people: Counter[AppId] = Counter()
    for wish in wishes:
        for app in dict.fromkeys(wish.apps):
            none_starts[app] = none_starts.get(app, 1.0) * (1.0 - min(max(wish.probability, 0.0), 1.0))
            people[app] += 1
            if app not in likeliest or wish.probability > likeliest[app].probability:
                likeliest[app] = wish
    found = [
        AppChance(app, 1.0 - none, likeliest[app].user, people[app], likeliest[app].reason)
        for app, none in none_starts.items()
    ]
    return tuple(sorted(found, key=lambda chance: (-chance.probability, chance.app)))


def plan_prefetch(
    chances: Sequence[AppChance],
    sets: Mapping[AppId, LaunchSet],
    resident: Mapping[AppId, float],
    budget_bytes: float,
    limits: LoadLimits,
    within_s: float,
) -> tuple[PrefetchWish, ...]:
    """What to load, in order: most probability x seconds saved for a byte first, within memory and bandwidth.

    Args:
        chances: how likely each application is.
        sets: what is known of each application's launches; one without a set is left out.
        resident: share of each set that is in memory now, 0 to 1.
        budget_bytes: most new page cache.
        limits: `bytes_per_s` bounds what can be read within `within_s`.
        within_s: how far ahead the launches are.

    Returns:
        One wish an application. One of which the budget holds less than half of what is missing gets nothing: the time
        of a launch is that of its last read.
    """
    ranked = []
    for chance in chances:
        found = sets.get(chance.app)
        share = min(max(resident.get(chance.app, 0.0), 0.0), 1.0)
        if found is None or share > RESIDENT_ENOUGH or chance.probability <= 0.0:
            continue
        missing_bytes = found.bytes_total * (1.0 - share)
        whole_s = found.seconds_saved
        saved_s = missing_bytes / ASSUMED_BYTES_PER_S if whole_s is None else whole_s * (1.0 - share)
        if missing_bytes > 0 and saved_s > 0:
            ranked.append((chance.probability * saved_s / missing_bytes, chance, missing_bytes, saved_s))
    ranked.sort(key=lambda row: (-row[0], row[1].app))
    left_bytes = max(0.0, budget_bytes)
    if limits.bytes_per_s > 0:
        left_bytes = min(left_bytes, limits.bytes_per_s * max(0.0, within_s))
    wishes = []
    for _, chance, missing_bytes, saved_s in ranked:
        if left_bytes < missing_bytes / 2:
            continue
        granted = min(missing_bytes, left_bytes)
        left_bytes -= granted
        more = f" and {chance.people - 1} more" if chance.people > 1 else ""
        reason = (
            f"{chance.app} is {chance.probability:.0%} likely ({chance.why}{more}): "
            f"{granted / MIB:.0f} MiB are missing, some {saved_s:.1f} s of its start"
        )
        room_bytes = granted * MORE_THAN_ESTIMATED if granted == missing_bytes else granted
        wishes.append(PrefetchWish((chance.app,), chance.user, chance.probability, room_bytes, reason))
    return tuple(wishes)

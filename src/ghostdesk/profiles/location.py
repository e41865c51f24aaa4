"""Places that a person named: which one they are at, and which is likely when. Coarse by construction.

A position is a cell of 0.02 degrees (some 2.2 km from north to south); nothing finer enters this module's values, so
nothing finer can be kept or learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.habits import HabitTable, times_of
from ghostdesk.profiles.situation import Situation

CELL_DEGREES = 0.02
MATCH_WITHIN_M = 2500.0
"""A place matches its own cell and those beside it: a person who sits on the edge of a cell is in either."""
_EARTH_RADIUS_M = 6_371_000.0
KINDS = ("office", "home", "travel", "other")
ELSEWHERE = "travel"
"""What a position is called that is near no named place."""
_MOST_NAME = 40

Cell = tuple[int, int]
"""Latitude and longitude in whole cells of `CELL_DEGREES`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place that a person named.

    Args:
        name: what they call it.
        kind: one of `KINDS`.
        cell: where it is; None for a place that is only picked by hand.
    """

    name: str
    kind: str
    cell: Cell | None = None

    def __post_init__(self) -> None:
        checked_name(self.name)
        if self.kind not in KINDS:
            raise ConfigError(f"{self.kind!r} is no kind of place.", f"Use one of: {', '.join(KINDS)}.")


def checked_name(name: str) -> str:
    """A name that a person gave to a place or a mode: 1 to 40 printable characters without a slash (it stands in
    addresses), not blank at its ends; raises `ConfigError` for others."""
    if not 1 <= len(name) <= _MOST_NAME or not name.isprintable() or "/" in name or name != name.strip():
        raise ConfigError(
            f"{name[: _MOST_NAME + 1]!r} cannot be a name.",
            f"Use 1 to {_MOST_NAME} printable characters, no slash, no blank at either end.",
        )
    return name


def cell_of(latitude: float, longitude: float) -> Cell:
    """The cell that a position lies nearest to; raises `ConfigError` for what is no position on Earth (degrees)."""
    if not (math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
        raise ConfigError(
            "This is no position on Earth.", "Give a latitude of -90 to 90 and a longitude of -180 to 180."
        )
    return round(latitude / CELL_DEGREES), round(longitude / CELL_DEGREES)


def distance_m(one: Cell, other: Cell) -> float:
    """Distance of two cells' middles in metres, along the sphere (the haversine formula)."""
    south, west, north, east = (math.radians(number * CELL_DEGREES) for number in (*one, *other))
    square = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin((east - west) / 2) ** 2
    return 2 * _EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(square)))


def match_place(places: Sequence[Place], cell: Cell) -> Place | None:
    """The nearest of the places within `MATCH_WITHIN_M`; among equals the first by name. None when none is near."""
    near = [(distance_m(place.cell, cell), place.name, place) for place in places if place.cell is not None]
    distance, _, place = min(near, default=(math.inf, "", None), key=lambda found: found[:2])
    return place if distance <= MATCH_WITHIN_M else None


class PlaceLikelihood:
    """Learns at which of their places a person is when: by hour of the week, helped by others through kinds.

    People call their places differently, so everyone's habits are pooled over the kinds (`KINDS`), and names belong to
    one person alone.
    """

    def __init__(self) -> None:
        self._habits = HabitTable()

    def observe(self, user: UserId, place: Place, situation: Situation) -> None:
        """The person is at `place` in this situation (its hour and weekday count)."""
        self._habits.learn(user, times_of(situation), place.name, place.kind)

    def shares(self, user: UserId, places: Sequence[Place], situation: Situation) -> dict[str, float]:
        """Probability of each of the person's places at that hour; they sum to 1. Empty without places."""
        return self._habits.shares(user, times_of(situation), {place.name: place.kind for place in places})

    def forget(self, user: UserId, place: str | None = None) -> None:
        """Take out what came from this person, or what they did at one place."""
        if place is None:
            self._habits.forget(user)
        else:
            self._habits.drop(user, place)

"""Shared desktops of a SYNTHETIC house, whose visitors pick a seat: the one they prefer, if it is free."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice

import numpy as np

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.synthetic.agenda import Agenda
from ghostdesk.replay.synthetic.draws import Draws, Floats, Ints, from_quantiles
from ghostdesk.replay.synthetic.figures_starts import QUANTILES
from ghostdesk.replay.synthetic.parameters import Parameters, shipped
from ghostdesk.replay.synthetic.people import SOURCE
from ghostdesk.replay.synthetic.presence import HOLIDAY_SHARE, term_levels
from ghostdesk.replay.synthetic.scenarios import DAY_S, FIRST_DAY_S

_LEVELS = np.array([0.0, *(q / 100.0 for q in QUANTILES), 1.0])
_SHORTEST_MIN, _LONGEST_FACTOR = 0.5, 2.5
_VISITORS_A_DESKTOP = 20
_BATCH_S = 40.0
_NIGHT_S, _MORNING_S = 23.5 * 3600.0, 6.5 * 3600.0
_SLOTS_AN_HOUR = 6
_LATEST_LEFT = 10
"""Among so many of the seats left last somebody chooses who wants one of them."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """When desktops were in use, in the order of the start; arrays of shape (sessions,).

    Args:
        desktop: number from 0.
        visitor: number of who sat there.
        start_s, end_s: UTC seconds.
        turned_away: visitors who came when every seat was taken.
    """

    desktop: Ints
    visitor: Ints
    start_s: Floats
    end_s: Floats
    turned_away: int


@dataclass(frozen=True, slots=True)
class Noise:
    """What makes starts come in clusters.

    Args:
        batch: mean number of people who come together.
        slot_variance: squared variation of the rate between 10-minute slots.
        hour_variance: the same between hours and days.
    """

    batch: float
    slot_variance: float
    hour_variance: float

    @classmethod
    def measured(cls, parameters: Parameters) -> Noise:
        """From the Fano factors over 2, 10 and 60 minutes.

        With rates that vary by squared variation S between hours and V in all between slots of 10 minutes, and batches
        of Fano factor B, counts over k minutes with mean M have B + M V for k up to 10, and for 60
        B + M S + (V - S) M / 6.
        """
        two, ten, hour, mean = (
            parameters.number("desktop-starts", name)
            for name in ("dispersion_2_min", "dispersion_10_min", "dispersion_60_min", "mean_count_60_min")
        )
        varied = max((ten - two) / (mean / 6.0 - mean / 30.0), 0.0)
        alone = max(two - varied * mean / 30.0, 1.0)
        shared = min(max((hour - alone - varied * mean / 6.0) / (mean * 5.0 / 6.0), 0.0), varied)
        return cls((alone + 1.0) / 2.0, varied - shared, shared)  # sizes are geometric: Fano factor 2 b - 1


@dataclass(frozen=True)
class SyntheticDesktops:
    """The state log of shared desktops, made anew from the seed.

    Args:
        desktops: how many.
        days: how many days, from a Monday on.
        seed: equal seeds give equal logs, on one version of numpy.
        parameters: the figures to draw from; the shipped ones if not given.

    Raises:
        ConfigError: a size is not possible.
    """

    desktops: int
    days: int
    seed: int = 0
    parameters: Parameters | None = None

    def __post_init__(self) -> None:
        if not (1 <= self.desktops <= 20_000 and 1 <= self.days <= 3_650 and self.seed >= 0):
            raise ConfigError(
                f"No log has {self.desktops} desktops, {self.days} days and the seed {self.seed}.",
                "Ask for 1 to 20,000 desktops, 1 to 3,650 days, and a seed from 0 on.",
            )

    @cached_property
    def _figures(self) -> Parameters:
        return self.parameters or shipped()

    @cached_property
    def agenda(self) -> Agenda:
        """Holidays and terms."""
        return Agenda(self.seed, self.desktops * _VISITORS_A_DESKTOP, self.days)

    def arrivals(self) -> Floats:
        """When somebody comes, UTC seconds, in order."""
        figures, noise, rng = self._figures, Noise.measured(self._figures), np.random.default_rng([self.seed, 4])
        levels = term_levels(figures, self.agenda) * np.where(self.agenda.is_holiday, HOLIDAY_SHARE, 1.0)
        usual = figures.number("desktop-starts", "starts_a_day") * figures.fitted["desktop_demand"] * self.desktops
        week = np.asarray(figures.table("desktop-starts", "hour_of_week")).reshape(7, 24)
        day_variance = min(figures.fitted["house_level_sd"] ** 2, noise.hour_variance)
        hold, level, found = figures.fitted["house_level_hold"], rng.normal(), list[Floats]()
        for day in range(self.days):
            level = hold * level + np.sqrt(1.0 - hold**2) * rng.normal()
            hours = 7.0 * usual * levels[day] * week[day % 7] / week.sum()
            hours = hours * _varied(np.array([level]), day_variance)
            hours = hours * _varied(rng.normal(size=24), noise.hour_variance - day_variance)
            slots = np.repeat(hours / _SLOTS_AN_HOUR, _SLOTS_AN_HOUR) * _varied(
                rng.normal(size=24 * _SLOTS_AN_HOUR), noise.slot_variance
            )
            batches = np.repeat(np.arange(len(slots)), rng.poisson(slots / noise.batch))
            moment = (batches + rng.random(len(batches))) * (3600.0 / _SLOTS_AN_HOUR)
            sizes = rng.geometric(1.0 / noise.batch, len(batches)) if len(batches) else np.zeros(0, dtype=int)
            comes = np.repeat(moment, sizes)
            comes = comes + _BATCH_S * rng.random(len(comes))
            found.append(np.sort(FIRST_DAY_S + day * DAY_S + np.minimum(comes, DAY_S - 1.0)))
        return np.concatenate(found)

    def sessions(self) -> Sessions:
        """Seat everybody who comes, in order."""
        rng = np.random.default_rng([self.seed, 5])
        start_s = self.arrivals()
        length_s = self._lengths(rng.random(len(start_s)))
        visitors = self.desktops * _VISITORS_A_DESKTOP
        visitor = (visitors * rng.random(len(start_s)) ** 2).astype(np.int64)  # few come often, many seldom
        house = _Seats(self.desktops, self.seed, self._figures)
        choices, other = rng.random(len(start_s)).tolist(), rng.random(len(start_s)).tolist()
        wished = house.favourites(visitor).tolist()
        seat = np.array(
            [
                house.sit(now_s, length, favourite, choice, chance)
                for now_s, length, favourite, choice, chance in zip(
                    start_s.tolist(), length_s.tolist(), wished, choices, other, strict=True
                )
            ],
            dtype=np.int64,
        )
        seated = seat >= 0
        return Sessions(
            seat[seated], visitor[seated], start_s[seated], (start_s + length_s)[seated], int((~seated).sum())
        )

    def states(self, sessions: Sessions) -> Iterator[tuple[float, str, str]]:
        """Changes in the order of time: UTC seconds, desktop, state (in-use, available, offline, restarted)."""
        changes = [row for desktop in self._by_desktop(sessions) for row in desktop]
        changes.sort()
        yield from changes

    def _lengths(self, chance: Floats) -> Floats:
        known = [self._figures.number("desktop-starts", f"length_min_p{q}") for q in QUANTILES]
        minutes = np.array([min(_SHORTEST_MIN, known[0]), *known, known[-1] * _LONGEST_FACTOR])
        return np.maximum(60.0 * from_quantiles(chance, _LEVELS, minutes), 1.0)

    def _by_desktop(self, sessions: Sessions) -> Iterator[list[tuple[float, str, str]]]:
        order = np.lexsort((sessions.start_s, sessions.desktop))
        edges = np.searchsorted(sessions.desktop[order], np.arange(self.desktops + 1))
        until_s = FIRST_DAY_S + self.days * DAY_S
        for desktop in range(self.desktops):
            chosen = order[edges[desktop] : edges[desktop + 1]]
            name, late_s = f"{SOURCE}-{desktop:05d}", 600.0 * float(Draws(self.seed, "nights").uniform(desktop)[0])
            rows = [(FIRST_DAY_S, name, "restarted")]
            free_s = FIRST_DAY_S
            spans = zip(sessions.start_s[chosen].tolist(), sessions.end_s[chosen].tolist(), strict=True)
            for start_s, end_s in (*spans, (until_s, until_s)):
                rows.extend(_nights(name, free_s, start_s, late_s))
                if start_s < until_s:
                    rows.append((start_s, name, "in-use"))
                    if end_s < until_s:
                        rows.append((end_s, name, "available"))
                free_s = end_s
            yield rows


class _Seats:
    """Which seats are free, and who takes which: the preferred one, one left not long ago, or any that is liked."""

    def __init__(self, desktops: int, seed: int, figures: Parameters) -> None:
        self._liking = 1.0 / np.arange(1, desktops + 1) ** figures.fitted["seat_skew"]
        self._loyal = figures.fitted["seat_loyalty"]
        self._last = self._loyal + figures.fitted["seat_left_last"]
        self._draws = Draws(seed, "seats")
        self._free = np.ones(desktops, dtype=bool)
        self._taken: list[tuple[float, int]] = []
        self._left: dict[int, None] = {}  # free seats that were left, in that order

    def favourites(self, visitor: Ints) -> Ints:
        """The seat that each of these visitors prefers."""
        whole = np.cumsum(self._liking) / self._liking.sum()
        chance = self._draws.uniform(visitor) if len(visitor) else np.zeros(0)
        return np.minimum(np.searchsorted(whole, chance, side="right"), len(whole) - 1)

    def sit(self, now_s: float, length_s: float, favourite: int, choice: float, chance: float) -> int:
        """Somebody comes. Returns their seat, or -1 where none is free."""
        while self._taken and self._taken[0][0] <= now_s:
            seat = heapq.heappop(self._taken)[1]
            self._free[seat] = True
            self._left[seat] = None
        seat = favourite if choice < self._loyal and self._free[favourite] else -1
        if seat < 0 and self._loyal <= choice < self._last and self._left:
            latest = list(islice(reversed(self._left), _LATEST_LEFT))
            seat = latest[int(chance * len(latest))]
        if seat < 0:
            whole = np.cumsum(self._liking * self._free)
            if whole[-1] <= 0.0:
                return -1
            seat = int(np.searchsorted(whole, chance * whole[-1], side="right"))
        self._free[seat] = False
        self._left.pop(seat, None)
        heapq.heappush(self._taken, (now_s + length_s + 1.0, seat))
        return seat


def state_time(time_s: float) -> str:
    """As state logs write it."""
    return f"{datetime.fromtimestamp(int(time_s), UTC):%Y-%m-%d %H:%M:%S}"


def _nights(name: str, free_s: float, until_s: float, late_s: float) -> Iterator[tuple[float, str, str]]:
    """A desktop that nobody uses is switched off late in the evening, and on in the morning."""
    day_s = free_s - (free_s - FIRST_DAY_S) % DAY_S
    while day_s < until_s:
        off_s, on_s = day_s + _NIGHT_S + late_s, day_s + DAY_S + _MORNING_S + late_s
        if off_s > free_s and on_s < until_s:
            yield off_s, name, "offline"
            yield on_s, name, "restarted"
        day_s += DAY_S


def _varied(noise: Floats, variance: float) -> Floats:
    """Log-normal factors with mean 1 and that squared variation."""
    spread = np.sqrt(np.log1p(variance))
    return np.asarray(np.exp(spread * noise - spread**2 / 2.0))

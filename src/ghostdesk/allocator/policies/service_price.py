"""The price of a miss that keeps a service target: a shadow price, found on recent history and corrected online. Pure.

A ghost more is held where the misses that it is expected to avoid, at this price each, are worth more than its time.
One price for all hours makes the total idle time least for a given share of misses, as quiet hours then hold few and
busy ones many. For a row of prices it is kept what each would have missed in the last weeks (which the virtual pools
tell), and the price is the one that would have met the target. The target itself is moved by what was really missed,
as in adaptive conformal inference (Gibbs and Candes 2021): too many misses lately ask for fewer from now on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.allocator.policies.seam import Floats, Ints

_PRICES = np.geomspace(2.0, 50_000.0, 42)
_NARROWEST, _WIDEST = 0.3, 1.8
_FIRST_PRICE = 3.0
"""Before anything was seen: minutes of an idle ghost per miss, over the share of misses allowed."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How closely a target is kept. The closer, the more the price moves, and the more idle time the same misses cost.

    Args:
        history_starts: after so many starts, what a price would have missed counts half.
        account_starts: after so many starts, what was really missed counts half.
        gain: how strongly that corrects the target.
        sought: the part of the allowed misses that is aimed at.
    """

    history_starts: float
    account_starts: float
    gain: float
    sought: float


OVER_A_YEAR = Keeping(20_000.0, 4_000.0, 1.0, 0.9)
OVER_ANY_MONTH = Keeping(5_000.0, 2_000.0, 3.0, 0.85)


class ServicePrice:
    """Minutes of idle ghosts that a miss is worth, so that a share of starts misses.

    Args:
        miss_share: what is allowed, above 0 and below 1.
        keeping: how closely it is kept.
    """

    def __init__(self, miss_share: float, keeping: Keeping = OVER_A_YEAR) -> None:
        if not 0.0 < miss_share < 1.0:
            raise ValueError(f"a share of misses of {miss_share}")
        self._allowed, self._keeping = miss_share, keeping
        self._missed: Floats = np.zeros(len(_PRICES))
        self._starts = 0.0
        self._account = 0.0
        self._first = _FIRST_PRICE / miss_share
        self._price = self._first

    @property
    def price(self) -> float:
        """Minutes of an idle ghost that avoiding one miss is worth."""
        return self._price

    @property
    def sought(self) -> float:
        """The share of misses that is sought at present: what is allowed, corrected by what was missed lately."""
        owed = self._keeping.gain * self._account / self._keeping.account_starts / self._allowed
        return self._allowed * min(max(self._keeping.sought + owed, _NARROWEST), _WIDEST)

    def learn(self, sizes: Ints, missed: Floats, starts: int, misses: int) -> None:
        """What a minute with starts brought.

        Args:
            sizes: how many each of the prices would have held, shape (prices,).
            missed: what pools of each size missed, shape (sizes,).
            starts, misses: in reality.
        """
        fade = 0.5 ** (starts / self._keeping.history_starts)
        self._missed = fade * self._missed + missed[sizes]
        self._starts = fade * self._starts + starts
        fade = 0.5 ** (starts / self._keeping.account_starts)
        self._account = fade * self._account + self._keeping.sought * self._allowed * starts - misses

    def settle(self) -> None:
        """Find the price anew."""
        # As if at first a price of `_FIRST_PRICE` over the share had met the target.
        prior = 500.0 * np.minimum(self._allowed * self._first / _PRICES, 1.0)
        share = (self._missed + prior) / (self._starts + 500.0)
        share = np.minimum.accumulate(share)
        place = int(np.searchsorted(-share, -self.sought))
        if place in (0, len(share)):
            self._price = float(_PRICES[min(place, len(share) - 1)])
            return
        high, low = share[place - 1], share[place]
        part = (high - self.sought) / max(high - low, 1e-12)
        self._price = float(_PRICES[place - 1] ** (1.0 - part) * _PRICES[place] ** part)


def sizes_at(avoided: Floats) -> Ints:
    """How many ghosts each price holds, shape (prices,).

    Args:
        avoided: misses per minute that the first, second, ... ghost avoids, shape (sizes - 1,); never rising.
    """
    return np.asarray((_PRICES[:, None] * avoided[None, :] > 1.0).sum(axis=1))

"""The service target kept by correction: asked for 99 %, the pool gives 99 %, whatever the forecast gets wrong.

A newsvendor's quantile keeps its promise only if the forecast is calibrated, the lead time is what was assumed, and
"no miss within the lead time" means the same as "this share of the starts". None of that is quite true. So the share
of misses that the quantile allows is steered by what happened: adaptive conformal inference (Gibbs and Candes 2021,
arXiv 2106.00170), in the form with an error integrator and saturation (Angelopoulos, Candes and Tibshirani 2023,
"Conformal PID control for time series prediction", arXiv 2307.16895).

Each start earns a small credit of misses, each miss costs one. The allowed share of misses is the asked one times
``exp(gain * credit)``: a dual variable (a price of misses) moved by its constraint's violation. While the share moves
within its bounds, the credit is bounded, so that over n starts the share of misses differs from the aim by no more
than (credit's range) / n, for any sequence of demands. Anti-windup: the credit stops where the share meets its bound,
so that a quiet month, or a day in which no ghost could be built, is not paid back later by as much of the opposite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_REMEMBERED_STARTS = 400.0


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """The state of the correction; `observe` gives the next one.

    Args:
        asked: share of starts that should find a ready ghost; cut to 0.5 .. 1 - 1e-6, and NaN counts as 0.99.
        credit: misses that may still happen, negative when there were too many.
        gain: how much one miss more or less changes the logarithm of the allowed share of misses.
        aim_inside: the aim is this share of the allowed misses less, so that chance does not fall below what was asked.
        starts, missed: of about the last 400 starts, with older ones fading.
    """

    asked: float
    credit: float = 0.0
    gain: float = 0.3
    aim_inside: float = 0.15
    starts: float = 0.0
    missed: float = 0.0

    def __post_init__(self) -> None:
        asked = 0.99 if math.isnan(self.asked) else min(max(self.asked, 0.5), 1.0 - 1e-6)
        object.__setattr__(self, "asked", asked)

    def observe(self, hits: int, misses: int) -> ServiceTarget:
        """After `hits` starts that found a ready ghost, and `misses` that found none; negative counts count as 0."""
        hits, misses = max(hits, 0), max(misses, 0)
        lowest, highest = self._bounds()
        earned = (1.0 - self.aim_inside) * (1.0 - self.asked) * (hits + misses)
        starts, missed = self.starts + hits + misses, self.missed + misses
        fade = min(1.0, _REMEMBERED_STARTS / starts) if starts else 1.0
        credit = min(max(self.credit + earned - misses, lowest / self.gain), highest / self.gain)
        return replace(self, credit=credit, starts=starts * fade, missed=missed * fade)

    def quantile(self) -> float:
        """The quantile of the demand to hold now, 0.5 or more; at first it is what was asked."""
        lowest, highest = self._bounds()
        return 1.0 - (1.0 - self.asked) * math.exp(min(max(self.gain * self.credit, lowest), highest))

    def why(self) -> str:
        """What the quantile was corrected for, for people; empty before the first start."""
        if self.starts < 1.0:
            return ""
        found = 1.0 - self.missed / self.starts
        verb = "raised" if self.quantile() > self.asked else "lowered"
        return (
            f"{verb} from {self.asked:.4g} to {self.quantile():.4g}, as {found:.1%} of the last {self.starts:.0f} "
            "starts found a ready desktop"
        )

    def _bounds(self) -> tuple[float, float]:
        """Lowest and highest logarithm of (allowed share of misses / asked one): from 1e-4 of it to one half in all."""
        return -math.log(1e4), math.log(0.5 / (1.0 - self.asked))

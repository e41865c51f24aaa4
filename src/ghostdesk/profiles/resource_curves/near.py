"""How far another forecast of the next minutes is trusted beside the hour's curve: learnt online, by quantile loss.

The two are members of a mixture that averages quantiles. A member's weight falls with the exponential of its loss so
far (the Hedge rule, Freund and Schapire 1997), older losses counting less. Each forecast was made before what it is
judged by, and each person is judged once an hour, so that nobody can outvote the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.resource_curves.quantiles import LEVEL_VALUES

NEAR_S = 300.0
"""How far ahead the other forecast is asked: the LSTM's first horizon."""
_RATE = 0.5
_FORGET = 0.995
_FEWEST_JUDGED = 20
"""Before it was judged so often, the other forecast has no say: it may never have learnt this resource."""
_MOST_PENDING = 4096

Doubles = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Pending:
    """Two forecasts of one person, shape (resources, levels), and the samples that came since."""

    made_s: float
    other: Doubles
    curve: Doubles
    total: Doubles
    count: Doubles


@dataclass(slots=True)
class NearWeights:
    """One weight a resource.

    Args:
        resources: how many there are.
    """

    resources: int
    judged: Doubles = field(init=False)
    _other: Doubles = field(init=False)
    _curve: Doubles = field(init=False)
    _pending: dict[UserId, _Pending] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.judged, self._other, self._curve = (np.zeros(self.resources) for _ in range(3))

    def weights(self) -> Doubles:
        """The other forecast's share, 0 to 1, shape (resources,)."""
        gap = np.clip(_RATE * (self._other - self._curve), -50.0, 50.0)
        return np.where(self.judged >= _FEWEST_JUDGED, 1.0 / (1.0 + np.exp(gap)), 0.0)

    def foretell(self, user: UserId, now_s: float, other: Doubles, curve: Doubles) -> None:
        """Set down both forecasts of the next five minutes, shape (resources, levels), to judge them when they end."""
        if user in self._pending:
            self._judge(user)
        elif len(self._pending) >= _MOST_PENDING:
            self._judge(next(iter(self._pending)))
        self._pending[user] = _Pending(now_s, other, curve, np.zeros(self.resources), np.zeros(self.resources))

    def observe(self, user: UserId, resource: int, time_s: float, value: float) -> None:
        """One sample; after the five minutes the forecasts are judged by the mean of what came."""
        pending = self._pending.get(user)
        if pending is None or time_s <= pending.made_s:
            return
        if time_s > pending.made_s + NEAR_S:
            self._judge(user)
        else:
            pending.total[resource] += value
            pending.count[resource] += 1.0

    def forget(self, user: UserId) -> None:
        """Drop the person's forecasts and samples that were not judged yet."""
        self._pending.pop(user, None)

    def _judge(self, user: UserId) -> None:
        pending = self._pending.pop(user)
        seen = (pending.count > 0) & np.isfinite(pending.other).all(axis=1) & np.isfinite(pending.curve).all(axis=1)
        if not seen.any():
            return
        actual = (pending.total[seen] / pending.count[seen])[:, None]
        other, curve = (_loss(actual, quantiles[seen]) for quantiles in (pending.other, pending.curve))
        usual = np.maximum((other + curve) / 2.0, 1e-12)
        # Relative losses, 0 to 2: cores and bytes count alike, and no single surprise moves the weights far.
        self._other[seen] = self._other[seen] * _FORGET + other / usual
        self._curve[seen] = self._curve[seen] * _FORGET + curve / usual
        self.judged[seen] += 1.0


def _loss(actual: Doubles, quantiles: Doubles) -> Doubles:
    """Pinball loss (Koenker and Bassett 1978), mean over the levels, shape (resources,)."""
    gap = actual - quantiles
    return np.asarray(np.maximum(LEVEL_VALUES * gap, (LEVEL_VALUES - 1.0) * gap).mean(axis=1), dtype=np.float64)

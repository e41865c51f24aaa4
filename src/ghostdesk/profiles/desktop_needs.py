"""What a person's desktop will take: curves of hourly means, drawn towards the spread of their samples.

Two things are kept of whoever is measured: a histogram of samples (`resources.ResourceUse`) and a week of hourly means
(`resource_curves.live.ResourceCurves`). A curve is the model's where a day of hours or more is known, and in proportion
the shrunk quantiles of the samples where less is.

A tick asks for everyone's usual and high use, and the model costs a millisecond or more a person. So it is asked for
those alone who were measured within the last hour, each once an hour, and for at most 32 of them at a time: what a tick
costs does not grow with the people. All others get the figures of their samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.forecast import LEVELS, ResourceQuantiles
from ghostdesk.profiles.resource_curves.live import ResourceCurves
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.near import NEAR_S, NearWeights
from ghostdesk.profiles.resource_curves.predictor import HOUR_S
from ghostdesk.profiles.resource_curves.quantiles import LEVEL_VALUES, Floats
from ghostdesk.profiles.resources import NAMES, DesktopSamples, ResourceUse
from ghostdesk.telemetry.events import UsageEvent

HIGH = 0.9
RENEWED_AT_ONCE = 32
_RENEW_EVERY_S = 5.0
_HIGH_INDEX = LEVELS.index(HIGH)
_MOST_KEPT = 8192
_EDGES = np.concatenate([[0.0], (LEVEL_VALUES[1:] + LEVEL_VALUES[:-1]) / 2.0, [1.0]])
_SHARES = np.diff(_EDGES)
"""How much of all chance lies nearest to each level: the mean of a forecast is the sum of its quantiles by these."""

Doubles = npt.NDArray[np.float64]
NearForecast = Callable[[UserId, float], Doubles | None]
"""Another forecast of a person's next five minutes, shape (resources, levels) in the order of `NAMES`; None: none."""


@dataclass(frozen=True, slots=True, eq=False)
class _Hour:
    """What was forecast of one person's hour: NaN where nobody was measured."""

    number: int
    usual: Doubles
    high: Doubles


class DesktopNeeds:
    """Learns from samples of signed-in people's whole desktops, and forecasts what they will take.

    Args:
        models: trained models of the curves by resource; a resource without one gets the plain mean of the experts.
        near: another forecast of the next minutes (the LSTM's). It is believed as far as it proved better.
    """

    def __init__(
        self,
        models: Mapping[str, CurveModel] | None = None,
        near: NearForecast = lambda _user, _now_s: None,
    ) -> None:
        self._samples = DesktopSamples()
        self._use = ResourceUse()
        self._curves = ResourceCurves(models)
        self._ask_near = near
        self._near = NearWeights(len(NAMES))
        self._hours: dict[UserId, _Hour] = {}
        self._due: dict[UserId, float] = {}
        self._renewed_s = float("-inf")
        self._cache: dict[UserId, tuple[object, tuple[Resources, Resources]]] = {}

    def observe(self, event: UsageEvent) -> None:
        """Learn from one more event. Samples that come late fill hours that are empty, for a week back."""
        sample = self._samples.take(event)
        if sample is None:
            return
        user, time_s = sample.user, sample.time_s
        self._use.add(sample)
        self._curves.observe(user, NAMES[sample.kind], time_s, sample.value)
        self._near.observe(user, sample.kind, time_s, sample.value)
        hour = self._hours.get(user)
        if hour is None or hour.number < _hour(time_s):
            self._due[user] = max(time_s, self._due.get(user, time_s))

    def forget(self, user: UserId) -> None:
        """Drop everything that is known of a person, also what they lent to others."""
        self._samples.forget(user)
        self._use.forget(user)
        self._curves.forget(user)
        self._near.forget(user)
        for kept in (self._hours, self._due, self._cache):
            kept.pop(user, None)

    def use(self, models: Mapping[str, CurveModel]) -> None:
        """Serve other models of the curves from now on."""
        self._curves.use(models)

    def other_near(self) -> None:
        """The other forecast of the next minutes was replaced: the new one has to prove itself."""
        self._near = NearWeights(len(NAMES))

    def near_weights(self) -> dict[str, float]:
        """How far the other forecast of the next minutes is believed, by resource."""
        return dict(zip(NAMES, self._near.weights().tolist(), strict=True))

    def quantile(self, user: UserId, share: float) -> Resources:
        """The amounts that the user's samples stay at or below for `share` (0 to 1) of them."""
        return self._use.quantile(user, share)

    def usual_and_high(self, user: UserId, now_s: float) -> tuple[Resources, Resources]:
        """Expected use while present, and what use stays at or below for nine tenths of the time.

        For whoever is there, the expectation is the coming hour's, and the second is no less than what nine tenths of
        such hours stay below on average. Bursts within an hour show in the samples alone, so it is no less than theirs.
        """
        self._renew(now_s)
        hour = self._hours.get(user)
        if hour is not None and not 0 <= _hour(now_s) - hour.number <= 1:
            hour = None
        key = (self._use.count(user), self._use.samples // 256, hour)
        kept = self._cache.get(user)
        if kept is None or kept[0] != key:
            usual, high = self._use.expected(user), self._use.quantile(user, HIGH)
            if hour is not None:
                usual = _resources(np.where(np.isnan(hour.usual), usual.as_tuple(), hour.usual))
                high = _resources(np.fmax(hour.high, high.as_tuple()))
            kept = self._cache[user] = (key, (usual, high))
        return kept[1]

    def quantiles(self, user: UserId, now_s: float, horizon_s: float, slot_s: float) -> ResourceQuantiles | None:
        """The person's quantiles, slot by slot; None where nobody was ever measured."""
        priors = self._priors((user,))
        found = self._curves.quantiles([user], now_s, horizon_s, slot_s, priors)[0]
        if not found.amounts:
            return None
        slots = math.ceil(NEAR_S / slot_s - 0.5)
        weights = self._near.weights()
        other = self._ask_near(user, now_s) if slots and weights.any() else None
        if other is None:
            return found
        amounts = dict(found.amounts)
        for index, name in enumerate(NAMES):
            if name in amounts and weights[index] > 0.0 and np.isfinite(other[index]).all():
                near = np.asarray(amounts[name][:slots]) * (1.0 - weights[index]) + other[index] * weights[index]
                rising = np.maximum.accumulate(np.maximum(near, 0.0), axis=1)
                amounts[name] = (*(tuple(slot) for slot in rising.tolist()), *amounts[name][slots:])
        return replace(found, amounts=amounts)

    def _renew(self, now_s: float) -> None:
        """Ask the model for some of those who were measured of late and whose hour is over."""
        if not self._due or abs(now_s - self._renewed_s) < _RENEW_EVERY_S:
            return
        self._renewed_s = now_s
        users: list[UserId] = []
        while self._due and len(users) < RENEWED_AT_ONCE:
            user, measured_s = next(iter(self._due.items()))
            del self._due[user]
            if abs(now_s - measured_s) < HOUR_S:
                users.append(user)
        if not users:
            return
        self._drop_old(now_s)
        priors, shape = self._priors(users), (len(users), len(NAMES), len(LEVELS))
        first: Doubles = np.full(shape, np.nan)
        for index, name in enumerate(NAMES):
            if name in priors:
                first[:, index] = self._curves.hourly_quantiles(users, name, now_s, 1, priors[name])[:, 0]
        for user, own in zip(users, first, strict=True):
            self._hours[user] = _Hour(_hour(now_s), own @ _SHARES, own[:, _HIGH_INDEX])
            other = self._ask_near(user, now_s)
            if other is not None:
                self._near.foretell(user, now_s, other, own)

    def _drop_old(self, now_s: float) -> None:
        if len(self._hours) > _MOST_KEPT:
            latest = _hour(now_s)
            self._hours = {user: hour for user, hour in self._hours.items() if abs(latest - hour.number) <= 1}

    def _priors(self, users: tuple[UserId, ...] | list[UserId]) -> dict[str, Floats]:
        """Shrunk quantiles of samples, shape (users, levels), of the resources that anybody was measured in."""
        each = [self._use.quantiles(user, LEVELS) for user in users]
        return {name: np.array([one[name] for one in each], dtype=np.float32) for name in each[0]}


def _hour(time_s: float) -> int:
    return int(time_s // HOUR_S)


def _resources(amounts: Doubles) -> Resources:
    return Resources(**dict(zip(NAMES, amounts.tolist(), strict=True)))

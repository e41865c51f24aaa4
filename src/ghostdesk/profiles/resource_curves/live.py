"""Everyone's usage curves, live: a week of hourly means a user, and the model's quantiles of the hours to come.

A user holds 348 bytes for each resource that anybody was measured in (1.7 kB for all five). Whoever has less than a
day of hours is drawn towards what the caller knows of them otherwise, or towards everyone's quantiles, in which each
user has the same vote, however much they use or report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.baselines.slots import sane
from ghostdesk.profiles.forecast import LEVELS, ResourceQuantiles
from ghostdesk.profiles.resource_curves.hourly_store import HourlyStore
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.predictor import DAY_H, HORIZON_H, HOUR_S, WINDOW_H
from ghostdesk.profiles.resource_curves.quantiles import LEVEL_VALUES, Floats, quantiles_of

RESOURCES = ("cpu_cores", "memory_bytes", "gpu_share", "network_bytes_per_s", "storage_bytes_per_s")
MOST_HORIZON_H = 2 * DAY_H
ENOUGH_HOURS = DAY_H
"""From so many measured hours of the last week on, the model alone is believed; with fewer in proportion."""
_VOTERS = 1000


class ResourceCurves:
    """A week of hourly means of each user and resource, and what they foretell.

    Args:
        models: trained models by resource; a resource without one gets the plain mean of the experts.
    """

    def __init__(self, models: Mapping[str, CurveModel] | None = None) -> None:
        self._models = dict(models or {})
        self._store = HourlyStore()
        self._everyone: dict[str, tuple[int, Floats]] = {}

    def use(self, models: Mapping[str, CurveModel]) -> None:
        """Serve other models from now on."""
        self._models = dict(models)

    @property
    def models(self) -> Mapping[str, CurveModel]:
        """The models in use."""
        return self._models

    def observe(self, user: UserId, resource: str, time_s: float, value: float) -> None:
        """Learn one sample. Unknown resources, negative or infinite amounts and times before 1970 are left out.

        Samples of earlier hours fill hours that are empty, for a week back; what is older is left out.
        """
        if resource in RESOURCES and sane(time_s) and math.isfinite(value) and value >= 0.0:
            self._store.add(user, resource, int(time_s // HOUR_S), value)

    def forget(self, user: UserId) -> None:
        """Erase all that was measured of the user, and everyone's quantiles that they had a vote in."""
        self._store.forget(user)
        self._everyone.clear()

    def measured(self) -> tuple[str, ...]:
        """Resources that anybody was measured in."""
        return tuple(resource for resource in RESOURCES if resource in self._store.resources())

    def hours_known(self, user: UserId, resource: str, now_s: float) -> int:
        """How many of the last 168 hours were measured."""
        window = self._store.windows([user], resource, self._origin(now_s))
        return int((~np.isnan(window)).sum())

    def hourly_quantiles(
        self,
        users: Sequence[UserId],
        resource: str,
        now_s: float,
        horizon_h: int = HORIZON_H,
        prior: Floats | None = None,
    ) -> Floats:
        """Quantiles of the hourly means to come, for many users at once, shape (users, horizon_h, levels).

        The first hour is the one that `now_s` lies in, or from half past on the next. 0 where nobody was ever measured.

        Args:
            users: whose.
            resource: of `RESOURCES`.
            now_s: the present (UTC seconds).
            horizon_h: how many hours.
            prior: what is known of each user otherwise, shape (users, levels); everyone's quantiles where left out.
        """
        if not 1 <= horizon_h <= MOST_HORIZON_H:
            raise ValueError(f"a horizon of {horizon_h} h: 1 to {MOST_HORIZON_H}")
        origin = self._origin(now_s)
        window = self._store.windows(users, resource, origin)
        known = (~np.isnan(window)).sum(axis=1)
        found = np.zeros((len(users), horizon_h, LEVEL_VALUES.size), dtype=np.float32)
        has = known > 0
        if has.any():
            clock = np.full(int(has.sum()), origin % WINDOW_H, dtype=np.float64)
            found[has] = self._model(resource).quantiles(window[has], clock, horizon_h)
        own = np.minimum(known / ENOUGH_HOURS, 1.0).astype(np.float32)[:, None, None]
        if prior is None and (own == 1.0).all():
            return found
        other = self._pool(resource, origin) if prior is None else np.asarray(prior, dtype=np.float32)[:, None, :]
        blended: Floats = found * own + other * (1 - own)
        return blended

    def quantiles(
        self,
        users: Sequence[UserId],
        now_s: float,
        horizon_s: float,
        slot_s: float,
        priors: Mapping[str, Floats] | None = None,
    ) -> tuple[ResourceQuantiles, ...]:
        """Each user's quantiles, slot by slot, in the order of `users`; resources never measured are left out.

        Slots shorter than an hour take the quantiles of the hour that their middle lies in; what is beyond 48 hours
        takes those of the same clock hour of the second day. `priors` holds a `prior` of each resource, see
        `hourly_quantiles`. Raises `ValueError` for a horizon or slot that is not positive.
        """
        if not (slot_s > 0 and horizon_s > 0 and math.isfinite(horizon_s) and math.isfinite(slot_s)):
            raise ValueError(f"a horizon of {horizon_s} s in slots of {slot_s} s")
        slots = max(1, math.ceil(horizon_s / slot_s - 1e-9))
        middles = now_s + (np.arange(slots) + 0.5) * slot_s
        hours = np.maximum(np.floor(middles / HOUR_S) - self._origin(now_s), 0).astype(np.intp)
        hours = np.where(hours < MOST_HORIZON_H, hours, DAY_H + (hours - DAY_H) % DAY_H)
        known = priors or {}
        by_resource = {
            resource: self.hourly_quantiles(users, resource, now_s, int(hours.max()) + 1, known.get(resource))[
                :, hours
            ].tolist()
            for resource in self.measured()
        }
        return tuple(
            ResourceQuantiles(
                now_s,
                slot_s,
                LEVELS,
                {name: tuple(tuple(slot) for slot in rows[index]) for name, rows in by_resource.items()},
            )
            for index in range(len(users))
        )

    def _origin(self, now_s: float) -> int:
        """The first hour that is to come; from half past on, the hour that passes counts as known."""
        return int((now_s + HOUR_S / 2) // HOUR_S)

    def _model(self, resource: str) -> CurveModel:
        return self._models.get(resource) or CurveModel.untrained()

    def _pool(self, resource: str, origin: int) -> Floats:
        """Everyone's quantiles, shape (levels,): of at most 1,000 users, one vote each; renewed every hour."""
        kept = self._everyone.get(resource)
        if kept is None or kept[0] != origin:
            weeks = self._store.windows(self._store.some_users(_VOTERS), resource, origin)
            weeks = weeks[~np.isnan(weeks).all(axis=1)]
            votes = quantiles_of(weeks).reshape(1, -1)
            pool = quantiles_of(votes)[0] if len(weeks) else np.zeros(LEVEL_VALUES.size, dtype=np.float32)
            kept = self._everyone[resource] = (origin, np.sort(pool))
        return kept[1]

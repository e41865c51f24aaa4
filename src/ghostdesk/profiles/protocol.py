"""The seams of forecasting: estimators learn from a history, predictors answer from memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.forecast import ArrivalCurve, LaunchProbability, UsageCurve
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.history import History


class Chances(Protocol):
    """All users at once."""

    @property
    def arrival(self) -> npt.NDArray[np.float64]:
        """Chance of a sign-in in each step, shape (users, steps), given that none happened before it."""
        ...


def arrival_within(chances: Chances, horizon_s: float, lead_s: float) -> npt.NDArray[np.float64]:
    """Probability of at least one sign-in within `lead_s`, shape (users,): `UsageCurve.arrival_within` of everyone.

    `horizon_s` is how far the steps reach together.
    """
    steps = chances.arrival.shape[1]
    share = np.clip(lead_s / horizon_s * steps - np.arange(steps), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        absent = np.log1p(-np.minimum(chances.arrival, 1.0))[:, share > 0]
    return np.asarray(-np.expm1(absent @ share[share > 0]))


class ArrivalPredictor(Protocol):
    """Says when users will sign in."""

    def observe(self, event: UsageEvent) -> None:
        """Learn from one more event."""
        ...

    def predict(self, user: UserId | None, now_s: float, horizon_s: float, slot_s: float) -> ArrivalCurve:
        """The curve of one user, or of everyone together when `user` is None."""
        ...


class NextAppPredictor(Protocol):
    """Says which application a user will turn to next."""

    def observe(self, event: UsageEvent) -> None:
        """Learn from one more event."""
        ...

    def predict(self, user: UserId, now_s: float, limit: int) -> Sequence[LaunchProbability]:
        """The likeliest applications, likeliest first; probabilities sum to at most 1."""
        ...


class ProfileEngine(Protocol):
    """The whole: what the control loop asks."""

    def fit(self, history: History, now_s: float) -> None:
        """Learn from a history, from nothing."""
        ...

    def observe(self, event: UsageEvent) -> None:
        """Learn from one more event."""
        ...

    def users(self) -> Sequence[UserId]:
        """Everyone it knows."""
        ...

    def predict_resource_needs(self, user: UserId, now_s: float) -> UsageCurve:
        """The user's curve from now on. Never raises: an unknown user gets the pooled prior."""
        ...

    def outlook(self, now_s: float) -> Chances:
        """Everyone's chances over the horizon, one row a user in the order of `users`; more rows may follow."""
        ...

    def predict_arrivals(self, now_s: float, horizon_s: float) -> ArrivalCurve:
        """Sign-ins of everyone together."""
        ...

    def usage_curve(self, user: UserId, now_s: float, horizon_s: float, slot_s: float) -> UsageCurve:
        """The user's curve over any window, with applications and resources slot by slot."""
        ...

    def forget(self, user: UserId) -> None:
        """Drop everything that is held of this person."""
        ...

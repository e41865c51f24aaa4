"""From forecasts to wishes: whose desktop to warm, with which applications, and how many ghosts the pool needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.allocator.plan import PlanRequest, PoolPolicy
from ghostdesk.allocator.pricing import choose
from ghostdesk.ghosts.ghost import LIVE, GhostState
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.forecast import UsageCurve
from ghostdesk.profiles.newsvendor import pool_target

WARM_SECONDS_SAVED = 3.0
"""What a warm desktop saves its user against a ready one: the cold start of the first application, as benchmarked."""


@dataclass(frozen=True, slots=True)
class PersonalWish:
    """One user who should find a warm desktop."""

    user: UserId
    probability: float
    apps: tuple[AppId, ...]
    why: str


@dataclass(frozen=True, slots=True)
class PoolWish:
    """How many generic ghosts should be ready, and why."""

    target: int
    why: str


def likely_apps(curve: UsageCurve, policy: PoolPolicy) -> tuple[AppId, ...]:
    """The applications worth launching ahead, likeliest first."""
    offered = set(policy.template.apps)
    likely = [a.app for a in curve.apps if a.probability >= policy.app_threshold and (not offered or a.app in offered)]
    return tuple(likely[: policy.warm_apps])


def personal_wishes(request: PlanRequest) -> tuple[tuple[PersonalWish, ...], tuple[PersonalWish, ...], float]:
    """Who should be warm now: those who pay at the memory's shadow price, those who do not, and that price.

    A user who already has a ghost keeps it down to half the threshold, so that a probability that wavers around the
    threshold does not build and destroy by turns.
    """
    policy = request.policy
    held = {g.owner for g in request.ghosts if g.owner is not None and g.state in LIVE}
    wishes: list[PersonalWish] = []
    for user, curve in request.curves.items():
        if user in request.excluded:
            continue
        probability = 1.0 if user in request.expected else curve.arrival_within(request.now_s, policy.warm_lead_s)
        threshold = policy.warm_threshold * (0.5 if user in held else 1.0)
        if probability < threshold or (policy.forecast_only and user not in request.expected):
            continue
        why = "has come to the page" if user in request.expected else _why(curve, probability, policy.warm_lead_s)
        wishes.append(PersonalWish(user, probability, likely_apps(curve, policy), why))
    if not wishes:
        return (), (), 0.0
    values = np.array([w.probability * WARM_SECONDS_SAVED for w in wishes])
    costs = np.full(len(wishes), policy.ghost_memory_bytes)
    room = request.context.capacity.memory_bytes - _memory_of_active(request)
    chosen, price = choose(values, costs, room)
    ranked = sorted(zip(wishes, chosen, strict=True), key=lambda pair: (-pair[0].probability, pair[0].user))
    return tuple(w for w, yes in ranked if yes), tuple(w for w, yes in ranked if not yes), price


def pool_wish(request: PlanRequest, personal: int) -> PoolWish:
    """How many generic ghosts to hold: the newsvendor quantile of sign-ins within the time that a build takes.

    `personal` sign-ins are expected to be served by personal ghosts and are taken off the expectation.
    """
    policy = request.policy
    if policy.forecast_only:
        return PoolWish(policy.floor, f"forecast only: the floor of {policy.floor} is held")
    lead_s = request.context.build_time_s
    expected = max(0.0, request.arrivals.expected_within(request.now_s, lead_s) - personal)
    quantile = pool_target(expected, request.arrivals.dispersion, policy.target_hit_rate)
    target = min(max(policy.floor, quantile), policy.ceiling)
    return PoolWish(
        target,
        f"{expected:.2f} sign-ins expected in the {lead_s:.1f} s that a build takes: {quantile} ready ghosts serve "
        f"them {policy.target_hit_rate:.0%} of the time; floor {policy.floor}, ceiling {policy.ceiling}",
    )


def _why(curve: UsageCurve, probability: float, lead_s: float) -> str:
    habit = f": {curve.reasons[0]}" if curve.reasons else ""
    return f"{probability:.0%} likely to sign in within {lead_s / 60:.0f} min{habit}"


def _memory_of_active(request: PlanRequest) -> float:
    """Memory that claimed desktops are counted with: people come before ghosts."""
    active = sum(1 for g in request.ghosts if g.state is GhostState.ACTIVE)
    return active * request.policy.ghost_memory_bytes * 2

"""Moves the simulator's settings until what it makes has the measured figures: a random search, step by step narrower.

Simple on purpose: a run of the simulator takes a second, its figures are noisy, and near enough is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ghostdesk.replay.synthetic.checking import SIZES, allowed, synthetic_group
from ghostdesk.replay.synthetic.figures_starts import Figures
from ghostdesk.replay.synthetic.parameters import Parameters

SETTINGS: dict[str, tuple[str, ...]] = {
    "desktop-starts": ("desktop_demand", "house_level_sd", "house_level_hold", "seat_skew", "seat_loyalty",
                       "seat_left_last"),
    "people": ("start_spread_hours", "long_break_chance"),
    "apps": ("zipf", "taste", "chain_spread", "tail", "focus", "focus_spread", "steady", "recency", "recency_spread",
             "rank_spread"),
    "resources": (
        "daily_common", "hold_common",
        *(f"{what}_{name}" for what in ("daily", "hold", "common", "spread", "app_spread")
          for name in ("cpu", "memory", "network", "storage")),
    ),
}  # fmt: skip
"""Which settings move which group's figures."""
_SHARES = (
    "tail",
    "focus",
    "steady",
    "recency",
    "daily_",
    "hold_",
    "common_",
    "house_level_hold",
    "seat_loyalty",
    "seat_left_last",
    "long_break",
)
"""Beginnings of the names of settings that stay between 0 and 1."""


def misfit(measured: Mapping[str, float | list[float]], synthetic: Figures) -> float:
    """Mean squared difference of the figures that both have, each over what `checking` allows it."""
    parts = []
    for name, value in measured.items():
        other = synthetic.get(name)
        if name in SIZES or other is None or isinstance(value, list) or isinstance(other, list):
            continue
        parts.append(min(abs(other - value) / allowed(name, value), 4.0) ** 2)
    return float(np.mean(parts))


def fit(
    parameters: Parameters, group: str, rounds: int, seed: int = 0, tell: Callable[[int, float], None] | None = None
) -> Parameters:
    """The settings of one group, moved so often; the best that was found.

    Args:
        parameters: to begin with.
        group: of `SETTINGS`.
        rounds: how many settings to try.
        seed: of the search. The simulator's own is another in every round, so that no chance is fitted.
        tell: called with each round and the best misfit so far.
    """
    rng = np.random.default_rng([seed, 6])
    best = misfit(parameters.measured[group], synthetic_group(parameters, group, 1))
    for number in range(rounds):
        width = 0.5 * (1.0 - number / rounds) + 0.05
        chosen = [name for name in SETTINGS[group] if rng.random() < max(0.4, 2.0 / len(SETTINGS[group]))]
        moved = {name: _moved(name, parameters.fitted[name], width * rng.normal()) for name in chosen}
        tried = replace(parameters, fitted={**parameters.fitted, **moved})
        found = np.mean([misfit(tried.measured[group], synthetic_group(tried, group, one)) for one in (1, 2)])
        if found < best:
            best, parameters = float(found), tried
        if tell is not None:
            tell(number + 1, best)
    return parameters


def _moved(name: str, value: float, by: float) -> float:
    if name.startswith(_SHARES):
        odds = np.log(np.clip(value, 0.01, 0.99) / (1.0 - np.clip(value, 0.01, 0.99))) + 2.0 * by
        return float(np.clip(1.0 / (1.0 + np.exp(-odds)), 0.0, 0.98))
    return float(max(value, 0.02) * np.exp(by))

"""Shadow prices: the price of memory at which what is wanted just fits what there is.

Lagrangian relaxation of the 0-1 knapsack (Everett 1963, "Generalized Lagrange multiplier method"): with one price for
everyone, each wish decides for itself, so a plan for 100,000 users is a few vector operations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def shadow_price(values: Vector, costs: Vector, capacity: float, *, steps: int = 60) -> float:
    """The lowest price per unit of cost at which ``sum(costs[values > price * costs]) <= capacity``, by bisection.

    Args:
        values: what each wish is worth, shape (n,).
        costs: what each wish takes of the resource, shape (n,), all above zero.
        capacity: what there is of it; a negative capacity counts as none.
        steps: halvings; 60 brings the bracket below any double that matters.

    Returns:
        0.0 when everything with a positive value fits.
    """
    room = max(capacity, 0.0)
    if values.size == 0 or costs[values > 0].sum() <= room:
        return 0.0
    low, high = 0.0, float((values / costs).max()) * (1 + 1e-9)
    for _ in range(steps):
        middle = (low + high) / 2
        if costs[values > middle * costs].sum() <= room:
            high = middle
        else:
            low = middle
    return high


def worth_it(values: Vector, costs: Vector, price: float) -> NDArray[np.bool_]:
    """Which wishes pay at this price, shape (n,)."""
    chosen: NDArray[np.bool_] = (values > 0) & (values > price * costs)
    return chosen


def choose(values: Vector, costs: Vector, capacity: float) -> tuple[NDArray[np.bool_], float]:
    """Which wishes to grant within `capacity`, shape (n,), and the shadow price.

    Wishes that are worth exactly the price (many people who are equally likely, say) would stand or fall together; what
    room is left is given to them in the order in which they come.
    """
    price = shadow_price(values, costs, capacity)
    chosen = worth_it(values, costs, price)
    left = capacity - float(costs[chosen].sum())
    for index in np.flatnonzero(~chosen & (values > 0) & (values >= price * costs * (1 - 1e-6))):
        if costs[index] <= left:
            chosen[index] = True
            left -= float(costs[index])
    return chosen, price

"""Matrix products in pieces so small that the linear algebra library takes one thread for each.

OpenBLAS gives products of more than 262,144 multiplications to all cores and has them spin while they wait; on a busy
host, as a control plane's is, that takes ten times as long as one thread would.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.allocator.fleet.values import Floats

_MOST = 250_000


def product(left: Floats, right: Floats) -> Floats:
    """``left @ right`` for shapes (m, k) and (k, n) with many rows m."""
    rows = max(1, _MOST // max(right.size, 1))
    out = np.empty((len(left), right.shape[1]))
    for start in range(0, len(left), rows):
        np.matmul(left[start : start + rows], right, out=out[start : start + rows])
    return out


def crossed(left: Floats, right: Floats) -> Floats:
    """``left.T @ right`` for shapes (m, k) and (m, n) with many rows m."""
    rows = max(1, _MOST // max(left.shape[1] * right.shape[1], 1))
    out = np.zeros((left.shape[1], right.shape[1]))
    for start in range(0, len(left), rows):
        out += left[start : start + rows].T @ right[start : start + rows]
    return out


def weighed(cost: Floats, weight: Floats) -> Floats:
    """``cost @ weight`` for shapes (..., R) and (R,)."""
    sums: Floats = np.einsum("...r,r->...", cost, weight)
    return sums

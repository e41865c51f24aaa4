"""Every policy there is, by name. A new one is a file beside this and a line here."""

from __future__ import annotations

from ghostdesk.allocator.policies import (
    always_on,
    clairvoyant_rows,
    crowd_rows,
    greedy_dual,
    hazard_table,
    hybrid_histogram,
    keep_alive,
    static_pool,
    weekday_rule,
)
from ghostdesk.allocator.policies.seam import PolicyFamily

ROW_FAMILIES: tuple[PolicyFamily, ...] = (
    keep_alive.FAMILY,
    hybrid_histogram.FAMILY,
    weekday_rule.FAMILY,
    greedy_dual.FAMILY,
    hazard_table.FAMILY,
    crowd_rows.FAMILY,
    crowd_rows.TARGET_FAMILY,
    crowd_rows.BUDGET_FAMILY,
    always_on.FAMILY,
    clairvoyant_rows.FAMILY,
)
"""Those that hold ghosts for single rows, in the order in which tables show them."""

FAMILIES: tuple[PolicyFamily, ...] = (static_pool.FAMILY, *ROW_FAMILIES)
"""All, in the order in which tables show them."""


def families() -> dict[str, PolicyFamily]:
    """All families by name."""
    return {family.name: family for family in FAMILIES}

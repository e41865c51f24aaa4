"""Every policy there is, by name. A new one is a file beside this and a line here."""

from __future__ import annotations

from ghostdesk.allocator.policies import (
    adaptive_count,
    always_on,
    clairvoyant_rows,
    crowd_rows,
    greedy_dual,
    hazard_table,
    hour_quantile,
    hybrid_histogram,
    keep_alive,
    marginal_value,
    on_demand,
    sample_average,
    schedule,
    spare_buffer,
    static_pool,
    weekday_rule,
)
from ghostdesk.allocator.policies.seam import PolicyFamily

POOL_FAMILIES: tuple[PolicyFamily, ...] = (
    on_demand.FAMILY,
    static_pool.FAMILY,
    schedule.FAMILY,
    spare_buffer.FAMILY,
    hour_quantile.FAMILY,
    adaptive_count.FAMILY,
    sample_average.FAMILY,
    marginal_value.FAMILY,
    marginal_value.MONTHLY_FAMILY,
)
"""Those that hold ghosts for anybody, in the order in which tables show them."""

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

FAMILIES: tuple[PolicyFamily, ...] = (*POOL_FAMILIES, *ROW_FAMILIES)
"""All, in the order in which tables show them."""


def families() -> dict[str, PolicyFamily]:
    """All families by name."""
    return {family.name: family for family in FAMILIES}

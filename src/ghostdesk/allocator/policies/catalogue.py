"""Every policy there is, by name. A new one is a file beside this and a line here."""

from __future__ import annotations

from ghostdesk.allocator.policies import static_pool
from ghostdesk.allocator.policies.seam import PolicyFamily

FAMILIES: tuple[PolicyFamily, ...] = (static_pool.FAMILY,)
"""In the order in which tables show them."""


def families() -> dict[str, PolicyFamily]:
    """All families by name."""
    return {family.name: family for family in FAMILIES}

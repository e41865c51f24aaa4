"""What is kept of a person's last applications, and what it says of each candidate: bounded and without a vocabulary."""

from __future__ import annotations

from typing import Final

CANDIDATES: Final = 32
"""Length of the list of recent applications."""
STATISTICS: Final = 12
"""Statistics of a candidate."""
LIST_STATISTICS: Final = 8
"""Statistics of the whole list."""


class RecentApps:
    """The recent applications of many users side by side (to come)."""

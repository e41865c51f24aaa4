"""The hybrid histogram policy of Shahrad et al. 2020: each row is held in a window of its own idle time.

The window comes from `profiles/arrivals/hybrid_histogram.py`. A slot is held where its middle lies in the window.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.allocator.policies.expert_scores import ExpertScores
from ghostdesk.allocator.policies.row_scores import ScoredRows, Threshold
from ghostdesk.allocator.policies.seam import Floats, Policy, PolicyFamily, Setting
from ghostdesk.profiles.arrivals.hybrid_histogram import HybridHistogram, IdleHistograms
from ghostdesk.profiles.arrivals.seam import SlotBlock

_HOUR_S = 3600.0


def _policy(hours: int) -> Policy:
    range_s = hours * _HOUR_S
    expert = HybridHistogram(IdleHistograms(range_s), range_s, owner=True)

    def held(block: SlotBlock) -> Floats:
        middle_s = block.idle_s + 0.5 * block.slot_s
        window_s = expert.windows_s(block.rows)
        return ((middle_s > window_s[:, :1]) & (middle_s <= window_s[:, 1:])).astype(np.float64)

    chooser = Threshold(0.5, "hybrid-histogram", "within their usual idle times")
    return ScoredRows(ExpertScores(expert, held), chooser, f"hybrid histogram {hours} h")


def _setting(hours: int) -> Setting:
    return Setting(f"range {hours} h", lambda: _policy(hours))


FAMILY = PolicyFamily(
    "hybrid-histogram",
    "hybrid histogram",
    "Serverless in the Wild (Shahrad et al., ATC 2020, arXiv 2003.03423)",
    tuple(_setting(hours) for hours in (4, 16, 24, 48)),
)

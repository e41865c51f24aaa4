"""Ending same-page merging for the agent and all that it starts, once its desktop has an owner."""

from __future__ import annotations

import contextlib
from pathlib import Path

_PR_SET_MEMORY_MERGE = 67


def end_merging(stat: Path = Path("/proc/self/ksm_stat")) -> bool:
    """Take PR_SET_MEMORY_MERGE back, if this process has it; its merged pages come apart.

    Returns:
        Whether there was anything to end.
    """
    with contextlib.suppress(OSError):
        if "ksm_merge_any: yes" in stat.read_text():
            import ctypes  # a megabyte that few agents need

            return bool(ctypes.CDLL(None).prctl(_PR_SET_MEMORY_MERGE, 0, 0, 0, 0) == 0)
    return False

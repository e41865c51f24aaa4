"""How much page cache can be added without taking any from those who use it. Pure.

The kernel keeps the page cache on two lists: *active* (used again and again) and *inactive* (used once). New pages come
onto the inactive one, and are dropped from there first; only when that is short does it look at the active one. So what
is free, and what is inactive, may be used; what is active belongs to somebody's desktop. `MemAvailable` counts both and
is too much.
"""

from __future__ import annotations

RESERVE_SHARE, LEAST_RESERVE_BYTES = 0.05, 256e6
"""Left alone in any case: a share of the memory, and at least so much, for what starts next."""
INACTIVE_SHARE = 0.5
"""Of the inactive list: a page used once may be about to be used again."""


def room_bytes(meminfo: str, reserve_bytes: float = 0.0) -> float:
    """Bytes of page cache that may be added, from the text of /proc/meminfo (proc(5)).

    Args:
        meminfo: the file's text.
        reserve_bytes: to be left beside; never less than `RESERVE_SHARE` and `LEAST_RESERVE_BYTES`.

    Returns:
        0 or more; 0 when the text does not say.
    """
    found = {}
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal():
            found[name] = int(words[0]) * 1024
    if not {"MemTotal", "MemFree"} <= found.keys():
        return 0.0
    reserve = max(reserve_bytes, RESERVE_SHARE * found["MemTotal"], LEAST_RESERVE_BYTES)
    free = found["MemFree"] + INACTIVE_SHARE * found.get("Inactive(file)", 0)
    return max(0.0, min(free, found.get("MemAvailable", free)) - reserve)


def pressure_of(text: str) -> float:
    """Share of the last 10 s in which some task waited, from the text of /proc/pressure/memory; 0 when none is said."""
    for line in text.splitlines():
        if line.startswith("some "):
            for word in line.split():
                name, _, value = word.partition("=")
                if name == "avg10":
                    try:
                        return float(value) / 100
                    except ValueError:
                        return 0.0
    return 0.0

"""What each desktop may use now: little while it waits, more as its user comes near, all when they are here."""

from __future__ import annotations

import math
from dataclasses import replace

from ghostdesk.allocator.plan import PoolPolicy
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.resources import Priority, Resources
from ghostdesk.profiles.forecast import UsageCurve

_MARGIN = 1.25
"""Room above what is expected, so that a good forecast is not a tight limit."""
_MATERIAL = 1.2
"""Amounts that differ by less than this factor are left as they are: every change is a call to the engine."""
_GRAIN = Resources(cpu_cores=0.25, memory_bytes=256e6, gpu_share=0.05, network_bytes_per_s=1e6, storage_bytes_per_s=5e6)


def full_limits(granted: Resources, capacity: Resources) -> Resources:
    """What a claimed desktop may use: what the policy grants, never more than the host has. Zero means no limit."""
    pairs = zip(granted.as_tuple(), capacity.as_tuple(), strict=True)
    return Resources(*(min(limit, has) if limit and has else limit for limit, has in pairs))


def waiting_limits(
    policy: PoolPolicy, ghost: Ghost, curve: UsageCurve | None, full: Resources
) -> tuple[Resources, str]:
    """What a ghost that waits may use, and why.

    Everybody's ghost starts with the policy's `ghost_limits`. When its user is likely to come within `soon_s`, it may
    use what they are expected to need, so that it is not held back in the seconds before they come; never more than
    they will get. Memory that was granted is not taken back while it waits: it would have to be pushed out first.
    """
    least = policy.ghost_limits
    if curve is not None:
        chance = curve.arrival_within(curve.start_s, policy.soon_s)
        if chance >= policy.warm_threshold:
            need = curve.get_requirements_for(ghost)
            raised = (_raised(*amounts) for amounts in _together(least, need, full, _GRAIN))
            rising = _keep_memory(Resources(*raised), ghost)
            if material(rising, least):
                return rising, f"{ghost.owner} is {chance:.0%} likely to come within {policy.soon_s / 60:.0f} min"
    return _keep_memory(least, ghost), "what a ghost that waits may use"


def wanted_limits(
    policy: PoolPolicy, ghost: Ghost, curve: UsageCurve | None, full: Resources
) -> tuple[Resources, Priority, str]:
    """What a desktop should be allowed now, with which priority, and why."""
    if ghost.state is GhostState.ACTIVE:
        return full, Priority.PERSON, f"{ghost.owner} works in it: all that it may use"
    limits, why = waiting_limits(policy, ghost, curve, full)
    return limits, Priority.GHOST, why


def material(one: Resources, other: Resources) -> bool:
    """Whether two sets of limits differ enough to act on; no limit (zero) differs from any limit."""
    for a, b in zip(one.as_tuple(), other.as_tuple(), strict=True):
        low, high = sorted((a, b))
        if (low == 0.0) != (high == 0.0) or high > low * _MATERIAL:
            return True
    return False


def _together(*several: Resources) -> zip[tuple[float, ...]]:
    return zip(*(one.as_tuple() for one in several), strict=True)


def _raised(least: float, need: float, full: float, grain: float) -> float:
    if least == 0.0:
        return 0.0  # not limited at all
    amount = max(least, math.ceil(need * _MARGIN / grain) * grain if math.isfinite(need) else least)
    return min(amount, full) if full else amount


def _keep_memory(limits: Resources, ghost: Ghost) -> Resources:
    if limits.memory_bytes == 0.0:
        return limits
    return replace(limits, memory_bytes=max(limits.memory_bytes, ghost.limits.memory_bytes))

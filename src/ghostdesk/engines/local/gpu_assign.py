"""Which desktop gets which device, slice or share: pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ghostdesk.engines.local.gpu import (
    DRM,
    MIG,
    MPS,
    TIME_SLICE,
    WHOLE,
    GpuDevice,
    GpuGrant,
    GpuHolding,
    GpuInventory,
    GpuRefusal,
    GpuWish,
)

_SLACK = 1e-6
Scored = tuple[tuple[float, float, str], GpuGrant]
"""A possible grant and how little is wasted by it: the least is given."""
SMALLEST_SHARE = 0.01
"""MPS counts threads in whole percent."""


def assign(
    wish: GpuWish, inventory: GpuInventory, holdings: Sequence[GpuHolding], sharing: str = "auto"
) -> GpuGrant | GpuRefusal:
    """Choose what serves the wish, strongest guarantee first.

    A part of a device: the smallest free MIG slice that is enough; then MPS on the fullest device that has room, so
    that others stay whole (and may sleep); then time-slicing there. A whole device: the smallest that is enough.
    No device is promised beyond its whole, neither in time nor, where its size is known, in memory.

    Args:
        wish: the share of one device, and its memory.
        inventory: what there is.
        holdings: what desktops hold; those of devices that are gone do not matter.
        sharing: one of `SHARINGS`.

    Returns:
        The grant, or why there is none.
    """
    if refusal := _impossible(wish, inventory, sharing):
        return refusal
    usable = [device for device in inventory.devices if not device.problem]
    if not usable:
        first = inventory.devices[0]
        return GpuRefusal("gpu-unusable", f"No GPU can be handed out: {first.name}: {first.problem}")
    candidates = [*_whole(wish, usable, holdings)] if wish.share >= 1 - _SLACK else []
    if not candidates and wish.share < 1 - _SLACK:
        candidates = [*_slices(wish, usable, holdings)]
        if not candidates and sharing == "auto":
            candidates = [*_shares(wish, inventory, usable, holdings)]
    if candidates:
        return min(candidates, key=lambda pair: pair[0])[1]
    return _no_room(wish, usable, holdings, sharing)


def _impossible(wish: GpuWish, inventory: GpuInventory, sharing: str) -> GpuRefusal | None:
    if not (math.isfinite(wish.share) and math.isfinite(wish.memory_bytes)) or wish.share <= 0 or wish.memory_bytes < 0:
        return GpuRefusal("gpu-bad-wish", f"A share of {wish.share} of a GPU cannot be given.")
    if wish.share > 1 + _SLACK:
        return GpuRefusal("gpu-beyond-one", f"A desktop gets at most one GPU; {wish.share:g} were asked for.")
    if sharing == "off":
        return GpuRefusal("gpu-off", "GPUs are switched off by engine.gpu_sharing.")
    if not inventory.devices:
        return GpuRefusal("no-gpu", f"There is no GPU: {inventory.problem or 'none was found'}")
    return None


def _held(device: GpuDevice, holdings: Sequence[GpuHolding]) -> list[GpuGrant]:
    return [holding.grant for holding in holdings if holding.grant.key == device.key]


def _whole(wish: GpuWish, usable: Sequence[GpuDevice], holdings: Sequence[GpuHolding]) -> Iterator[Scored]:
    for device in usable:
        if device.mig or _held(device, holdings) or _too_small(wish, device.memory_bytes):
            continue
        yield (
            (0.0, device.memory_bytes, device.key),
            GpuGrant(device.key, WHOLE, 1.0, device.memory_bytes, dmem_region=device.dmem_region),
        )


def _slices(wish: GpuWish, usable: Sequence[GpuDevice], holdings: Sequence[GpuHolding]) -> Iterator[Scored]:
    for device in usable:
        taken = {grant.mig for grant in _held(device, holdings)}
        for part in device.slices if device.mig else ():
            if part.uuid in taken or part.share < wish.share - _SLACK or _too_small(wish, part.memory_bytes):
                continue
            yield (
                (part.share, part.memory_bytes, part.uuid),
                GpuGrant(device.key, MIG, part.share, part.memory_bytes, part.uuid),
            )


def _shares(
    wish: GpuWish, inventory: GpuInventory, usable: Sequence[GpuDevice], holdings: Sequence[GpuHolding]
) -> Iterator[Scored]:
    share = max(SMALLEST_SHARE, wish.share)
    for device in usable:
        held = _held(device, holdings)
        left = 1 - sum(grant.share for grant in held)
        memory = wish.memory_bytes or share * device.memory_bytes
        room = device.memory_bytes - sum(grant.memory_bytes for grant in held)
        whole = any(grant.way == WHOLE for grant in held)
        if device.mig or whole or left < share - _SLACK or (device.memory_bytes and memory > room + 1):
            continue
        if device.vendor == "nvidia" and inventory.mps is not None and inventory.mps.any_user:
            grant = GpuGrant(device.key, MPS, share, memory, mps_pipe=inventory.mps.pipe_directory)
        elif device.vendor == "nvidia":
            grant = GpuGrant(device.key, TIME_SLICE, share, memory)
        else:
            grant = GpuGrant(device.key, DRM, share, memory, dmem_region=device.dmem_region)
        yield ((float(grant.way != MPS), left, device.key), grant)


def _too_small(wish: GpuWish, memory_bytes: float) -> bool:
    """Unknown memory (0) is taken to be enough: built-in GPUs use the host's."""
    return bool(memory_bytes) and wish.memory_bytes > memory_bytes


def _no_room(wish: GpuWish, usable: Sequence[GpuDevice], holdings: Sequence[GpuHolding], sharing: str) -> GpuRefusal:
    asked = f"{wish.share:.0%} of a GPU"
    largest = max([device.memory_bytes for device in usable], default=0.0)
    if largest and wish.memory_bytes > largest and all(device.memory_bytes for device in usable):
        return GpuRefusal(
            "gpu-memory-beyond", f"{wish.memory_bytes / 2**30:.1f} GiB were asked for; no GPU has more than "
            f"{largest / 2**30:.1f} GiB."
        )  # fmt: skip
    if all(device.mig for device in usable):
        parts = [part for device in usable for part in device.slices]
        if not parts:
            return GpuRefusal(
                "gpu-mig-empty", "The GPU is in MIG mode and has no instances: make some with nvidia-smi mig -cgi."
            )
        if not [part for part in parts if part.share >= wish.share - _SLACK]:
            most = max(part.share for part in parts)
            return GpuRefusal("gpu-mig-too-small", f"{asked} was asked for; the largest MIG slice is {most:.0%}.")
    if sharing == "whole" and wish.share < 1 - _SLACK:
        return GpuRefusal("gpu-not-shared", 'Parts of a GPU are not given: engine.gpu_sharing is "whole".')
    known = {device.key for device in usable}
    count = sum(holding.grant.key in known for holding in holdings)
    return GpuRefusal("gpu-full", f"{asked} is not free: {count} desktop(s) hold the {len(usable)} GPU(s).")


def lost(inventory: GpuInventory, holdings: Sequence[GpuHolding]) -> tuple[GpuHolding, ...]:
    """The holdings whose device or slice is not there any more."""

    def there(holding: GpuHolding) -> bool:
        device = inventory.find(holding.grant.key)
        if device is None or device.problem:
            return False
        return not holding.grant.mig or any(part.uuid == holding.grant.mig for part in device.slices)

    return tuple(holding for holding in holdings if not there(holding))


def changes(before: GpuInventory, after: GpuInventory) -> tuple[str, ...]:
    """What appeared, went or changed, for people."""
    old, new = {d.key: d for d in before.devices}, {d.key: d for d in after.devices}
    told = [f"GPU {new[key].name} ({key}) appeared" for key in new if key not in old]
    told += [f"GPU {old[key].name} ({key}) is gone" for key in old if key not in new]
    for key in old.keys() & new.keys():
        if new[key].problem != old[key].problem:
            told.append(f"GPU {new[key].name} ({key}): {new[key].problem or 'works again'}")
        if (new[key].mig, new[key].slices) != (old[key].mig, old[key].slices):
            told.append(f"GPU {new[key].name} ({key}): its MIG slices changed")
    if (before.mps is None) != (after.mps is None):
        told.append("the MPS daemon " + ("ended" if after.mps is None else "runs now"))
    return tuple(sorted(told))

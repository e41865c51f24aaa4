"""NVIDIA cards through the vendor's library, NVML (docs.nvidia.com/deploy/nvml-api): only ever reading.

The library is `nvidia-ml-py` (import name pynvml), imported when first asked. Every question is asked by itself: a card
that answers some with an error keeps the answers to the others.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ghostdesk.engines.local.gpu import GpuReading

_T = TypeVar("_T")
POWER_BEYOND = 1.5
"""A card may pass its enforced limit for moments; not by more than this."""
POWER_MOST_W = 3000.0
"""More than any card draws, where the limit is unknown."""
MEMORY_MOST_BYTES = 16 * 2**40


class Nvml(Protocol):
    """What is used of pynvml; each may raise the library's own error."""

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str: ...
    def nvmlDeviceGetName(self, handle: Any) -> str: ...
    def nvmlDeviceGetPciInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMinorNumber(self, handle: Any) -> int: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMigMode(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: int) -> Any: ...
    def nvmlDeviceGetGpuInstanceId(self, device: Any) -> int: ...
    def nvmlDeviceGetComputeInstanceId(self, device: Any) -> int: ...
    def nvmlDeviceGetAttributes(self, device: Any) -> Any: ...
    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int: ...
    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any) -> int: ...
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any: ...
    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any) -> Any: ...


class NvmlUnavailable(Exception):
    """The library is not here, or finds no driver; the text says which and how to mend it."""


def load_nvml() -> Nvml:
    """The library; raises `NvmlUnavailable` when it is not installed."""
    try:
        library: Nvml = importlib.import_module("pynvml")
        return library
    except ImportError:
        raise NvmlUnavailable("nvidia-ml-py is not installed (pip install 'ghostdesk[gpu]')") from None


@dataclass(frozen=True, slots=True)
class NvmlSlice:
    """One MIG device."""

    uuid: str
    name: str
    share: float
    memory_bytes: float
    instance: int
    compute: int


@dataclass(frozen=True, slots=True)
class NvmlCard:
    """One card as the library tells it; None or 0 for what it did not tell.

    Args:
        uuid: "GPU-...".
        name: the model.
        pci: lower case, with four digits of domain.
        minor: the number in /dev/nvidiaN.
        memory_bytes: its own memory.
        mig: None when it cannot; else whether it is in MIG mode.
        slices: its MIG devices.
        problem: which questions it did not answer.
    """

    uuid: str
    name: str = ""
    pci: str = ""
    minor: int | None = None
    memory_bytes: float = 0.0
    mig: bool | None = None
    slices: tuple[NvmlSlice, ...] = ()
    problem: str = ""


class _Asker:
    """Asks, and notes what failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def __call__(self, what: str, ask: Callable[[], _T], *, optional: bool = False) -> _T | None:
        try:
            return ask()
        except Exception as error:
            if not optional:
                self.failed.append(f"{what}: {error}")
            return None

    @property
    def problem(self) -> str:
        return "; ".join(self.failed)


def _text(value: object) -> str:
    """Older versions of the library answer with bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _pci(value: object) -> str:
    """NVML's "00000000:01:00.0" as the kernel writes it."""
    domain, _, rest = _text(value).lower().partition(":")
    return f"{domain[-4:]:0>4}:{rest}" if rest else ""


def _amount(value: object, most: float) -> float | None:
    """A believable amount, 0 to `most`; None otherwise (NaN, negative, absurd, no number)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= most else None


def _handles(nvml: Nvml, ask: _Asker) -> Iterator[Any]:
    count = _amount(ask("number of cards", nvml.nvmlDeviceGetCount), 1024)
    for index in range(int(count or 0)):
        handle = ask(f"card {index}", lambda index=index: nvml.nvmlDeviceGetHandleByIndex(index))  # type: ignore[misc]
        if handle is not None:
            yield handle


def read_cards(nvml: Nvml) -> tuple[list[NvmlCard], str]:
    """Every card, and what could not be read; raises `NvmlUnavailable` when the library finds no driver."""
    _open(nvml)
    ask = _Asker()
    try:
        return [card for handle in _handles(nvml, ask) if (card := _card(nvml, handle, ask)) is not None], ask.problem
    finally:
        _Asker()("", nvml.nvmlShutdown)


def _open(nvml: Nvml) -> None:
    try:
        nvml.nvmlInit()
    except Exception as error:
        raise NvmlUnavailable(f"NVIDIA's library finds no driver ({error})") from error


def _card(nvml: Nvml, handle: Any, above: _Asker) -> NvmlCard | None:
    uuid = above("UUID", lambda: _text(nvml.nvmlDeviceGetUUID(handle)))
    if not uuid:
        return None
    ask = _Asker()
    memory = ask("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total)
    mode = ask("", lambda: nvml.nvmlDeviceGetMigMode(handle), optional=True)
    minor = ask("number", lambda: nvml.nvmlDeviceGetMinorNumber(handle))
    mig = None if mode is None else bool(mode[0])
    return NvmlCard(
        uuid,
        ask("name", lambda: _text(nvml.nvmlDeviceGetName(handle))) or "NVIDIA GPU",
        ask("PCI address", lambda: _pci(nvml.nvmlDeviceGetPciInfo(handle).busId)) or "",
        int(minor) if _amount(minor, 1024) is not None else None,  # type: ignore[arg-type]
        _amount(memory, MEMORY_MOST_BYTES) or 0.0,
        mig,
        tuple(_slices(nvml, handle, ask)) if mig else (),
        ask.problem,
    )


def _slices(nvml: Nvml, handle: Any, ask: _Asker) -> Iterator[NvmlSlice]:
    most = int(_amount(ask("MIG devices", lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)), 64) or 0)
    for index in range(most):
        part = ask(
            "",
            lambda index=index: nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index),  # type: ignore[misc]
            optional=True,
        )
        if part is None:
            continue  # no instance in this place
        uuid = ask("MIG UUID", lambda part=part: _text(nvml.nvmlDeviceGetUUID(part)))  # type: ignore[misc]
        told = ask("MIG attributes", lambda part=part: nvml.nvmlDeviceGetAttributes(part))  # type: ignore[misc]
        instance = ask("MIG instance", lambda part=part: nvml.nvmlDeviceGetGpuInstanceId(part))  # type: ignore[misc]
        compute = ask("MIG instance", lambda part=part: nvml.nvmlDeviceGetComputeInstanceId(part))  # type: ignore[misc]
        share = _amount(told.computeInstanceSliceCount, most) if told is not None else None
        if not uuid or not share or instance is None or compute is None:
            continue
        memory = ask("MIG memory", lambda part=part: nvml.nvmlDeviceGetMemoryInfo(part).total)  # type: ignore[misc]
        name = ask("", lambda part=part: _text(nvml.nvmlDeviceGetName(part)), optional=True)  # type: ignore[misc]
        yield NvmlSlice(
            uuid, name or "MIG", share / most, _amount(memory, MEMORY_MOST_BYTES) or 0.0, int(instance), int(compute)
        )


def read_now(nvml: Nvml) -> list[GpuReading]:
    """What each card does now; raises `NvmlUnavailable`. What cannot be believed is None, with the reason."""
    _open(nvml)
    above = _Asker()
    try:
        found = []
        for handle in _handles(nvml, above):
            uuid = above("UUID", lambda handle=handle: _text(nvml.nvmlDeviceGetUUID(handle)))  # type: ignore[misc]
            if uuid:
                found.append(_reading(nvml, handle, uuid))
        return found
    finally:
        _Asker()("", nvml.nvmlShutdown)


def _reading(nvml: Nvml, handle: Any, uuid: str) -> GpuReading:
    ask = _Asker()
    power = ask("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    limit = ask("", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle), optional=True)
    use = ask("use", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu, optional=True)
    memory = ask("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    pids = []
    for query in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        found = ask("", lambda query=query: list(query(handle)), optional=True)  # type: ignore[misc]
        pids += [int(process.pid) for process in found or ()]
    limit_mw = _amount(limit, 1e7)
    most_w = POWER_BEYOND * limit_mw / 1000 if limit_mw else POWER_MOST_W
    power_w = None if power is None else _amount(_scaled(power, 1e-3), most_w)
    total = _amount(memory.total, MEMORY_MOST_BYTES) if memory is not None else None
    used = None if memory is None else _amount(memory.used, total if total is not None else MEMORY_MOST_BYTES)
    share = None if use is None else _amount(_scaled(use, 1e-2), 1.0)
    for what, raw, kept in (("power", power, power_w), ("use", use, share), ("memory", memory, used)):
        if raw is not None and kept is None:
            ask.failed.append(f"{what}: {raw!r} cannot be true" if what != "memory" else "memory: cannot be true")
    return GpuReading(uuid, power_w, share, used, tuple(sorted(set(pids))), ask.problem)


def _scaled(value: object, factor: float) -> object:
    return value * factor if isinstance(value, int | float) and not isinstance(value, bool) else value

"""NVIDIA's library as a table: answers, lies and errors, under the names of pynvml."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """As the library raises it."""


@dataclass
class FakeSlice:
    uuid: str
    slices: int
    memory_bytes: int
    instance: int
    compute: int = 0


@dataclass
class FakeCard:
    """What one card answers; `errors` names the questions that it answers with an error."""

    uuid: str
    pci: str = "00000000:01:00.0"
    minor: int = 0
    memory_bytes: Any = 80 * 2**30
    used_bytes: Any = 2**30
    power_mw: Any = 71_500
    limit_mw: Any = 700_000
    use: Any = 12
    mig: bool | None = False
    slices: list[FakeSlice] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    errors: set[str] = field(default_factory=set)


class FakeNvml:
    """A host's cards; `driver` false means that the library finds none."""

    def __init__(self, *cards: FakeCard, driver: bool = True) -> None:
        self.cards = list(cards)
        self.driver = driver
        self.open = 0

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if not name.startswith("nvmlDevice"):
            return value

        def asked(*arguments: Any) -> Any:
            assert self.open > 0, "asked outside nvmlInit and nvmlShutdown"
            card = arguments[0] if arguments and isinstance(arguments[0], FakeCard) else None
            if card is not None and name in card.errors:
                raise NVMLError(f"{name} failed")
            return value(*arguments)

        return asked

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeCard:
        if "handle" in self.cards[index].errors:
            raise NVMLError("GPU is lost")
        return self.cards[index]

    def nvmlDeviceGetUUID(self, handle: Any) -> str:
        return handle.uuid

    def nvmlDeviceGetName(self, handle: Any) -> Any:
        return b"NVIDIA Test" if isinstance(handle, FakeCard) else "NVIDIA Test MIG"

    def nvmlDeviceGetPciInfo(self, handle: Any) -> Any:
        return SimpleNamespace(busId=handle.pci)

    def nvmlDeviceGetMinorNumber(self, handle: Any) -> int:
        return handle.minor

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        return SimpleNamespace(total=handle.memory_bytes, used=getattr(handle, "used_bytes", 0))

    def nvmlDeviceGetMigMode(self, handle: Any) -> Any:
        if handle.mig is None:
            raise NVMLError("Not Supported")
        return [int(handle.mig), int(handle.mig)]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: int) -> Any:
        if index >= len(device.slices):
            raise NVMLError("Not Found")
        return device.slices[index]

    def nvmlDeviceGetGpuInstanceId(self, device: Any) -> int:
        return device.instance

    def nvmlDeviceGetComputeInstanceId(self, device: Any) -> int:
        return device.compute

    def nvmlDeviceGetAttributes(self, device: Any) -> Any:
        return SimpleNamespace(computeInstanceSliceCount=device.slices, gpuInstanceSliceCount=device.slices)

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> Any:
        return handle.power_mw

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any) -> Any:
        return handle.limit_mw

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:
        return SimpleNamespace(gpu=handle.use)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any:
        return [SimpleNamespace(pid=pid) for pid in handle.pids]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any) -> Any:
        return []

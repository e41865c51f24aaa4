"""Compressed swap for a while: what benchmarks and tests of parked ghosts need on a host without swap."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ghostdesk.engines.local.memory import swap_total_bytes
from ghostdesk.kernel.errors import MissingRequirement


def _free_device(sys: Path = Path("/sys")) -> Path | None:
    """A zram device that nobody has set up; a new one where the driver can make one."""
    for device in sorted((sys / "block").glob("zram*")):
        if (device / "disksize").read_text().strip() == "0":
            return device
    with contextlib.suppress(OSError, ValueError):
        number = int((sys / "class/zram-control/hot_add").read_text())
        return sys / f"block/zram{number}"
    return None


@contextlib.contextmanager
def zram_swap(size_bytes: int, algorithm: str = "zstd", priority: int = 100) -> Iterator[Path]:
    """Swap on a zram device of `size_bytes` (uncompressed), taken down again at the end.

    Yields:
        The device's folder in /sys/block, with `mm_stat` in it.

    Raises:
        MissingRequirement: no zram here, no right to use it, or no mkswap.
    """
    device = _free_device()
    if device is None or not all(map(shutil.which, ("mkswap", "swapon", "swapoff"))):
        raise MissingRequirement("zram cannot be set up here.", "Load the zram module and install util-linux.")
    node = Path("/dev") / device.name
    try:
        _set_up(device, node, size_bytes, algorithm, priority)
        yield device
    finally:
        _take_down(device, node)


def _set_up(device: Path, node: Path, size_bytes: int, algorithm: str, priority: int) -> None:
    try:
        with contextlib.suppress(OSError):
            (device / "comp_algorithm").write_text(algorithm)
        (device / "disksize").write_text(str(size_bytes))
        subprocess.run(["mkswap", "--quiet", str(node)], check=True, capture_output=True)
        subprocess.run(["swapon", "--priority", str(priority), str(node)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingRequirement(f"zram cannot be set up here: {error}", "Run as root.") from error


def _take_down(device: Path, node: Path) -> None:
    subprocess.run(["swapoff", str(node)], check=False, capture_output=True)
    for _ in range(50):
        with contextlib.suppress(OSError):
            (device / "reset").write_text("1")
            return
        time.sleep(0.1)


def swap_is_compressed() -> bool:
    """Whether the host's swap is on zram."""
    return swap_total_bytes() > 0 and "zram" in Path("/proc/swaps").read_text()

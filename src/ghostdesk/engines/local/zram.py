"""One zram device (kernel: admin-guide/blockdev/zram.rst): finding a free one, setting it up, taking it down."""

from __future__ import annotations

import contextlib
import errno
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.resources import MIB

SYS = Path("/sys")
PREFERRED = ("zstd", "lzo-rle", "lzo", "lz4hc", "lz4")
"""Smallest first among those that are quick enough to read; docs/explanation/parking.md has the figures."""
SMALLEST_BYTES = 16 * MIB
ZRAM_PRIORITY = 100
_HEADER_AT, _UUID_AT = 1024, 1036
"""Where a swap area keeps its header, and the UUID in it (linux/swap.h, swap_header)."""


@dataclass(frozen=True, slots=True)
class ZramDevice:
    """A device that is ours.

    Args:
        name: such as "zram1".
        size_bytes: what it holds, before compression.
        algorithm: what it compresses with.
        uuid: the swap area's, by which ours is told from somebody else's under the same name.
        added: whether we had the driver make it; then it is removed in the end.
    """

    name: str
    size_bytes: int
    algorithm: str
    uuid: str
    added: bool

    @property
    def node(self) -> Path:
        """The block device."""
        return Path("/dev") / self.name


def choose_algorithm(offered: Sequence[str], wanted: str = "auto") -> str:
    """The best that the kernel offers, or the one that is wanted.

    Raises:
        MissingRequirement: the kernel has not the one that is wanted.
    """
    if wanted != "auto":
        if wanted not in offered:
            raise MissingRequirement(
                f"This kernel's zram has no {wanted}.", f'Set parking.zram_algorithm to "auto" or {", ".join(offered)}.'
            )
        return wanted
    return next((name for name in PREFERRED if name in offered), offered[0] if offered else "")


def offered_algorithms(text: str) -> list[str]:
    """The names in a `comp_algorithm` file, whose present one stands in brackets."""
    return [name.strip("[]") for name in text.split()]


def set_up_zram(size_bytes: int, algorithm: str = "auto", priority: int = ZRAM_PRIORITY, sys: Path = SYS) -> ZramDevice:
    """Make swap on a device that nobody uses.

    Raises:
        MissingRequirement: no zram, no right, or a size that the host cannot have.
    """
    if size_bytes < SMALLEST_BYTES:
        raise MissingRequirement(
            f"A zram of {size_bytes / MIB:.0f} MiB is of no use.", f"Give {SMALLEST_BYTES / MIB:.0f} MiB or more."
        )
    if missing := [name for name in ("mkswap", "swapon", "swapoff") if shutil.which(name) is None]:
        raise MissingRequirement(f"{', '.join(missing)} is not installed.", "apt-get install util-linux mount")
    for folder, added in _candidates(sys):
        device: ZramDevice | None = None
        try:
            chosen = choose_algorithm(offered_algorithms((folder / "comp_algorithm").read_text()), algorithm)
            (folder / "comp_algorithm").write_text(chosen)
            (folder / "disksize").write_text(str(size_bytes))
            device = ZramDevice(folder.name, size_bytes, chosen, str(uuid4()), added)
            make_swap(device.node, device.uuid, priority)
        except OSError as error:
            if device is not None:
                reset_zram(device, sys)
            elif added:
                _remove(folder.name, sys)
            if error.errno == errno.EBUSY and device is None:
                continue  # somebody else was quicker with this one
            raise MissingRequirement(f"zram cannot be set up here: {error}.", "Run as root.") from error
        except MissingRequirement:
            if device is not None:
                reset_zram(device, sys)
            elif added:
                _remove(folder.name, sys)
            raise
        return device
    raise MissingRequirement("There is no zram here that is free.", "modprobe zram, as root.")


def _candidates(sys: Path) -> Iterator[tuple[Path, bool]]:
    """A device that the driver makes for us; else those that nobody has set up yet."""
    with contextlib.suppress(OSError, ValueError):
        number = int((sys / "class/zram-control/hot_add").read_text())
        yield sys / f"block/zram{number}", True
    for folder in sorted((sys / "block").glob("zram*")):
        with contextlib.suppress(OSError):
            if (folder / "disksize").read_text().strip() == "0":
                yield folder, False


def make_swap(path: Path, uuid: str, priority: int) -> None:
    """mkswap and swapon; raises `MissingRequirement` with what they said."""
    for command in (
        ["mkswap", "--quiet", "--uuid", uuid, "--label", "ghostdesk", str(path)],
        ["swapon", "--priority", str(priority), str(path)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MissingRequirement(f"{command[0]} failed: {done.stderr.strip()}.", "Run as root.")


def swap_off(path: Path) -> str:
    """End swapping to it; why it failed, or an empty string."""
    done = subprocess.run(["swapoff", str(path)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 or not in_use_as_swap(path) else done.stderr.strip() or "swapoff failed"


def in_use_as_swap(path: Path) -> bool:
    """Whether /proc/swaps names it."""
    lines = Path("/proc/swaps").read_text().splitlines()[1:]
    return any(line.split()[0] == str(path) for line in lines if line.strip())


def swap_uuid(path: Path) -> str:
    """The UUID in a swap area's header; empty when it cannot be read."""
    try:
        with path.open("rb") as stream:
            stream.seek(_UUID_AT)
            raw = stream.read(16).hex()
    except OSError:
        return ""
    return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:])) if len(raw) == 32 else ""


def reset_zram(device: ZramDevice, sys: Path = SYS) -> None:
    """Give the device's memory back, and remove it if we had it made; one that is still in use stays."""
    for _ in range(50):
        try:
            (sys / "block" / device.name / "reset").write_text("1")
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.1)
            continue
        break
    if device.added:
        _remove(device.name, sys)


def _remove(name: str, sys: Path) -> None:
    for _ in range(20):
        try:
            (sys / "class/zram-control/hot_remove").write_text(name.removeprefix("zram"))
        except OSError as error:
            if error.errno == errno.EBUSY:
                time.sleep(0.05)
                continue
        return


def mm_stat(device: ZramDevice, sys: Path = SYS) -> tuple[int, int, int]:
    """Bytes stored, their size compressed, and the RAM that they take; zeros when the device is gone."""
    try:
        numbers = [int(word) for word in (sys / "block" / device.name / "mm_stat").read_text().split()]
    except (OSError, ValueError):
        return 0, 0, 0
    return numbers[0], numbers[1], numbers[2]


@contextlib.contextmanager
def zram_swap(size_bytes: int, algorithm: str = "auto", priority: int = ZRAM_PRIORITY) -> Iterator[Path]:
    """Compressed swap for a while, for benchmarks and tests.

    Yields:
        The device's folder in /sys/block, with `mm_stat` in it.

    Raises:
        MissingRequirement: no zram here, no right to use it, or no mkswap.
    """
    device = set_up_zram(size_bytes, algorithm, priority)
    try:
        yield SYS / "block" / device.name
    finally:
        swap_off(device.node)
        reset_zram(device)


def swap_is_compressed() -> bool:
    """Whether the host's swap is on zram, or some of it."""
    return "/zram" in Path("/proc/swaps").read_text()


def zram_used_bytes(sys: Path = SYS) -> int:
    """RAM that all zram devices take on the host now, compressed pages and bookkeeping (`mm_stat`)."""
    used = 0
    for path in (sys / "block").glob("zram*/mm_stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            used += int(path.read_text().split()[2])
    return used

"""A first root file system for a machine's kernel: a shell, the drivers that it needs, and where to go on.

The format is cpio's "newc" (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

import gzip
import io
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from ghostdesk.kernel.errors import MissingRequirement

DRIVERS = (
    "virtio_pci virtio_blk crc32c_generic ext4 virtio_console virtio_input evdev virtio_gpu bochs virtio_balloon "
    "virtio_net virtio-rng 9p 9pnet_virtio"
)
"""What the machines' devices and file systems need, in the order in which it is loaded."""
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


class Archive:
    """A cpio archive in memory."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._number = 0

    def folder(self, path: str) -> None:
        """An empty folder."""
        self._entry(path, stat.S_IFDIR | 0o755, b"")

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """A file."""
        self._entry(path, stat.S_IFREG | mode, content)

    def finish(self) -> bytes:
        """The archive, packed."""
        self._entry("TRAILER!!!", 0, b"")
        return gzip.compress(self._out.getvalue(), 1, mtime=0)

    def _entry(self, path: str, mode: int, content: bytes) -> None:
        self._number += 1
        name = path.encode() + b"\0"
        numbers = (self._number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        self._out.write(b"070701" + b"".join(b"%08X" % number for number in numbers) + name)
        self._pad()
        self._out.write(content)
        self._pad()

    def _pad(self) -> None:
        self._out.write(b"\0" * (-self._out.tell() % 4))


def load_order(wanted: Sequence[str], files: Mapping[str, Path]) -> list[Path]:
    """The modules' files, each after those that it depends on; what the kernel has built in is passed over.

    Args:
        wanted: names of modules.
        files: every module's file by its name, with underscores.
    """
    order: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name.replace("-", "_"))
        if path is None or path in order:
            return
        for needed in depends_of(path.read_bytes()):
            add(needed)
        order.append(path)

    for name in wanted:
        add(name)
    return order


def depends_of(module: bytes) -> list[str]:
    """Which modules this one needs first, as its own information says (modinfo(8))."""
    found = _DEPENDS.search(module)
    return [name for name in found[1].decode().split(",") if name] if found else []


def first_root(modules: Path, shell: bytes, init: bytes) -> bytes:
    """The archive that the kernel unpacks first.

    Args:
        modules: the folder of the kernel's modules.
        shell: a busybox that needs no library.
        init: the first process' script.
    """
    files = {path.name.removesuffix(".ko").replace("-", "_"): path for path in modules.rglob("*.ko")}
    if not files:
        raise MissingRequirement(f"There are no modules in {modules}.", "Give a whole kernel package.")
    archive = Archive()
    for folder in ("bin", "modules", "dev", "proc", "sys", "root"):
        archive.folder(folder)
    archive.file("bin/busybox", shell, 0o755)
    archive.file("init", init, 0o755)
    order = load_order(DRIVERS.split(), files)
    for path in order:
        archive.file(f"modules/{path.name}", path.read_bytes())
    archive.file("modules/order", "".join(f"{path.name}\n" for path in order).encode())
    return archive.finish()

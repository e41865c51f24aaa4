"""The first root file system: read with what reads cpio archives everywhere, and the order of modules."""

import gzip
import subprocess
from pathlib import Path

import pytest

from ghostdesk.engines.libvirt.guest_files import FIRST_PROCESS, guest_files
from ghostdesk.engines.libvirt.kernel_image import DRIVERS, depends_of, first_root, load_order
from ghostdesk.kernel.errors import MissingRequirement


def _module(folder: Path, name: str, depends: str = "") -> None:
    (folder / f"{name}.ko").write_bytes(b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0")


def _entries(packed: bytes) -> dict[str, tuple[int, bytes]]:
    """A reader of the "newc" format, written from its description alone."""
    raw, at, found = gzip.decompress(packed), 0, {}
    while True:
        assert raw[at : at + 6] == b"070701"
        numbers = [int(raw[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = numbers[1], numbers[6], numbers[11]
        name = raw[at + 110 : at + 110 + length - 1].decode()
        begin = at + 110 + length + (-(110 + length) % 4)
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, raw[begin : begin + size])
        at = begin + size + (-size % 4)


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    for name, depends in (("ext4", "mbcache,jbd2"), ("jbd2", ""), ("mbcache", ""), ("virtio_blk", "virtio_ring")):
        _module(tmp_path, name, depends)
    files = {path.stem.replace("-", "_"): path for path in tmp_path.glob("*.ko")}
    order = [path.stem for path in load_order(["ext4", "virtio_blk", "built_in", "jbd2"], files)]
    assert order.index("ext4") > max(order.index("jbd2"), order.index("mbcache"))
    assert sorted(order) == ["ext4", "jbd2", "mbcache", "virtio_blk"]
    assert depends_of(b"nothing") == [] and depends_of(b"\0depends=\0") == []


def test_the_archive_holds_shell_modules_and_first_process(tmp_path: Path) -> None:
    _module(tmp_path, "virtio_pci", "virtio-ring")
    _module(tmp_path, "virtio-ring")
    packed = first_root(tmp_path, b"shell", FIRST_PROCESS.read_bytes())
    assert packed == first_root(tmp_path, b"shell", FIRST_PROCESS.read_bytes()), "the same each time"
    found = _entries(packed)
    assert found["init"] == (0o100755, FIRST_PROCESS.read_bytes()) and found["bin/busybox"] == (0o100755, b"shell")
    assert found["modules/order"][1] == b"virtio-ring.ko\nvirtio_pci.ko\n"
    assert found["dev"][0] == 0o040755
    with pytest.raises(MissingRequirement, match="no modules"):
        first_root(tmp_path / "none", b"", b"")
    assert {"ext4", "9p", "virtio_gpu", "virtio_console"} <= set(DRIVERS.split())


def test_the_scripts_are_sound() -> None:
    scripts = [source for source, place, _ in guest_files() if "/vm/" in place and source.suffix == ".sh"]
    assert len(scripts) >= 7
    for script in scripts:
        assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0, script

"""Ghosts' disks: volumes in a storage pool of the host, made from the image in it. All calls block."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

from ghostdesk.engines.libvirt.capabilities import Disks
from ghostdesk.engines.libvirt.render import MachinePlan, volume_xml
from ghostdesk.kernel.errors import InsufficientCapacity, MissingRequirement

LEAST_FREE_BYTES = 512 * 1024 * 1024
"""A new machine is not begun with less free in the pool: overlays grow, and a full pool halts every machine."""


@dataclass(frozen=True, slots=True)
class Image:
    """What ghosts' disks begin as.

    Args:
        path: as the host sees it.
        disk_format: "qcow2", "raw" or "vmdk".
        size_bytes: of the disk that it is.
    """

    path: str
    disk_format: str
    size_bytes: int


def find_image(connection: Any, plan: MachinePlan) -> Image:
    """The image in its pool; raises libvirt's errors when pool or image are missing."""
    pool = open_pool(connection, plan.storage_pool)
    with contextlib.suppress(Exception):
        pool.refresh(0)  # a file that was just put there is known only then; some drivers cannot
    volume = pool.storageVolLookupByName(plan.image)
    return image_of(volume.XMLDesc(0))


def image_of(volume: str) -> Image:
    """Read a volume's XML."""
    tree = ET.fromstring(volume)  # noqa: S314 - from libvirt
    kind = tree.find("target/format")
    path = tree.findtext("target/path") or tree.findtext("key") or ""
    return Image(path, kind.get("type", "raw") if kind is not None else "raw", int(tree.findtext("capacity") or 0))


def open_pool(connection: Any, name: str) -> Any:
    """The storage pool, running; raises libvirt's errors, or `MissingRequirement` when it is stopped."""
    pool = connection.storagePoolLookupByName(name)
    if not pool.isActive():
        raise MissingRequirement(f"The storage pool {name!r} is not running.", f"virsh pool-start {name}")
    return pool


def check_room(connection: Any, plan: MachinePlan) -> None:
    """Raise `InsufficientCapacity` when the pool is nearly full."""
    available = int(open_pool(connection, plan.storage_pool).info()[3])
    if available < LEAST_FREE_BYTES:
        raise InsufficientCapacity(
            f"The storage pool {plan.storage_pool!r} has only {available / 1e6:.0f} MB left.",
            "Free space in it, or enlarge it.",
        )


def make_disk(connection: Any, plan: MachinePlan, how: Disks, name: str, image: Image) -> str:
    """Make a volume that begins as the image, and return its path; what is there of that name is replaced."""
    pool = open_pool(connection, plan.storage_pool)
    remove_disk(connection, plan, name)
    if how is Disks.OVERLAY:
        xml = volume_xml(name, image.size_bytes, "qcow2", image.path, image.disk_format)
        volume = pool.createXML(xml, 0)
    else:
        source = pool.storageVolLookupByName(plan.image)
        volume = pool.createXMLFrom(volume_xml(name, image.size_bytes, image.disk_format), source, 0)
    path: str = volume.path()
    return path


def remove_disk(connection: Any, plan: MachinePlan, name: str) -> None:
    """Remove a volume, if it is there."""
    from ghostdesk.engines.libvirt.connection import binding

    libvirt = binding()
    try:
        open_pool(connection, plan.storage_pool).storageVolLookupByName(name).delete(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in {libvirt.VIR_ERR_NO_STORAGE_VOL, libvirt.VIR_ERR_NO_STORAGE_POOL}:
            raise

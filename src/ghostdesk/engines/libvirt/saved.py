"""The head of a file that libvirt saved a machine to: read, and written anew for a copy of that machine. Pure.

Source: libvirt's src/qemu/qemu_saveimage.h, version 2 of the format: a header of 92 bytes in the host's byte order,
then `data_len` bytes with the machine's XML and a "cookie", then the machine's memory and devices as QEMU wrote them.
libvirt has a call that changes the XML of such a file, but none that gives the machine another name and id; so that a
running desktop can be copied, we write the head, and touch nothing of what follows. A file of another version is
refused, and the machine is then booted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from ghostdesk.kernel.errors import EngineError

_HEADER = struct.Struct("=16s5I56x")
HEADER_BYTES = _HEADER.size
MAGIC = b"LibvirtQemudSave"
VERSION = 2
MOST_DATA_BYTES = 4 * 1024 * 1024


class UnknownFormat(EngineError):
    """The file was not saved by a libvirt that we know, or not to its end."""


@dataclass(frozen=True, slots=True)
class SavedHead:
    """The head of a saved machine.

    Args:
        xml: the machine.
        cookie: what QEMU's driver keeps beside it; not ours.
        running: whether the machine ran when it was saved.
        compressed: how the rest is packed (0: not).
        data_bytes: length of XML and cookie with what fills up.
    """

    xml: str
    cookie: bytes
    running: int
    compressed: int
    data_bytes: int

    @property
    def memory_begins(self) -> int:
        """Where in the file the machine's memory begins."""
        return HEADER_BYTES + self.data_bytes


def head_bytes_wanted(start: bytes) -> int:
    """How much of the file to read, by its first `HEADER_BYTES`; raises `UnknownFormat`."""
    return HEADER_BYTES + _numbers(start)[1]


def read_head(start: bytes) -> SavedHead:
    """The head in the first bytes of a file; raises `UnknownFormat`."""
    _, length, running, compressed, cookie_at = _numbers(start)
    data = start[HEADER_BYTES : HEADER_BYTES + length]
    if len(data) < length:
        raise UnknownFormat("The saved machine's file ends too early.", "Remove it; it is made again.")
    xml, end, _ = data.partition(b"\0")
    cookie = data[cookie_at:].partition(b"\0")[0] if cookie_at else b""
    if not end or not xml.lstrip().startswith(b"<domain") or cookie_at > length:
        raise UnknownFormat("The saved machine's file holds no machine.", "Remove it; it is made again.")
    try:
        return SavedHead(xml.decode(), cookie, running, compressed, length)
    except UnicodeDecodeError:
        raise UnknownFormat("The saved machine's file is damaged.", "Remove it; it is made again.") from None


def write_head(head: SavedHead, xml: str) -> bytes:
    """The head of a copy with this XML; as long as the old one where that is long enough."""
    text = xml.encode() + b"\0"
    cookie = head.cookie + b"\0" if head.cookie else b""
    length = max(head.data_bytes, len(text) + len(cookie))
    data = (text + cookie).ljust(length, b"\0")
    cookie_at = len(text) if cookie else 0
    return _HEADER.pack(MAGIC, VERSION, length, head.running, head.compressed, cookie_at) + data


def paused(head: SavedHead) -> SavedHead:
    """The same, of a machine that was not running when it was saved."""
    return replace(head, running=0)


def _numbers(start: bytes) -> tuple[int, int, int, int, int]:
    if len(start) < HEADER_BYTES:
        raise UnknownFormat("The saved machine's file ends too early.", "Remove it; it is made again.")
    magic, version, length, running, compressed, cookie_at = _HEADER.unpack_from(start)
    if magic != MAGIC:
        raise UnknownFormat("The file was not saved by libvirt, or not to its end.", "Remove it; it is made again.")
    if version != VERSION or length > MOST_DATA_BYTES:
        raise UnknownFormat(
            f"libvirt saved the machine in version {version} of its format, and {VERSION} is known here.",
            "Machines are booted instead.",
        )
    return version, length, running, compressed, cookie_at

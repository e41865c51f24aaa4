"""Which pages of a file are in memory: cachestat(2) where the kernel has it (6.5), else and for ranges mincore(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import re

_SYS_CACHESTAT = 451
_PROT_READ, _MAP_SHARED = 1, 1
_MAP_FAILED = ctypes.c_void_p(-1).value
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LOWEST_BIT = bytes(value & 1 for value in range(256))
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong,
]  # fmt: skip
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


class _CacheRange(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_uint64), ("length", ctypes.c_uint64)]


class _CacheStat(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recently_evicted")]


_no_cachestat = False


def resident_ranges(descriptor: int, size_bytes: int) -> list[tuple[int, int]]:
    """The byte ranges of a regular file that are in memory, page by page; the last may end at the file's size.

    The kernel tells only of files that this process may write or owns; of others everything looks resident.
    Raises `OSError`.
    """
    return [
        (first * PAGE_BYTES, min(last * PAGE_BYTES, size_bytes))
        for first, last in _runs(_pages(descriptor, 0, size_bytes))
    ]


def resident_bytes(descriptor: int, start: int, end: int) -> int:
    """How many bytes between two places of a file are in memory, whole pages; cachestat(2) counts those that are being
    read, too. Raises `OSError`."""
    global _no_cachestat  # noqa: PLW0603 - asked once whether the kernel has it
    if end <= start:
        return 0
    if not _no_cachestat:
        span, found = _CacheRange(start, end - start), _CacheStat()
        if _libc.syscall(_SYS_CACHESTAT, descriptor, ctypes.byref(span), ctypes.byref(found), 0) == 0:
            return int(found.cache) * PAGE_BYTES
        if ctypes.get_errno() not in {errno.ENOSYS, errno.EPERM}:
            _raise()
        _no_cachestat = ctypes.get_errno() == errno.ENOSYS
    begin = start // PAGE_BYTES * PAGE_BYTES
    return sum(byte & 1 for byte in _pages(descriptor, begin, end - begin)) * PAGE_BYTES


def _pages(descriptor: int, offset: int, length: int) -> bytes:
    """One byte a page, its lowest bit set where the page is in memory (mincore(2))."""
    if length <= 0:
        return b""
    address = _libc.mmap(None, length, _PROT_READ, _MAP_SHARED, descriptor, offset)
    if address == _MAP_FAILED:
        _raise()
    try:
        vector = ctypes.create_string_buffer(-(-length // PAGE_BYTES))
        if _libc.mincore(address, length, vector) != 0:
            _raise()
        return vector.raw
    finally:
        _libc.munmap(address, length)


def _runs(pages: bytes) -> list[tuple[int, int]]:
    """First page and the page after the last of every run of pages that are in memory."""
    return [found.span() for found in re.finditer(rb"\x01+", pages.translate(_LOWEST_BIT))]


def _raise() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))

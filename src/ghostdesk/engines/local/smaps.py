"""What /proc/PID/smaps says of each mapping (proc(5)); pure. Private pages of files count as anonymous once written."""

from __future__ import annotations

import re
from dataclasses import dataclass

KIB = 1024


@dataclass(frozen=True, slots=True)
class Area:
    """One mapping of a process.

    Args:
        start: its first address.
        length_bytes: how long it is.
        private: whether what is written there is the process's own.
        readable: whether it may be read.
        resident_bytes: what of it is in RAM, whoever else maps it.
        pss_bytes: the same, with pages that several processes map shared out among them.
        anonymous_bytes: what is in RAM and has no file to go back to.
        swap_bytes: what is in swap.
        shmem: whether it is shared memory (tmpfs, System V or memfd), which goes to swap too.
    """

    start: int
    length_bytes: int
    private: bool
    readable: bool
    resident_bytes: int = 0
    pss_bytes: int = 0
    anonymous_bytes: int = 0
    swap_bytes: int = 0
    shmem: bool = False


_SHMEM_NAMES = ("/SYSV", "/memfd:", "/dev/shm/", "/dev/zero (deleted)")  # noqa: S108 - names, nothing is opened
_KERNELS_OWN = frozenset({"[vvar]", "[vdso]", "[vsyscall]", "[vvar_vclock]", "[uprobes]"})
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) [0-9a-f]+ \S+ \d+ *(.*)")


def parse_smaps(text: str) -> list[Area]:
    """Every mapping but the kernel's own; what is not understood is passed over."""
    # By its last line, since a desktop has thousands of mappings of two dozen lines each, and this is on the way to a
    # person's first frame.
    areas = []
    for block in text.split("VmFlags:"):
        head = _HEAD.search(block)
        if head is None or head[4] in _KERNELS_OWN:
            continue
        start, length = int(head[1], 16), int(head[2], 16) - int(head[1], 16)
        if length <= 0:
            continue
        private, swap_bytes = head[3][3] == "p", _amount(block, "\nSwap:")
        areas.append(
            Area(
                start,
                length,
                private,
                head[3][0] == "r",
                _amount(block, "\nRss:"),
                _amount(block, "\nPss:"),
                _amount(block, "\nAnonymous:"),
                swap_bytes,
                not private and (head[4].startswith(_SHMEM_NAMES) or swap_bytes > 0),
            )
        )
    return areas


def _amount(block: str, name: str) -> int:
    at = block.find(name)
    if at < 0:
        return 0
    value = block[at + len(name) : block.find("\n", at + 1)].split()
    return int(value[0]) * KIB if value and value[0].isdecimal() else 0

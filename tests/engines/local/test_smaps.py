"""Mappings are read out of /proc/PID/smaps, the process's own included."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local.memory import areas_of, to_page_out
from ghostdesk.engines.local.smaps import Area, parse_smaps

LINES = """\
55d0c0a00000-55d0c0a02000 r--p 00000000 08:02 173521                     /usr/bin/dbus daemon
Size:                  8 kB
Rss:                   8 kB
Pss:                   4 kB
Pss_Dirty:             0 kB
Anonymous:             0 kB
Swap:                  0 kB
SwapPss:               0 kB
VmFlags: rd mr mw me sd
55d0c0a02000-55d0c0a04000 rw-p 00002000 08:02 173521                     /usr/bin/dbus daemon
Rss:                   4 kB
Pss:                   4 kB
Anonymous:             4 kB
Swap:                  4 kB
VmFlags: rd wr mr mw me ac sd
7f0000000000-7f0000100000 rw-s 00000000 00:01 32770                      /SYSV00000000 (deleted)
Rss:                1024 kB
Pss:                 512 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd wr sh mr mw me ms sd
7ffc5d9f2000-7ffc5d9f4000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   8 kB
VmFlags: rd ex mr mw me de sd
"""


def test_each_mapping_with_what_it_holds() -> None:
    file, written, shared = parse_smaps(LINES)
    assert file == Area(0x55D0C0A00000, 0x2000, True, True, 8192, 4096)
    assert written == Area(0x55D0C0A02000, 0x2000, True, True, 4096, 4096, 4096, 4096)
    assert shared.shmem and not shared.private


def test_files_that_nobody_wrote_to_are_never_paged_out() -> None:
    assert to_page_out(parse_smaps(LINES)) == [(0x55D0C0A02000, 0x2000), (0x7F0000000000, 0x100000)]


def test_our_own_adds_up_to_what_the_kernel_sums() -> None:
    areas = areas_of(os.getpid())
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    resident = next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Rss:"))
    assert abs(sum(area.resident_bytes for area in areas) - resident) < max(1 << 20, 0.05 * resident)


def test_of_nobody_there_is_none() -> None:
    assert areas_of(2**22 - 1) == []


amounts = st.integers(0, 1 << 30)
areas = st.builds(
    Area,
    st.integers(0, 1 << 46).map(lambda page: page * 4096),
    st.integers(1, 1 << 20).map(lambda pages: pages * 4096),
    st.booleans(),
    st.booleans(),
    *[amounts.map(lambda kib: kib * 1024)] * 4,
)


@given(st.lists(areas, max_size=6))
def test_what_is_written_is_read(wanted: list[Area]) -> None:
    text = "".join(
        f"{a.start:x}-{a.start + a.length_bytes:x} "
        f"{'r' if a.readable else '-'}--{'p' if a.private else 's'} 0 00:00 0\n"
        f"Rss: {a.resident_bytes // 1024} kB\nPss: {a.pss_bytes // 1024} kB\n"
        f"Anonymous: {a.anonymous_bytes // 1024} kB\nSwap: {a.swap_bytes // 1024} kB\nVmFlags: rd\n"
        for a in wanted
    )
    found = parse_smaps(text)
    assert [(a.start, a.length_bytes, a.private, a.swap_bytes) for a in found] == [
        (a.start, a.length_bytes, a.private, a.swap_bytes) for a in wanted
    ]
    assert [(a.resident_bytes, a.pss_bytes, a.anonymous_bytes, a.readable) for a in found] == [
        (a.resident_bytes, a.pss_bytes, a.anonymous_bytes, a.readable) for a in wanted
    ]


@given(st.text(alphabet="0123456789abcdef-rwxps :/\nVmFlagsRWkB[]", max_size=300))
def test_nonsense_raises_nothing(text: str) -> None:
    parse_smaps(text)

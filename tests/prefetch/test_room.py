"""How much page cache may be added before somebody else's would have to go."""

from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.prefetch.room import LEAST_RESERVE_BYTES, pressure_of, room_bytes

GIB = 1024**3


def meminfo(total: int, free: int, active: int, inactive: int, available: int) -> str:
    rows = {"MemTotal": total, "MemFree": free, "MemAvailable": available, "Active(file)": active}
    rows["Inactive(file)"] = inactive
    return "".join(f"{name + ':':<16}{value // 1024:>10} kB\n" for name, value in rows.items()) + "HugePages_Total: 0\n"


def test_active_pages_are_no_room() -> None:
    assert room_bytes(meminfo(16 * GIB, 1 * GIB, 10 * GIB, 0, 11 * GIB)) == GIB - 0.05 * 16 * GIB
    with_inactive = room_bytes(meminfo(16 * GIB, 1 * GIB, 2 * GIB, 8 * GIB, 11 * GIB))
    assert with_inactive == 5 * GIB - 0.05 * 16 * GIB
    assert room_bytes(meminfo(GIB, GIB, 0, 0, GIB)) == GIB - LEAST_RESERVE_BYTES
    assert room_bytes(meminfo(16 * GIB, 4 * GIB, 0, 0, 4 * GIB), reserve_bytes=4 * GIB) == 0


@given(*[st.integers(0, 64) for _ in range(5)], st.floats(0, 1e12))
def test_room_is_never_negative_nor_more_than_is_available(
    total: int, free: int, active: int, inactive: int, available: int, reserve_bytes: float
) -> None:
    found = room_bytes(meminfo(*(n * GIB for n in (total, free, active, inactive, available))), reserve_bytes)
    assert 0 <= found <= available * GIB


@given(st.text())
def test_rubbish_gives_no_room_and_no_pressure(text: str) -> None:
    assert room_bytes(text) >= 0
    assert pressure_of(text) >= 0 or text


def test_pressure_is_the_share_of_ten_seconds() -> None:
    text = "some avg10=12.50 avg60=1.00 avg300=0.10 total=1\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=1\n"
    assert pressure_of(text) == 0.125
    assert pressure_of("some avg10=x\n") == 0.0
    assert pressure_of("") == 0.0

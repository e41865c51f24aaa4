import asyncio
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.bench import rfb_wire as wire
from ghostdesk.bench.rfb_screen import Patch, Screen, shake_hands
from ghostdesk.bench.rfb_wire import RfbError


def rect(x: int, y: int, width: int, height: int, encoding: int, content: bytes = b"") -> bytes:
    return struct.pack(">HHHHi", x, y, width, height, encoding) + content


def update(*rects: bytes) -> bytes:
    return struct.pack(">BxH", 0, len(rects)) + b"".join(rects)


async def fed(data: bytes, width: int = 20, height: int = 10) -> tuple[Screen, list[tuple[Patch, ...] | None]]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    screen, messages = Screen(reader, width, height), []
    while not reader.at_eof():
        messages.append(await screen.read_message())
    return screen, messages


async def test_raw_pixels_land_where_they_belong_without_the_unused_byte() -> None:
    pixels = struct.pack("<4I", 0xFF112233, 0x00445566, 0xAA000001, 0x00FFFFFF)
    screen, messages = await fed(update(rect(3, 4, 2, 2, wire.RAW, pixels)))
    assert screen.pixels[4:6, 3:5].tolist() == [[0x112233, 0x445566], [0x000001, 0xFFFFFF]]
    assert messages[0] is not None and (messages[0][0].x, messages[0][0].y) == (3, 4)
    assert np.count_nonzero(screen.pixels) == 4


async def test_copy_rect_may_overlap_itself() -> None:
    row = struct.pack("<4I", 1, 2, 3, 4)
    screen, _ = await fed(
        update(rect(0, 0, 4, 1, wire.RAW, row), rect(1, 0, 4, 1, wire.COPY_RECT, struct.pack(">HH", 0, 0)))
    )
    assert screen.pixels[0, :5].tolist() == [1, 1, 2, 3, 4]


async def test_resizes_keep_what_still_fits() -> None:
    row = struct.pack("<4I", 1, 2, 3, 4)
    layout = struct.pack(">BxxxIHHHHI", 1, 77, 0, 0, 2, 12, 5)
    screen, _ = await fed(
        update(rect(0, 0, 4, 1, wire.RAW, row), rect(0, 0, 2, 12, wire.EXTENDED_DESKTOP_SIZE, layout))
        + update(rect(0, 0, 6, 6, wire.DESKTOP_SIZE))
    )
    assert screen.size == (6, 6)
    assert screen.pixels[0].tolist() == [1, 2, 0, 0, 0, 0]
    assert (screen.screen_id, screen.screen_flags, screen.resizable) == (77, 5, True)


async def test_a_refused_resize_changes_nothing() -> None:
    screen, _ = await fed(update(rect(1, 3, 900, 900, wire.EXTENDED_DESKTOP_SIZE, struct.pack(">Bxxx", 0))))
    assert screen.size == (20, 10)
    assert screen.refused_resizes == 1


async def test_cursor_bell_colours_and_cut_text_are_read_over() -> None:
    cursor = rect(0, 0, 9, 2, wire.CURSOR, bytes(9 * 2 * 4 + 2 * 2))
    data = b"\x02" + struct.pack(">BxHH", 1, 0, 2) + bytes(12) + struct.pack(">BxxxI", 3, 5) + b"hello" + update(cursor)
    screen, messages = await fed(data)
    assert messages == [None, None, None, ()]
    assert not screen.pixels.any()


@pytest.mark.parametrize(
    "data",
    [
        update(rect(15, 0, 6, 1, wire.RAW)),
        update(rect(0, 0, 4, 4, wire.COPY_RECT, struct.pack(">HH", 18, 0))),
        update(rect(0, 0, 65535, 65535, wire.DESKTOP_SIZE)),
        update(rect(0, 0, 0, 5, wire.DESKTOP_SIZE)),
        update(rect(0, 0, 60000, 60000, wire.CURSOR)),
        update(rect(0, 0, 1, 1, 7)),
        struct.pack(">BxxxI", 3, 0xFFFFFFFF),
        b"\xff",
    ],
    ids=["outside", "copy-outside", "huge", "empty", "cursor", "encoding", "text", "message"],
)
async def test_hostile_messages_are_refused(data: bytes) -> None:
    with pytest.raises(RfbError):
        await fed(data)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([0, 1, 2, 3]).map(lambda k: bytes([k])))))
def test_any_bytes_give_a_picture_or_a_clear_error_in_bounded_memory(parts: list[bytes]) -> None:
    tracemalloc.start()
    try:
        asyncio.run(fed(b"".join(parts)))
    except (RfbError, asyncio.IncompleteReadError):
        pass
    finally:
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 3 * 4 * wire.MAX_PIXELS


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFF),
            st.sampled_from([*wire.ENCODINGS, 5, 16]),
            st.binary(max_size=64),
        ),
        max_size=4,
    )
)
def test_any_rectangles_give_a_picture_or_a_clear_error(rects: list[tuple[int, int, int, int, int, bytes]]) -> None:
    try:
        screen, _ = asyncio.run(fed(update(*(rect(*each) for each in rects))))
    except (RfbError, asyncio.IncompleteReadError):
        return
    assert screen.size[0] * screen.size[1] <= wire.MAX_PIXELS


class FakeWriter:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


async def greeted(data: bytes) -> tuple[Screen, str, bytes]:
    reader, writer = asyncio.StreamReader(), FakeWriter()
    reader.feed_data(data)
    reader.feed_eof()
    screen, name = await shake_hands(reader, writer)
    return screen, name, writer.data


SERVER_INIT = struct.pack(">HH16xI", 640, 480, 5) + b"ghost"


async def test_the_handshake_chooses_no_security_and_shares() -> None:
    screen, name, sent = await greeted(wire.VERSION + b"\x02\x02\x01" + bytes(4) + SERVER_INIT)
    assert (screen.size, name) == ((640, 480), "ghost")
    assert sent.startswith(wire.VERSION + b"\x01\x01" + wire.set_pixel_format())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.1 200", "does not speak"),
        (wire.VERSION + b"\x01\x02", "password"),
        (wire.VERSION + b"\x00" + struct.pack(">I", 4) + b"busy", "busy"),
        (wire.VERSION + b"\x01\x01" + struct.pack(">II", 1, 2) + b"no", "no"),
        (wire.VERSION + b"\x01\x01" + bytes(4) + struct.pack(">HH16xI", 640, 480, 1 << 31), "text of"),
        (wire.VERSION + b"\x01\x01" + bytes(4) + struct.pack(">HH16xI", 0xFFFF, 0xFFFF, 0), "screen of"),
    ],
)
async def test_a_handshake_that_fails_says_why(data: bytes, message: str) -> None:
    with pytest.raises(RfbError, match=message):
        await greeted(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_any_greeting_ends_in_a_screen_or_a_clear_error(data: bytes) -> None:
    for prefix in (b"", wire.VERSION, wire.VERSION + b"\x01\x01" + bytes(4)):
        try:
            asyncio.run(greeted(prefix + data))
        except (RfbError, asyncio.IncompleteReadError):
            continue

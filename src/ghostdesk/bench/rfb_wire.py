"""The bytes of RFB 3.8 (RFC 6143) that an observer needs, as pure functions. Integers on the wire are big-endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ghostdesk.kernel.errors import GhostdeskError

VERSION = b"RFB 003.008\n"
SECURITY_NONE = 1
MAX_PIXELS = 4096 * 4096
"""A framebuffer larger than this (64 MiB) is refused: the size comes from the other side."""
MAX_SIDE_PX = 16_384
MAX_TEXT_BYTES = 1024 * 1024
"""Names, reasons and cut texts longer than this are refused."""
MAX_CURSOR_SIDE_PX = 512

RAW, COPY_RECT = 0, 1
CURSOR, DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE = -239, -223, -308
ENCODINGS = (COPY_RECT, RAW, CURSOR, DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE)
"""The cursor's shape is asked for so that the server does not paint it into the picture; it is thrown away."""

FRAMEBUFFER_UPDATE, COLOUR_MAP, BELL, CUT_TEXT = 0, 1, 2, 3

LEFT_BUTTON, MIDDLE_BUTTON, RIGHT_BUTTON = 1, 2, 4


class RfbError(GhostdeskError):
    """The desktop's RFB connection broke, or what came over it is not RFB."""

    code = "rfb"


@dataclass(frozen=True, slots=True)
class RectHeader:
    """The head of one rectangle of an update, in pixels; pseudo-encodings use the fields for other things."""

    x: int
    y: int
    width: int
    height: int
    encoding: int


def parse_rect_header(data: bytes) -> RectHeader:
    """Parse the 12 bytes before a rectangle's content."""
    return RectHeader(*struct.unpack(">HHHHi", data))


def check_size(width: int, height: int) -> None:
    """Raise `RfbError` for a framebuffer that is empty or larger than `MAX_PIXELS`."""
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX) or width * height > MAX_PIXELS:
        raise RfbError(f"The server has a screen of {width}x{height} pixels.", f"At most {MAX_PIXELS} are observed.")


def check_inside(rect: RectHeader, width: int, height: int) -> None:
    """Raise `RfbError` for a rectangle that reaches outside the framebuffer."""
    if rect.x + rect.width > width or rect.y + rect.height > height:
        raise RfbError(
            f"The server sent a rectangle {rect.width}x{rect.height}+{rect.x}+{rect.y} "
            f"outside its screen of {width}x{height}."
        )


def check_text(length: int) -> None:
    """Raise `RfbError` for a text longer than `MAX_TEXT_BYTES`."""
    if length > MAX_TEXT_BYTES:
        raise RfbError(f"The server announced a text of {length} bytes; at most {MAX_TEXT_BYTES} are read.")


def set_pixel_format() -> bytes:
    """Ask for 32 bits a pixel, 0x00RRGGBB, little-endian."""
    return struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


def set_encodings(encodings: tuple[int, ...] = ENCODINGS) -> bytes:
    """Say which encodings are understood."""
    return struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings)


def update_request(width: int, height: int, *, incremental: bool) -> bytes:
    """Ask for the whole screen, or for what has changed."""
    return struct.pack(">BBHHHH", 3, incremental, 0, 0, width, height)


def key_event(keysym: int, *, down: bool) -> bytes:
    """A key, by its X keysym, goes down or up."""
    return struct.pack(">BBxxI", 4, down, keysym)


def pointer_event(x: int, y: int, buttons: int) -> bytes:
    """The pointer is at x, y (pixels) with these buttons held (bit mask)."""
    return struct.pack(">BBHH", 5, buttons, x, y)


def set_desktop_size(width: int, height: int, screen: int, flags: int) -> bytes:
    """Ask for another screen size, as one screen with the id and flags that the server gave."""
    return struct.pack(">BxHHBxIHHHHI", 251, width, height, 1, screen, 0, 0, width, height, flags)

"""The picture that an RFB server sends, rebuilt from its bytes: bounded in memory, whatever the bytes say."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostdesk.bench import rfb_wire as wire
from ghostdesk.bench.rfb_wire import RfbError

Pixels = NDArray[np.uint32]
"""Pixels as 0x00RRGGBB, shape (height, width)."""

_BAND_BYTES = 256 * 1024
_RGB = np.uint32(0x00FFFFFF)


@dataclass(frozen=True, slots=True)
class Patch:
    """New pixels at x, y (pixels from the top left)."""

    x: int
    y: int
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Update:
    """One framebuffer update; `time_s` is when its last byte had been read, on the observer's monotonic clock."""

    time_s: float
    patches: tuple[Patch, ...]

    @property
    def area_px(self) -> int:
        """Pixels sent, counted as often as they were sent."""
        return sum(patch.pixels.size for patch in self.patches)


class Screen:
    """A framebuffer fed from the bytes of a server: bounded in memory whatever the bytes say.

    Args:
        reader: what the server sends, from the ServerInit message's end on.
        width, height: pixels.
    """

    def __init__(self, reader: asyncio.StreamReader, width: int, height: int) -> None:
        wire.check_size(width, height)
        self._reader = reader
        self.pixels: Pixels = np.zeros((height, width), np.uint32)
        self.screen_id, self.screen_flags = 0, 0
        self.resizable = False
        self.refused_resizes = 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    async def read_message(self) -> tuple[Patch, ...] | None:
        """Read one message; patches when it was an update. Raises `RfbError`, or `IncompleteReadError` at the end."""
        kind = (await self._reader.readexactly(1))[0]
        if kind == wire.FRAMEBUFFER_UPDATE:
            return await self._read_update()
        if kind == wire.COLOUR_MAP:
            _, count = struct.unpack(">xHH", await self._reader.readexactly(5))
            await self._skip(6 * count)
        elif kind == wire.CUT_TEXT:
            (length,) = struct.unpack(">xxxI", await self._reader.readexactly(7))
            wire.check_text(length)
            await self._skip(length)
        elif kind != wire.BELL:
            raise RfbError(f"The server sent a message of unknown type {kind}.")
        return None

    async def _read_update(self) -> tuple[Patch, ...]:
        (count,) = struct.unpack(">xH", await self._reader.readexactly(3))
        patches = []
        for _ in range(count):
            patch = await self._read_rect(wire.parse_rect_header(await self._reader.readexactly(12)))
            if patch is not None:
                patches.append(patch)
        return tuple(patches)

    async def _read_rect(self, rect: wire.RectHeader) -> Patch | None:
        if rect.encoding == wire.RAW:
            return await self._read_raw(rect)
        if rect.encoding == wire.COPY_RECT:
            return await self._read_copy(rect)
        if rect.encoding == wire.CURSOR:
            if max(rect.width, rect.height) > wire.MAX_CURSOR_SIDE_PX:
                raise RfbError(f"The server sent a cursor of {rect.width}x{rect.height} pixels.")
            await self._skip(rect.height * (4 * rect.width + (rect.width + 7) // 8))
        elif rect.encoding == wire.DESKTOP_SIZE:
            self._resize(rect.width, rect.height)
        elif rect.encoding == wire.EXTENDED_DESKTOP_SIZE:
            await self._read_screens(rect)
        else:
            raise RfbError(f"The server used encoding {rect.encoding}, which was not asked for.")
        return None

    async def _read_raw(self, rect: wire.RectHeader) -> Patch | None:
        wire.check_inside(rect, *self.size)
        if not rect.width or not rect.height:
            return None
        rows = max(1, _BAND_BYTES // (4 * rect.width))
        target = self._region(rect)
        for top in range(0, rect.height, rows):
            part = target[top : top + rows]
            data = await self._reader.readexactly(4 * part.size)
            np.bitwise_and(np.frombuffer(data, "<u4").reshape(part.shape), _RGB, out=part)
        return Patch(rect.x, rect.y, target)

    async def _read_copy(self, rect: wire.RectHeader) -> Patch | None:
        x, y = struct.unpack(">HH", await self._reader.readexactly(4))
        source = wire.RectHeader(x, y, rect.width, rect.height, rect.encoding)
        for each in (rect, source):
            wire.check_inside(each, *self.size)
        if not rect.width or not rect.height:
            return None
        target = self._region(rect)
        target[...] = self._region(source).copy()
        return Patch(rect.x, rect.y, target)

    async def _read_screens(self, rect: wire.RectHeader) -> None:
        (count,) = struct.unpack(">Bxxx", await self._reader.readexactly(4))
        for index in range(count):
            screen, _, _, _, _, flags = struct.unpack(">IHHHHI", await self._reader.readexactly(16))
            if index == 0:
                self.screen_id, self.screen_flags = screen, flags
        self.resizable = True
        if rect.x == 1 and rect.y != 0:
            self.refused_resizes += 1
            return
        self._resize(rect.width, rect.height)

    def _resize(self, width: int, height: int) -> None:
        wire.check_size(width, height)
        if (width, height) == self.size:
            return
        old, self.pixels = self.pixels, np.zeros((height, width), np.uint32)
        h, w = min(height, old.shape[0]), min(width, old.shape[1])
        self.pixels[:h, :w] = old[:h, :w]

    def _region(self, rect: wire.RectHeader) -> Pixels:
        return self.pixels[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]

    async def _skip(self, length: int) -> None:
        while length > 0:
            length -= len(await self._reader.readexactly(min(length, _BAND_BYTES)))


async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[Screen, str]:
    """RFB 3.8 with no security, shared; gives the screen and the desktop's name. Raises `RfbError`."""
    version = await reader.readexactly(12)
    if version != wire.VERSION:
        raise RfbError(f"The socket does not speak RFB 3.8 but {version!r}.")
    writer.write(wire.VERSION)
    kinds = await reader.readexactly((await reader.readexactly(1))[0])
    if wire.SECURITY_NONE not in kinds:
        reason = await _read_text(reader) if not kinds else ""
        raise RfbError(f"The server wants a password or refuses. {reason}".strip())
    writer.write(bytes([wire.SECURITY_NONE]))
    if (await reader.readexactly(4)) != bytes(4):
        raise RfbError(f"The server refuses: {await _read_text(reader)}")
    writer.write(b"\x01")
    width, height = struct.unpack(">HH16x", await reader.readexactly(20))
    name = await _read_text(reader)
    screen = Screen(reader, width, height)
    writer.write(wire.set_pixel_format() + wire.set_encodings())
    return screen, name


async def _read_text(reader: asyncio.StreamReader) -> str:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    wire.check_text(length)
    return (await reader.readexactly(length)).decode("utf-8", "replace")

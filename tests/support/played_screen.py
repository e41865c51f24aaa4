"""A screen that speaks RFB 3.8 (rfc6143) and shows what a test wants: painted or never, deaf to keys or not."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

_WIDTH, _HEIGHT = 120, 90
_SIZES = {0: 20, 3: 10, 4: 8, 5: 6}
"""Bytes of the messages that have a fixed length, by type."""
_KEY = 4


@dataclass
class PlayedScreen:
    """Serves on a unix socket at `path`.

    Args:
        painted: whether more than one colour is ever shown.
        hears: whether a key changes what is shown.
    """

    path: Path
    painted: bool = True
    hears: bool = True
    _shade: int = 0
    _server: asyncio.Server | None = None
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def __aenter__(self) -> PlayedScreen:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            writer.write(b"RFB 003.008\n")
            await reader.readexactly(12)
            writer.write(b"\x01\x01")
            await reader.readexactly(1)
            writer.write(b"\0\0\0\0")
            await reader.readexactly(1)
            form = struct.pack(">BBBBHHHBBBxxx", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
            writer.write(struct.pack(">HH", _WIDTH, _HEIGHT) + form + struct.pack(">I", 4) + b"play")
            while True:
                await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = (await reader.readexactly(1))[0]
        if kind == 2:
            (count,) = struct.unpack(">xH", await reader.readexactly(3))
            await reader.readexactly(4 * count)
            return
        body = await reader.readexactly(_SIZES[kind] - 1)
        if kind == _KEY and self.hears and body[0]:
            self._shade += 1
            self._show(writer)
        elif kind == 3 and not body[0]:
            self._show(writer)

    def _show(self, writer: asyncio.StreamWriter) -> None:
        line = struct.pack("<I", 0x20 + self._shade) * _WIDTH
        other = struct.pack("<I", 0x80 + self._shade) * _WIDTH if self.painted else line
        pixels = (line + other) * (_HEIGHT // 2)
        writer.write(struct.pack(">BxHHHHHi", 0, 1, 0, 0, _WIDTH, _HEIGHT, 0) + pixels)

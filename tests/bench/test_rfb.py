import asyncio
import shutil
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from ghostdesk.bench import rfb_wire as wire
from ghostdesk.bench.rfb import Recording, RfbClient
from ghostdesk.bench.rfb_screen import Patch
from ghostdesk.bench.rfb_wire import RfbError


class FakeServer:
    """Speaks RFB over a unix socket: sends what it is told, keeps what it hears."""

    def __init__(self, width: int = 32, height: int = 16) -> None:
        self.width, self.height = width, height
        self.heard = b""
        self.writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        writer.write(wire.VERSION + b"\x01\x01" + bytes(4) + struct.pack(">HH16xI", self.width, self.height, 0))
        self.draw(0, 0, np.zeros((self.height, self.width), np.uint32))
        while data := await reader.read(4096):
            self.heard += data
        writer.close()

    def draw(self, x: int, y: int, pixels: np.ndarray) -> None:
        assert self.writer is not None
        height, width = pixels.shape
        head = struct.pack(">BxHHHHHi", 0, 1, x, y, width, height, wire.RAW)
        self.writer.write(head + pixels.astype("<u4").tobytes())


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[FakeServer, RfbClient]]:
    fake = FakeServer()
    server = await asyncio.start_unix_server(fake.serve, folder / "rfb")
    try:
        async with await RfbClient.connect(str(folder / "rfb")) as client:
            yield fake, client
    finally:
        server.close()
        await server.wait_closed()


async def test_updates_are_recorded_with_rising_times_and_own_pixels(tmp_path: Path) -> None:
    async with watched(tmp_path) as (fake, client):
        recording = client.record()
        for value in (1, 2, 3):
            fake.draw(2, 3, np.full((4, 5), value, np.uint32))
        assert await client.wait_until(lambda: len(recording.updates) == 3, 5.0)
        times = [update.time_s for update in recording.updates]
        assert times == sorted(times)
        assert [int(update.patches[0].pixels[0, 0]) for update in recording.updates] == [1, 2, 3]
        assert client.picture()[3:7, 2:7].tolist() == [[3] * 5] * 4
        assert not recording.before.any()


async def test_keys_and_pointer_reach_the_server_and_updates_are_asked_for_again(tmp_path: Path) -> None:
    async with watched(tmp_path) as (fake, client):
        client.press(0xFFE9, ord("f"))
        client.point(7, 8, wire.LEFT_BUTTON)
        chord = b"".join(
            wire.key_event(key, down=down)
            for key, down in ((0xFFE9, True), (ord("f"), True), (ord("f"), False), (0xFFE9, False))
        )
        wanted = (chord + wire.pointer_event(7, 8, 1), wire.update_request(32, 16, incremental=True))
        for _ in range(200):
            if all(part in fake.heard for part in wanted):
                break
            await asyncio.sleep(0.01)
        assert all(part in fake.heard for part in wanted)


async def test_a_server_that_goes_away_is_an_error_for_who_waits(tmp_path: Path) -> None:
    async with watched(tmp_path) as (fake, client):
        assert fake.writer is not None
        fake.writer.close()
        with pytest.raises(RfbError, match="closed"):
            await client.wait_until(lambda: False, 5.0)
        with pytest.raises(RfbError, match="closed"):
            await client.wait_quiet(10.0, 20.0)


async def test_quiet_comes_and_a_wait_for_nothing_ends(tmp_path: Path) -> None:
    async with watched(tmp_path) as (_, client):
        assert await client.wait_quiet(0.01, 5.0)
        assert not await client.wait_quiet(5.0, 0.01)
        assert not await client.wait_until(lambda: False, 0.01)


async def test_a_resize_that_is_not_answered_is_an_error(tmp_path: Path) -> None:
    async with watched(tmp_path) as (_, client):
        with pytest.raises(RfbError, match="40x40"):
            await client.resize(40, 40, timeout_s=0.05)


async def test_no_server_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(RfbError, match="did not answer"):
        await RfbClient.connect(str(tmp_path / "none"))


def test_a_recording_keeps_within_its_budget() -> None:
    pixels = np.zeros((10, 10), np.uint32)
    recording = Recording(pixels, budget_bytes=1000)
    for time_s in range(5):
        recording.add(float(time_s), [Patch(0, 0, pixels)])
    assert len(recording.updates) == 2
    assert not recording.complete


@pytest.fixture
def xvnc(tmp_path: Path) -> Iterator[Path]:
    if not shutil.which("Xvnc"):
        pytest.skip("Xvnc is not installed")
    path = tmp_path / "rfb"
    options = ["-rfbunixpath", str(path), "-rfbport", "-1", "-SecurityTypes", "None", "-nolisten", "tcp"]
    # a display number of its own, far from those that people and other tests use
    display = f":{5000 + int(time.monotonic() * 1000) % 4000}"
    server = subprocess.Popen(
        ["Xvnc", display, *options, "-geometry", "320x200", "-depth", "24"], stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(500):
            if path.exists() or server.poll() is not None:
                break
            time.sleep(0.02)
        yield path
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.desktop
async def test_a_real_server_is_watched_and_resized(xvnc: Path) -> None:
    async with await RfbClient.connect(str(xvnc)) as client:
        assert client.size == (320, 200)
        await client.resize(400, 300)
        assert client.size == (400, 300)
        assert await client.wait_quiet(0.2, 5.0)

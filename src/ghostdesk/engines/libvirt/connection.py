"""The connection to libvirt: its calls block, so they run in threads; a connection that broke is made anew.

libvirt's Python binding is an extra (`ghostdesk[libvirt]`) and imported here alone, when the first call is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ghostdesk.engines.libvirt.errors import INTERNAL, Unreachable, error_of
from ghostdesk.kernel.errors import ConfigError, MissingRequirement

T = TypeVar("T")
MOST_AT_ONCE = 8
CALL_TIMEOUT_S = 60.0
_SECRET = re.compile(r"//[^/@]*@")


def binding() -> Any:
    """The `libvirt` module; raises `MissingRequirement` with the mend."""
    try:
        import libvirt
    except ImportError as error:
        raise MissingRequirement(
            f"libvirt's Python binding is not there: {error}.",
            "Install libvirt-dev and the extra: pip install 'ghostdesk[libvirt]'.",
        ) from None
    # Errors come back as exceptions; without this they are printed as well.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    return libvirt


def shown(uri: str) -> str:
    """An address without user names and passwords."""
    return _SECRET.sub("//", uri)


def check_uri(uri: str) -> None:
    """Raise `ConfigError` for what is no address of libvirt (docs/uri.rst)."""
    parts = urlsplit(uri)
    driver = parts.scheme.partition("+")[0]
    if driver not in {"qemu", "test", "esx", "vpx", "gsx", "hyperv"} or (not parts.path and driver in {"qemu", "test"}):
        raise ConfigError(
            f"{shown(uri)!r} is no address of libvirt.",
            "Set engine.address like qemu:///system, qemu+ssh://root@HOST/system, esx://HOST/ or hyperv://HOST/.",
        )


def is_remote(uri: str) -> bool:
    """Whether the host of this address is another machine."""
    return bool(urlsplit(uri).hostname)


class Connection:
    """One libvirt.

    Args:
        uri: its address.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="libvirt")
        self._opening = asyncio.Lock()
        self._open: Any = None

    async def call(self, work: Callable[[Any], T], timeout_s: float = CALL_TIMEOUT_S) -> T:
        """Run `work` on the connection in a thread.

        Raises:
            GhostdeskError: what libvirt's error means. After `Unreachable`, it is not known what was done.
        """
        connection = await self._connected()
        try:
            return await self._in_thread(lambda: work(connection), timeout_s)
        except Unreachable:
            self._open = None
            raise

    async def _connected(self) -> Any:
        async with self._opening:
            if self._open is None or not await self._in_thread(lambda: _alive(self._open), CALL_TIMEOUT_S):
                self._open = await self._in_thread(lambda: open_connection(self.uri), CALL_TIMEOUT_S)
            return self._open

    async def _in_thread(self, work: Callable[[], T], timeout_s: float) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._threads, lambda: typed(work, self.uri))
        try:
            return await asyncio.wait_for(asyncio.shield(running), timeout_s)
        except TimeoutError:
            # The thread cannot be stopped; what it finds out, nobody waits for.
            running.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise Unreachable(
                f"{shown(self.uri)} has not answered for {timeout_s:g} s.", "Look at libvirt's daemon on its host."
            ) from None

    async def close(self) -> None:
        """Let go of the connection; the next call makes another."""
        connection, self._open = self._open, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await self._in_thread(connection.close, CALL_TIMEOUT_S)


def open_connection(uri: str) -> Any:
    """Connect now (blocking); raises libvirt's own errors, or `ConfigError`."""
    check_uri(uri)
    libvirt = binding()
    nothing = [[libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE], lambda *_: -1, None]
    return libvirt.openAuth(uri, nothing, 0)


def typed(work: Callable[[], T], uri: str) -> T:
    """Run `work`; libvirt's errors become ours."""
    libvirt = binding()
    try:
        return work()
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        raise error_of(
            INTERNAL if code is None else code, error.get_error_message() or str(error), shown(uri)
        ) from None


def _alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except Exception:
        return False

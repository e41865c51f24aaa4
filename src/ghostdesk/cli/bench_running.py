"""What benchmarks of real desktops share: a ghostdesk of its own, in folders of its own, that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.status import Status

from ghostdesk.bench.host import Provenance, this_host
from ghostdesk.bench.rungs import BENCH_APPS, BenchApp
from ghostdesk.cli.bench_pool import GatedPlane
from ghostdesk.cli.common import err
from ghostdesk.config import Settings
from ghostdesk.engines.local.zram import zram_swap
from ghostdesk.kernel.errors import ConfigError, MissingRequirement
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import StoredUser
from ghostdesk.wiring import Ghostdesk, assemble, open_settings_store

USER = UserId("bench")
Progress = Callable[[str], None]
T = TypeVar("T")


def chosen_apps(names: str) -> tuple[BenchApp, ...]:
    """The applications whose names hold one of these, separated by commas; all for "". Raises `ConfigError`."""
    wanted = [n.strip().lower() for n in names.split(",") if n.strip()]
    chosen = tuple(a for a in BENCH_APPS if not wanted or any(w in a.name.lower() for w in wanted))
    if not chosen:
        raise ConfigError(f"No application is called {names!r}.", "Names: " + ", ".join(a.name for a in BENCH_APPS))
    return chosen


Work = Callable[[Ghostdesk, Progress, Provenance], Awaitable[T]]


def with_engine(settings: Settings, zram_mib: int, work: Work[T]) -> T:
    """Run `work` on a ghostdesk of its own, in folders of its own, and leave nothing behind."""
    command = shlex.join(["ghostdesk", *sys.argv[1:]])
    origin = this_host(date=datetime.now(UTC).date().isoformat(), command=command)
    with _own_folders(settings) as own, err.status("starting") as status:
        try:
            return asyncio.run(_run(own, zram_mib, work, origin, status))
        except asyncio.CancelledError:
            err.print("stopped; what the benchmark had started is gone")
            sys.exit(143)


async def _run(settings: Settings, zram_mib: int, work: Work[T], origin: Provenance, status: Status) -> T:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # what was started is cleaned up
    store = open_settings_store(settings)
    store.put_user(StoredUser(USER, "Benchmark"))
    desk = assemble(settings, store, plane_type=GatedPlane)
    try:
        with _swap(zram_mib):
            await desk.start(ticking=False)
            try:
                report = await work(desk, status.update, origin)
            finally:
                await desk.stop(keep_ghosts=False)
        return report
    finally:
        store.close()


@contextlib.contextmanager
def _swap(zram_mib: int) -> Iterator[None]:
    if zram_mib <= 0:
        yield
        return
    try:
        stack = contextlib.ExitStack()
        stack.enter_context(zram_swap(zram_mib * 2**20))
    except MissingRequirement as error:
        err.print(f"[yellow]without compressed swap:[/] {error}. Parked ghosts keep their memory in this run.")
        yield
        return
    with stack:
        yield


@contextlib.contextmanager
def _own_folders(settings: Settings) -> Iterator[Settings]:
    with (
        tempfile.TemporaryDirectory(prefix="ghostdesk-bench-", dir="/var/tmp") as state,
        tempfile.TemporaryDirectory(prefix="ghostdesk-bench-", dir="/tmp") as run,
    ):
        for folder in (state, run):
            Path(folder).chmod(0o711)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        yield replace(
            settings,
            state=replace(settings.state, directory=Path(state), run_directory=Path(run)),
            server=replace(settings.server, host="127.0.0.1", port=port, tls_certificate=None, tls_key=None),
            pool=replace(settings.pool, floor=0, ceiling=max(settings.pool.ceiling, 20)),
        )

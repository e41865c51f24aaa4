"""Loads inside a ghost, as one of its own processes: in its control groups, its network, and under its uid."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ghostdesk.bench.desk import BenchError
from ghostdesk.bench.processes import pids_of_uid

Event = tuple[float, float]
"""Seconds of the monotonic clock, and how much was done until then."""

_FRAME = """
import json, os, signal, sys, time
events = []
def stop(*_):
    print(json.dumps(events), flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
open("/proc/self/oom_score_adj", "w").write("1000")  # where memory runs out, this goes and not the desktop
def note(amount):
    events.append((time.monotonic(), amount))
"""
"""Before each load: it notes how much is done by when, and tells on SIGTERM."""


def entrances_of(pid: int, cgroups: str, mountinfo: str) -> list[Path]:
    """The `cgroup.procs` files of every group that a process is in.

    Args:
        pid: not used but to name the process in errors.
        cgroups: its /proc/PID/cgroup (cgroups(7)).
        mountinfo: /proc/self/mountinfo, which says where each tree is.
    """
    places: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        point = Path(left.split()[4])
        if kind == "cgroup2":
            places.setdefault("", point)
        elif kind == "cgroup":
            for option in options.split(","):
                places.setdefault(option, point)
    found: dict[Path, None] = {}
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in places and path != "/":
                found[places[controller] / path.lstrip("/") / "cgroup.procs"] = None
    if not found:
        raise BenchError(f"Process {pid} is in no control group, so there is nothing to measure.", "Run as root.")
    return list(found)


def first_process(uid: int) -> int:
    """The oldest process inside a ghost's namespaces; raises `BenchError` where ghosts have no uid of their own."""
    if os.geteuid() != 0 or uid == os.geteuid():
        raise BenchError("The ghosts run under this user's own uid: loads cannot be put into them.", "Run as root.")
    ours = Path("/proc/self/ns/net").readlink()
    for pid in pids_of_uid(uid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/ns/net").readlink() != ours:
                return pid
    raise BenchError("The ghost has no process.")


def memory_of(uid: int) -> int:
    """What the ghost's memory group holds now, in bytes, as the kernel counts it against the limit; 0 if unknown."""
    for entrance in _entrances(first_process(uid)):
        for name in ("memory.usage_in_bytes", "memory.current"):
            for group in (entrance.parent, entrance.parent.parent):
                with contextlib.suppress(OSError, ValueError):
                    return int((group / name).read_text())
    return 0


def _entrances(pid: int) -> list[Path]:
    return entrances_of(pid, Path(f"/proc/{pid}/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())


class Load:
    """A load that runs; `stop` ends it and says what it did."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def stop(self) -> list[Event]:
        """What it noted: when, and how much was done by then. Raises `BenchError` when it died on the way."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        output, errors = await self._process.communicate()
        try:
            return [(float(at_s), float(amount)) for at_s, amount in json.loads(output)]
        except ValueError:
            why = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"status {self._process.returncode}"]
            raise BenchError(f"A load ended before its time: {why[0]}.") from None

    async def say(self, word: str) -> None:
        """Give it a line to read."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self._process.stdin.drain()

    async def listen(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def load(uid: int, code: str, arguments: Sequence[str] = ()) -> AsyncIterator[Load]:
    """Run Python code in the ghost of this uid; it is killed at the end if it still runs."""
    pid = first_process(uid)
    join = "".join(f'echo $$ > "{path}" && ' for path in _entrances(pid))
    enter = ["nsenter", f"--net=/proc/{pid}/ns/net", "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    command = ["sh", "-c", f'{join} exec "$@"', "sh", *enter, "--", "/usr/bin/python3", "-I", "-c", _FRAME + code]
    process = await asyncio.create_subprocess_exec(
        *command, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )  # fmt: skip
    try:
        yield Load(process)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)  # `kill()` might collect it itself, and asyncio would complain
            await process.wait()

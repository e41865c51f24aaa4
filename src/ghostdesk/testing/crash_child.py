"""The process that is killed in the middle of a command (see `crash`): it reads from standard input what to do.

It dies by its own hand, which no cleaning up can come before: with SIGKILL in the thread that is about to touch the
world for the n-th time, or by an alarm that nobody handles. Touching the world is what Python's audit events tell
(docs.python.org/3/library/audit_events.html): files and folders made, changed or removed, programs started, processes
signalled, connections opened, requests sent.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import signal
import sys
from typing import Any

from ghostdesk.engines.protocol import Engine
from ghostdesk.ghosts.commands import EngineCommand

_EFFECTS = frozenset({
    "http.client.send", "os.chmod", "os.chown", "os.exec", "os.fork", "os.kill", "os.killpg", "os.link", "os.mkdir",
    "os.posix_spawn", "os.remove", "os.rename", "os.rmdir", "os.setxattr", "os.symlink", "os.truncate", "os.utime",
    "socket.connect", "socket.sendmsg", "socket.sendto", "subprocess.Popen",
})  # fmt: skip
_STARTS = frozenset({"os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen"})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _touches(event: str, args: tuple[Any, ...]) -> bool:
    if event == "open":
        return len(args) > 2 and isinstance(args[2], int) and bool(args[2] & _WRITES)
    return event in _EFFECTS


def _die_before(effect: int, started: bool) -> None:
    """Count effects from now on, or from the first program that is started, and be dead before the n-th.

    What is counted from a start are other effects than starts: one start may be told of twice.
    """
    numbers, here = itertools.count(1), os.getpid()
    counts = not started

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal counts
        if started and event in _STARTS:
            counts = True
        elif counts and _touches(event, args) and os.getpid() == here and next(numbers) == effect:
            signal.raise_signal(signal.SIGKILL)

    sys.addaudithook(hook)


async def _run(engine: Engine, command: EngineCommand, effect: int, after_s: float, started: bool) -> None:
    await engine.start()
    if effect:
        _die_before(effect, started)
    if after_s:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, after_s)
    outcome = await engine.apply(command)
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    if outcome.error is not None:
        sys.stderr.write(f"{type(outcome.error).__name__}: {outcome.error}\n")
        sys.stderr.flush()
        os._exit(3)
    os._exit(0)  # leave nothing tidy


def main() -> None:
    """Read the order, and carry it out as far as that goes."""
    path, pickled, command, effect, after_s, started = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent
    sys.path[:] = path
    engine = pickle.loads(pickled)()  # noqa: S301
    asyncio.run(_run(engine, command, effect, after_s, started))


if __name__ == "__main__":
    main()

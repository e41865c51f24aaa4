"""Starting a ghost so that it lives on without us, and waiting until its screen answers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ghostdesk.engines.local.processes import is_alive, read_process, reap
from ghostdesk.engines.local.sandbox import INFO_FD
from ghostdesk.kernel.errors import BuildFailed

_ENTER_CGROUPS = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 97; shift; done; shift; exec "$@"'
"""Joins the cgroups as root, before the rights are dropped, so that not one process of the ghost runs outside them."""
_OUT_OF_THE_WAY_FD = 64
"""Above every number that a process we start is given."""
RFB_GREETING = b"RFB 003.008\n"
LOG_TAIL_LINES = 12
MOST_WAITING = 3.0
"""A step that waits for the CPU may take so many times as long again."""
_LOOK_AGAIN_S = 1.0


def drop_rights(uid: int, groups: Sequence[int] = ()) -> list[str]:
    """The command that goes on as this uid, in these groups alone, without any capability; empty when we are it."""
    if uid == os.geteuid():
        return []
    among = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", among, "--inh-caps=-all", "--"]


@dataclass(frozen=True)
class Patience:
    """How long a step of a build may take: time in which the ghost waited for the CPU does not count, up to a bound.

    Ghosts run only where nobody else wants to: on a busy host a build is slow, and that is no failure of its own.

    Args:
        timeout_s: for the step itself.
        waited_s: how long the ghost has waited for the CPU so far.
    """

    timeout_s: float
    waited_s: Callable[[], float] = lambda: 0.0
    begin_s: float = field(default_factory=time.monotonic)

    def left_s(self) -> float:
        """Seconds that are left; not above zero when the step has failed."""
        credit_s = min(self.waited_s(), MOST_WAITING * self.timeout_s)
        return self.begin_s + self.timeout_s + credit_s - time.monotonic()


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    cgroup_files: Sequence[Path] = (),
    inherit: Mapping[int, int] | None = None,
) -> int:
    """Start a process in its own session, inside the given cgroups, and return its pid.

    posix_spawn rather than fork: quick and safe in a large program with threads. Nothing kills it when we end.

    Args:
        command: program and arguments; the program is looked up in `env`'s PATH.
        env: its whole environment.
        log: file that takes its output.
        cgroup_files: `cgroup.procs` files to join first.
        inherit: descriptor numbers it gets, by our own.
    """
    actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    arguments = ["sh", "-c", _ENTER_CGROUPS, "sh", *map(str, cgroup_files), "--", *command]
    with contextlib.ExitStack() as stack:
        for ours, theirs in (inherit or {}).items():
            # From out of the way: one of ours may have the number that another gets, and would be gone by then.
            source = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY_FD)
            stack.callback(os.close, source)
            actions.append((os.POSIX_SPAWN_DUP2, source, theirs))
        return os.posix_spawn("/bin/sh", arguments, dict(env), file_actions=actions, setsid=True)


def start_sandbox(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, cgroup_files: Sequence[Path], patience: Patience
) -> tuple[int, int, int]:
    """Start bubblewrap and learn its first process.

    Returns:
        bubblewrap's own pid, the pid of the first process of the ghost's PID namespace, and that one's start time.

    Raises:
        BuildFailed: bubblewrap ended, or said nothing for longer than we have patience.
    """
    read_end, write_end = os.pipe()
    try:
        try:
            monitor = spawn(command, env=env, log=log, cgroup_files=cgroup_files, inherit={write_end: INFO_FD})
        finally:
            os.close(write_end)
        text = _read_all(read_end, patience)
    finally:
        os.close(read_end)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        first = int(json.loads(text)["child-pid"])
        process = read_process(first)
        if process is not None:
            return monitor, first, process.start_ticks
    process = read_process(monitor)
    if process is not None:
        reap(monitor)
    raise BuildFailed("The sandbox did not start.", _mend_for(log_tail(log)))


def _read_all(descriptor: int, patience: Patience) -> bytes:
    """Everything until end of file or until a whole JSON object has come, waiting no longer than we have patience."""
    text = b""
    while not text.rstrip().endswith(b"}") and wait_readable(descriptor, patience):
        part = os.read(descriptor, 4096)
        if not part:
            break
        text += part
    return text


def wait_readable(descriptor: int, patience: Patience) -> bool:
    """Wait until there is something to read; False when patience has run out."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    while (left_s := patience.left_s()) > 0:
        if poller.poll(min(left_s, _LOOK_AGAIN_S) * 1000):
            return True
    return False


def wait_until_set_up(pid: int, start_ticks: int, patience: Patience, sleep: Callable[[float], None]) -> None:
    """Wait until bubblewrap has made way for the session; raises `BuildFailed` when it ends or takes too long.

    Before that it configures the loopback interface, and fails if somebody else is at work in the same namespace.
    """
    name = Path(f"/proc/{pid}/comm")
    while is_alive(pid, start_ticks) and name.read_text().strip() == "bwrap":
        if patience.left_s() <= 0:
            raise BuildFailed(f"The sandbox was not set up within {patience.timeout_s:g} s.")
        sleep(0.002)


def rfb_answers(path: Path, timeout_s: float = 1.0) -> bool:
    """Whether an RFB 3.8 server greets on this unix socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            return connection.recv(len(RFB_GREETING), socket.MSG_WAITALL) == RFB_GREETING
    except OSError:
        return False


def wait_for_screen(path: Path, pid: int, start_ticks: int, patience: Patience, sleep: Callable[[float], None]) -> None:
    """Wait until the screen answers; raises `BuildFailed` when the ghost dies first or takes too long."""
    while not rfb_answers(path):
        if not is_alive(pid, start_ticks):
            raise BuildFailed("The desktop ended before its screen answered.")
        if patience.left_s() <= 0:
            raise BuildFailed(
                f"The desktop's screen did not answer within {patience.timeout_s:g} s.",
                "Raise engine.build_timeout_s if this host is slow.",
            )
        sleep(0.005)


def check_socket(path: Path, uid: int) -> None:
    """Raise `BuildFailed` unless this is a real socket of that uid, not a link to somewhere else."""
    status = path.lstat()
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != uid:
        raise BuildFailed(f"{path} is not the desktop's own socket.")


def log_tail(log: Path) -> str:
    """The last lines that the session printed; empty when there are none."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line for line in lines if line.strip()).strip() and "\n".join(lines[-LOG_TAIL_LINES:])


def _mend_for(tail: str) -> str:
    if "ermission denied" in tail or "not permitted" in tail or "user namespace" in tail:
        return "This host refuses unprivileged user namespaces: see user.max_user_namespaces and AppArmor's settings."
    return ""

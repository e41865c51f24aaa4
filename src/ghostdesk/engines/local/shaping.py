"""What a ghost may send and receive a second: token buckets inside its own network namespace (tc-tbf(8)).

The way out is shaped on `tap0`, the ghost's only interface. What comes in is led from `tap0` through an `ifb` device,
whose way out is shaped in the same way (tc-mirred(8)): so packets wait instead of being lost, and the user-mode stack
outside slows down by itself. The namespace belongs to the ghost, but nothing inside has a capability over it: only we,
from outside, can change what is set here. A change replaces the rate of a bucket in place and keeps what waits in it;
lifting a limit is a very high rate, as removing a bucket would drop what waits. All of it goes with the namespace.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from ghostdesk.engines.local.processes import PROC

TAP, IFB = "tap0", "ifb0"
MTU_BYTES = 65_536
"""`network.start_network` gives slirp4netns an MTU of 65,520 bytes; with its header a packet must fit in a bucket."""
UNLIMITED_BYTES_PER_S = 12.5e9
"""100 gigabit a second: far above what a user-mode network stack reaches."""
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_NS_GET_USERNS = 0xB701
_TIMEOUT_S = 5.0
_INGRESS = "ffff:"


def bucket(rate_bytes_per_s: float) -> str:
    """The parameters of a token bucket for this rate; a zero rate means no limit.

    The burst holds two whole packets, or 4 ms of the rate where that is more (the kernel's slowest clock). The queue
    holds what several connections may have on the way, since slirp4netns asks for no window above 64 KiB each: so
    little is lost, and nothing retransmitted.
    """
    rate = min(rate_bytes_per_s or UNLIMITED_BYTES_PER_S, UNLIMITED_BYTES_PER_S)
    burst = max(2 * MTU_BYTES, int(rate * 0.004))
    queue = max(16 * MTU_BYTES, int(rate * 0.05))
    return f"tbf rate {max(8, int(rate * 8))}bit burst {burst} limit {queue}"


def change_batch(rate_bytes_per_s: float) -> str:
    """tc's input (tc(8), -batch) that changes the rate where both buckets are set up."""
    how = bucket(rate_bytes_per_s)
    return "".join(f"qdisc change dev {name} root handle 1: {how}\n" for name in (TAP, IFB))


def set_up_batch(rate_bytes_per_s: float) -> str:
    """tc's input that sets up both buckets, whatever an earlier try left behind; `IFB` exists and is up."""
    how = bucket(rate_bytes_per_s)
    return (
        "".join(f"qdisc replace dev {name} root handle 1: {how}\n" for name in (TAP, IFB))
        + f"qdisc replace dev {TAP} handle {_INGRESS} ingress\n"
        + f"filter replace dev {TAP} parent {_INGRESS} protocol all prio 1 handle 800::1 u32 match u32 0 0 "
        + f"action mirred egress redirect dev {IFB}\n"
    )


def unusable() -> str:
    """Why the network of ghosts cannot be limited here; "" when it can, as far as can be told without trying."""
    missing = [name for name in ("tc", "ip", "nsenter") if shutil.which(name, path=_PATH) is None]
    return f"{', '.join(missing)} is not installed" if missing else ""


def interfaces(pid: int) -> frozenset[str]:
    """Names of the interfaces in a process's network namespace (proc(5), /proc/PID/net/dev); none when it is gone."""
    try:
        lines = (PROC / str(pid) / "net/dev").read_text().splitlines()[2:]
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[0].strip() for line in lines)


def shape(pid: int, rate_bytes_per_s: float) -> str:
    """Limit a ghost's network, or lift the limit with a zero rate. May be repeated, whatever an earlier try left.

    Args:
        pid: the ghost's first process.
        rate_bytes_per_s: most bytes a second out, and as much in.

    Returns:
        Why it could not be done; "" when it is done. A ghost that is gone, or has no network, needs nothing.
    """
    there = interfaces(pid)
    if TAP not in there or (IFB not in there and not rate_bytes_per_s):
        return ""
    if problem := unusable():
        return problem
    try:
        with _namespace(pid) as enter:
            if IFB in there and not enter.run("tc", "-batch", "-", text=change_batch(rate_bytes_per_s)):
                return ""
            # -force: that the device is there already is no reason to stop.
            problem = enter.run("ip", "-force", "-batch", "-", text=f"link add {IFB} type ifb\nlink set {IFB} up\n")
            told = enter.run("tc", "-batch", "-", text=set_up_batch(rate_bytes_per_s))
            return f"{told} ({problem})" if told and problem else told
    except FileNotFoundError:
        return ""  # it went in the middle
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"its network namespace cannot be entered: {error}"


@dataclass(frozen=True, slots=True)
class _Enter:
    """Runs commands in a namespace.

    Args:
        command: what enters it.
        descriptors: open files that name it.
    """

    command: tuple[str, ...]
    descriptors: tuple[int, ...]

    def run(self, *arguments: str, text: str) -> str:
        """Run a command with this input; returns what it complained of when it failed, else ""."""
        done = subprocess.run(
            [*self.command, *arguments],
            input=text,
            capture_output=True,
            text=True,
            env={"PATH": _PATH, "LC_ALL": "C"},
            pass_fds=self.descriptors,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode == 0:
            return ""
        return next(iter(done.stderr.strip().splitlines()), f"{arguments[0]} ended with {done.returncode}")


@contextlib.contextmanager
def _namespace(pid: int) -> Iterator[_Enter]:
    """The network namespace of a process, pinned, so that a pid that is used again is never hit."""
    with contextlib.ExitStack() as stack:
        net = os.open(PROC / str(pid) / "ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, net)
        command, descriptors = ["nsenter", f"--net=/proc/self/fd/{net}"], [net]
        if os.geteuid() != 0:
            # An ordinary user has rights over it only inside the user namespace that owns it (ioctl_ns(2)).
            user = fcntl.ioctl(net, _NS_GET_USERNS)
            stack.callback(os.close, user)
            command += [f"--user=/proc/self/fd/{user}", "--preserve-credentials"]
            descriptors.append(user)
        yield _Enter(tuple(command), tuple(descriptors))

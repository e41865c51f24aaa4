"""CRIU (checkpoint and restore in user space, https://criu.org): finding one that works here, and running it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.local.clone_plan import ImageBroken
from ghostdesk.engines.local.launch import Patience, spawn
from ghostdesk.engines.local.processes import kill_and_wait, read_process

MIN_VERSION = (4, 1)
"""Seen to work on Linux 6.18: 4.1.1 (Debian 13) and 4.2.1. Debian 12's 3.17 does not."""
OWN_PLACE = Path("/usr/local/lib/ghostdesk/criu/criu")
"""Where `scripts/setup-criu` puts one, on systems whose own is too old."""
_MEND = 'Run scripts/setup-criu, or install CRIU 4.1 or later, or set engine.clones = "off".'
_VERSION = re.compile(r"Version:\s*(\d+)\.(\d+)(?:\.(\d+))?")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENTER = 'mount --bind "$1" "$1" && mount -o remount,bind,ro,nosuid,nodev "$1" && shift && exec "$@"'
"""CRIU wants a mount for a root. It is made where nobody else sees it, and its flags are those that clones get."""


@dataclass(frozen=True, slots=True)
class Criu:
    """A CRIU that works on this host.

    Args:
        program: its path.
        version: its numbers.
    """

    program: str
    version: tuple[int, ...]

    def dump(self, arguments: Sequence[str], folder: Path, timeout_s: float) -> None:
        """Write an image into `folder`; raises `ImageBroken` with the reason that CRIU gives."""
        command = [self.program, *arguments, "--images-dir", str(folder), "--log-file", "dump.log", "-v1"]
        done = _run(command, timeout_s)
        if done != 0:
            raise ImageBroken(f"CRIU cannot image the desktop: {reason(folder / 'dump.log')}")

    def restore(
        self, arguments: Sequence[str], folder: Path, root: Path, cgroup_files: Sequence[Path], patience: Patience
    ) -> None:
        """Restore what is in `folder`, inside the given control groups; raises `ImageBroken`.

        Args:
            arguments: of `clone_plan.restore_arguments`.
            folder: the clone's own folder of the image.
            root: what becomes its root.
            patience: how long it may take.
        """
        command = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _ENTER, "sh", str(root)]
        command += [self.program, *arguments, "--images-dir", str(folder), "--work-dir", str(folder)]
        command += ["--log-file", "restore.log", "-v1"]
        said = folder / "criu.out"
        pid = spawn(command, env={"PATH": _PATH}, log=said, cgroup_files=cgroup_files)
        if (status := _wait(pid, patience)) is None:
            raise ImageBroken(f"CRIU did not restore the desktop within {patience.timeout_s:g} s.")
        if status != 0:
            raise ImageBroken(f"CRIU cannot restore the desktop: {reason(folder / 'restore.log', said)}")


def find(setting: str = "") -> tuple[Criu | None, str, str]:
    """The CRIU to use: the one that is set, else this system's, else our own place's.

    Returns:
        It, or None; then why, and the mend.
    """
    if os.geteuid() != 0:
        return None, "only root can image and restore desktops", "Run as root."
    if setting and not Path(setting).exists():
        return None, f"{setting} does not exist", "Correct engine.criu."
    found = [setting] if setting else [shutil.which("criu", path=_PATH), str(OWN_PLACE)]
    problems = []
    for program in found:
        if program and Path(program).exists():
            criu, problem = _look(program)
            if criu is not None:
                return criu, "", ""
            problems.append(problem)
    return None, "; ".join(problems) or "CRIU is not installed", _MEND


def _look(program: str) -> tuple[Criu | None, str]:
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
        numbers = _VERSION.search(told.stdout)
        if numbers is None:
            return None, f"{program} does not tell its version: {(told.stderr or told.stdout).strip()[:200]}"
        version = tuple(int(number or 0) for number in numbers.groups())
        shown = ".".join(map(str, version))
        if version[:2] < MIN_VERSION:
            return None, f"{program} is {shown}, and {'.'.join(map(str, MIN_VERSION))} or later is needed"
        checked = subprocess.run([program, "check"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{program} cannot be run: {error}"
    if checked.returncode != 0:
        return None, f"{program} {shown} says that this kernel lacks something: {checked.stderr.strip()[-200:]}"
    return Criu(program, version), ""


def _run(command: Sequence[str], timeout_s: float) -> int:
    try:
        done = subprocess.run(
            command, env={"PATH": _PATH}, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageBroken(f"CRIU cannot be run: {error}.") from error
    return done.returncode


def _wait(pid: int, patience: Patience) -> int | None:
    """The exit status of our child; None when patience has run out, and then it is ended."""
    handle = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        while (left_s := patience.left_s()) > 0:
            if poller.poll(min(left_s, 1.0) * 1000):
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(handle)
    if (process := read_process(pid)) is not None:
        kill_and_wait(pid, process.start_ticks)
    return None


def reason(*logs: Path) -> str:
    """The first errors that CRIU wrote, without times and places in its source; "it does not say why" when none."""
    for log in logs:
        with contextlib.suppress(OSError):
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            errors = [line.partition("Error ")[2] for line in lines if "Error " in line] or lines[-2:]
            # It always complains of this limit where it may not raise it, and goes on.
            told = [line.partition("): ")[2] or line for line in errors if "RLIMIT_NOFILE" not in line]
            if told:
                return "; ".join(told[:2])[:500]
    return "it does not say why"


def host_facts(criu: Criu) -> tuple[str, ...]:
    """What an image cannot be restored across: CRIU's own version, the kernel's, what the processor offers."""
    flags = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features", "model name")):
                flags += line
                if not line.startswith("model name"):
                    break
    return ".".join(map(str, criu.version)), os.uname().release, os.uname().machine, flags

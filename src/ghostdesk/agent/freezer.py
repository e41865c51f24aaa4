"""Groups of processes that can be stopped and let on as one: by cgroup v2, by the v1 freezer, or by signals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ghostdesk.agent import processes

RUN_VARIABLE = "GHOSTDESK_RUN"
"""Environment variable that every process of a group inherits: how groups are found where there are no cgroups."""
_NAME = re.compile(r"app-[0-9]{1,9}")
CONFIRM_S = 1.0
"""Freezing takes 0-3 ms, more where the processor is contended and an application has dozens of threads."""


class Group(Protocol):
    """The processes of one application."""

    name: str
    mark: str
    """What `RUN_VARIABLE` must be set to in its first process."""

    def join(self) -> None:
        """Move the calling process in: called between fork and exec, so it allocates and imports nothing."""
        ...

    def pids(self) -> list[int]:
        """Who is in it now."""
        ...

    def freeze(self) -> bool:
        """Stop them all; false when that could not be confirmed."""
        ...

    def thaw(self) -> None:
        """Let them on."""
        ...

    def frozen(self) -> bool:
        """Whether they are stopped."""
        ...

    def remove(self) -> None:
        """Forget the group once it is empty."""
        ...


def wait_until(check: Callable[[], bool], limit_s: float = CONFIRM_S) -> bool:
    """Look again every 0.2 ms (freezing takes 0-3 ms) until `check` holds or `limit_s` has passed."""
    end_s = time.monotonic() + limit_s
    while not check():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.0002)
    return True


class _CgroupGroup:
    """What both cgroup versions share."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.name = folder.name
        self.mark = mark
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._procs = str(folder / "cgroup.procs")

    def join(self) -> None:
        fd = os.open(self._procs, os.O_WRONLY)
        os.write(fd, b"0")
        os.close(fd)

    def pids(self) -> list[int]:
        try:
            found = [int(line) for line in Path(self._procs).read_text().split()]
        except OSError:
            return []
        return [pid for pid in found if pid > 0]

    def remove(self) -> None:
        # EBUSY while a zombie is still counted: the caller tries again.
        with contextlib.suppress(FileNotFoundError):
            self.folder.rmdir()


class CgroupV2(_CgroupGroup):
    """`cgroup.freeze`, confirmed through `cgroup.events`."""

    def freeze(self) -> bool:
        (self.folder / "cgroup.freeze").write_text("1")
        return wait_until(self.frozen)

    def thaw(self) -> None:
        (self.folder / "cgroup.freeze").write_text("0")

    def frozen(self) -> bool:
        try:
            return "frozen 1" in (self.folder / "cgroup.events").read_text()
        except OSError:
            return False


class CgroupV1(_CgroupGroup):
    """`freezer.state` of the v1 freezer controller."""

    def freeze(self) -> bool:
        def is_frozen() -> bool:
            # Writing again lets the kernel take in processes that were forking the first time.
            (self.folder / "freezer.state").write_text("FROZEN")
            return self.frozen()

        return wait_until(is_frozen)

    def thaw(self) -> None:
        (self.folder / "freezer.state").write_text("THAWED")

    def frozen(self) -> bool:
        try:
            return (self.folder / "freezer.state").read_text().strip() == "FROZEN"
        except OSError:
            return False


class Signals:
    """SIGSTOP and SIGCONT to every process that carries the group's name in its environment, or descends from one."""

    def __init__(self, name: str, mark: str) -> None:
        self.name = name
        self.mark = mark
        self._known: set[int] = set()
        self._sessions: set[int] = set()

    def join(self) -> None:
        """Nothing to do: the environment marks the process."""

    def pids(self) -> list[int]:
        seen: dict[int, processes.Stat] = {}
        for pid in processes.all_pids():
            if processes.owned_by_me(pid) and (found := processes.stat(pid)) and found.state != "Z":
                seen[pid] = found
        members = {pid for pid in seen if processes.environment_value(pid, RUN_VARIABLE) == self.mark}
        self._sessions |= {pid for pid in members if seen[pid].session == pid}
        members |= {pid for pid, found in seen.items() if found.session in self._sessions}
        while more := {pid for pid, found in seen.items() if found.parent in members} - members:
            members |= more
        members.discard(os.getpid())
        return sorted(members)

    def freeze(self) -> bool:
        stopped: set[int] = set()
        for _ in range(10):  # a process may fork while we stop it: go round until nobody is new
            new = set(self.pids()) - stopped
            if not new:
                break
            for pid in new:
                self._signal(pid, signal.SIGSTOP)
            stopped |= new
        return wait_until(self.frozen)

    def thaw(self) -> None:
        for pid in self.pids():
            self._signal(pid, signal.SIGCONT)

    def frozen(self) -> bool:
        states = [found.state for pid in self.pids() if (found := processes.stat(pid))]
        return bool(states) and all(state in "Tt" for state in states)

    def remove(self) -> None:
        self._sessions.clear()

    @staticmethod
    def _signal(pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class Freezer:
    """Makes and finds the groups of this desktop.

    Args:
        kind: "v2", "v1" or "none".
        folder: the ghost's own cgroup, where groups are made; None for "none".
        scope: text that no other desktop of this user has, where they can see each other's processes.
    """

    def __init__(self, kind: str, folder: Path | None, scope: str = "") -> None:
        self._scope = scope
        self.kind = kind if folder is not None and os.access(folder, os.W_OK) else "none"
        self._folder = folder

    def group(self, number: int) -> Group:
        """The group ``app-<number>``, made when it is not there."""
        name = f"app-{number}"
        if self.kind == "none" or self._folder is None:
            return Signals(name, f"{self._scope}|{name}")
        return (CgroupV2 if self.kind == "v2" else CgroupV1)(self._folder / name, f"{self._scope}|{name}")

    def numbers(self) -> list[int]:
        """The groups that exist, whoever made them: an agent before us may have died."""
        if self.kind == "none" or self._folder is None:
            names = {self._marked_name(pid) for pid in processes.all_pids()}
        else:
            names = {path.name for path in self._folder.iterdir()}
        return sorted(int(name.removeprefix("app-")) for name in names if _NAME.fullmatch(name))

    def number_of(self, pid: int) -> int | None:
        """The group that a process belongs to."""
        if self.kind == "none":
            return self._marked(pid)
        try:
            text = (processes.PROC / str(pid) / "cgroup").read_text()
        except OSError:
            return None
        for line in text.splitlines():
            last = line.rpartition("/")[2]
            if _NAME.fullmatch(last):
                return int(last.removeprefix("app-"))
        return None

    def _marked_name(self, pid: int) -> str:
        scope, _, name = (processes.environment_value(pid, RUN_VARIABLE) or "").rpartition("|")
        return name if scope == self._scope and _NAME.fullmatch(name) else ""

    def _marked(self, pid: int) -> int | None:
        for _ in range(32):
            if name := self._marked_name(pid):
                return int(name.removeprefix("app-"))
            found = processes.stat(pid)
            if found is None or found.parent <= 1:
                return None
            pid = found.parent
        return None

    def ghost_pids(self) -> list[int]:
        """Every process of this desktop: those in its cgroup, or all of this user's where there is none."""
        if self.kind == "none" or self._folder is None:
            return [pid for pid in processes.all_pids() if processes.owned_by_me(pid)]
        found: set[int] = set()
        for procs in [self._folder / "cgroup.procs", *self._folder.glob("*/cgroup.procs")]:
            with contextlib.suppress(OSError):
                found.update(int(line) for line in procs.read_text().split())
        found.discard(0)
        return sorted(found) or [pid for pid in processes.all_pids() if processes.owned_by_me(pid)]

"""The applications that run: each in a group of its own, found again after a crash of the agent, watched to its end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from ghostdesk.agent import catalogue, processes
from ghostdesk.agent.freezer import Freezer
from ghostdesk.agent.launching import APP_VARIABLE, HIDDEN_VARIABLE, AgentFault, Run, start
from ghostdesk.agent.loop import Loop
from ghostdesk.kernel.ids import AppId, app_id

LINGER_S = 2.0
"""How long a first process may be gone before its application counts as ended: it may have handed over to another."""
REAP_AFTER_S = 30.0


class Runs:
    """Keeps each application's processes.

    Args:
        on_end: told of each application whose last process has ended.
    """

    def __init__(self, loop: Loop, freezer: Freezer, on_end: Callable[[Run], None]) -> None:
        self._loop = loop
        self._freezer = freezer
        self._on_end = on_end
        self.all: dict[int, Run] = {}
        self._next = 1

    def find(self, app: AppId) -> Run | None:
        """The application, if it runs."""
        return next((run for run in self.all.values() if run.app == app), None)

    def of_pid(self, pid: int) -> Run | None:
        """The application that a process belongs to."""
        number = self._freezer.number_of(pid)
        return self.all.get(number) if number is not None else None

    def recover(self) -> None:
        """Find what an earlier agent started."""
        for number in self._freezer.numbers():
            self._next = max(self._next, number + 1)
            group = self._freezer.group(number)
            pids = group.pids()
            name = next((n for pid in pids if (n := processes.environment_value(pid, APP_VARIABLE))), "")
            hidden = any(processes.environment_value(pid, HIDDEN_VARIABLE) for pid in pids)
            try:
                run = Run(number, app_id(name), group, hidden=hidden, frozen=group.frozen(), had_window=True)
            except ValueError:
                with contextlib.suppress(OSError):
                    group.remove()
                continue
            self.all[number] = run
            self._watch(run)

    def start(self, entry: catalogue.App, *, hidden: bool, files: Iterable[str]) -> Run:
        """Start an application. Raises `AgentFault` when it cannot be started."""
        number, self._next = self._next, self._next + 1
        program = Path(entry.command[0]).name
        for other in self.all.values():
            if other.frozen and other.program == program:
                # Programs with one instance hand over to the one that runs (LibreOffice): it must be able to answer.
                self.thaw(other)
        run = Run(number, entry.app, self._freezer.group(number), hidden=hidden, program=program)
        try:
            run.process = start(entry, run.group, files, hidden=hidden)
        except AgentFault:
            with contextlib.suppress(OSError):
                run.group.remove()
            raise
        self.all[number] = run
        self._watch(run)
        return run

    def again(self, run: Run, entry: catalogue.App, files: Iterable[str]) -> None:
        """Start the program once more in the same group, to hand files over to the one that runs."""
        self.thaw(run)  # whoever joins a frozen group is frozen, too, before it could execute anything
        process = start(entry, run.group, files)
        self._loop.later(REAP_AFTER_S, process.poll)

    def freeze(self, run: Run) -> None:
        """Stop its processes. Raises `AgentFault` when that cannot be confirmed; they run on then."""
        self._cancel_thaw(run)
        if not run.frozen and not run.group.freeze():
            run.group.thaw()
            raise AgentFault("cannot-freeze", f"The processes of {run.app} could not be stopped")
        run.frozen = True

    def thaw(self, run: Run) -> None:
        """Let its processes on."""
        self._cancel_thaw(run)
        if run.frozen:
            run.group.thaw()
            run.frozen = False

    def thaw_soon(self, run: Run, delay_s: float) -> None:
        """Let its processes on in a moment, unless it is frozen anew until then."""
        self._cancel_thaw(run)
        run.thaw_timer = self._loop.later(delay_s, lambda: self.thaw(run))

    def signal(self, run: Run, number: int) -> None:
        """Send a signal to all its processes, if it still runs."""
        if run.number in self.all:
            for pid in run.group.pids():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)

    @staticmethod
    def _cancel_thaw(run: Run) -> None:
        if run.thaw_timer is not None:
            run.thaw_timer.cancel()
            run.thaw_timer = None

    def _watch(self, run: Run) -> None:
        """Be told when one of its processes ends, then look who is left: no polling, for children or not."""
        if run.watched_fd >= 0:
            self._loop.forget(run.watched_fd)
            os.close(run.watched_fd)
            run.watched_fd = -1
        ours = run.process is not None and run.process.poll() is None
        for pid in [run.process.pid] if ours else run.group.pids():
            try:
                run.watched_fd = os.pidfd_open(pid)
            except OSError:
                continue
            self._loop.watch(run.watched_fd, lambda: self._watch(run))
            return
        self._loop.later(0.0 if run.had_window else LINGER_S, lambda: self._ended(run))

    def _ended(self, run: Run) -> None:
        if run.group.pids():
            self._watch(run)
        elif self.all.pop(run.number, None) is not None:
            self._cancel_thaw(run)
            self._remove(run)
            self._on_end(run)

    def _remove(self, run: Run, tries: int = 20) -> None:
        try:
            run.group.remove()
        except OSError:  # a process that just ended is still counted for a moment
            if tries:
                self._loop.later(0.1, lambda: self._remove(run, tries - 1))

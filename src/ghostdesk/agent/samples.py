"""Samples of what the desktop uses: CPU, memory, network and storage."""

from __future__ import annotations

import time

from ghostdesk.agent import processes
from ghostdesk.agent.freezer import Freezer
from ghostdesk.agent.loop import Loop, Timer
from ghostdesk.agent.reporting import Reporter

LEAST_SPAN_S = 0.2
"""Rates over less than this would be noise."""


class Samples:
    """Reports every `every_s` seconds, while the source is switched on."""

    def __init__(self, loop: Loop, reporter: Reporter, freezer: Freezer, every_s: float = 30.0) -> None:
        self._loop = loop
        self._reporter = reporter
        self._freezer = freezer
        self.every_s = every_s
        self._timer: Timer | None = None
        self._last_s = 0.0
        self._cpu: dict[int, int] = {}
        self._storage: dict[int, int] = {}
        self._network = 0

    def start(self) -> None:
        """Begin, or begin anew with a changed `every_s`."""
        self.stop()
        self._measure()
        self._timer = self._loop.later(self.every_s, self._due)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sample(self) -> None:
        """Measure and report now."""
        if not self._reporter.wants("resources"):
            return
        span_s = time.monotonic() - self._last_s
        if span_s < LEAST_SPAN_S:
            return
        cpu, storage, network = self._cpu, self._storage, self._network
        pids = self._measure()
        # Only what each process used since the last look: one that began or ended must not make the sum jump back.
        ticks = sum(max(0, now - cpu.get(pid, 0)) for pid, now in self._cpu.items() if pid in cpu or cpu)
        moved = sum(max(0, now - storage.get(pid, 0)) for pid, now in self._storage.items() if pid in storage)
        self._reporter.report("cpu", value=round(ticks / processes.TICKS_PER_S / span_s, 4))
        self._reporter.report("memory", value=float(sum(processes.memory_bytes(pid) for pid in pids)))
        self._reporter.report("network", value=round(max(0, self._network - network) / span_s, 1))
        self._reporter.report("storage", value=round(moved / span_s, 1))

    def _due(self) -> None:
        self._timer = self._loop.later(self.every_s, self._due)
        self.sample()

    def _measure(self) -> list[int]:
        pids = self._freezer.ghost_pids()
        self._cpu = {pid: found.cpu_ticks for pid in pids if (found := processes.stat(pid))}
        self._storage = {pid: processes.storage_bytes(pid) for pid in pids}
        self._network = processes.network_bytes()
        self._last_s = time.monotonic()
        return pids

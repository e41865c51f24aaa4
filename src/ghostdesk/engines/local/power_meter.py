"""The host's power, from whatever sensors it has; asks slow ones in the background and answers at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ghostdesk.engines.local.gpu import GpuReading
from ghostdesk.engines.local.power import Covers, PowerLine, Sample, judge
from ghostdesk.kernel.conditions import PowerReading

ASK_EVERY_S = 10.0
"""How often a slow sensor is asked."""
STALE_AFTER_S = 45.0
"""After which its last answer is no reading any more."""


class Sensor(Protocol):
    """Something that may know what the host, or a part of it, draws."""

    name: str

    def sample(self) -> Sample | None:
        """What it says now; None where there is no such sensor. Never raises."""
        ...


class Background:
    """A slow sensor, asked in a thread of its own; the last answer is given at once.

    Args:
        sensor: what is asked.
        covers: what it sees.
        monotonic: a clock that never goes back.
    """

    def __init__(self, sensor: Sensor, covers: Covers, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = sensor.name
        self._sensor = sensor
        self._covers = covers
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._last: Sample | None = None
        self._asked_s = self._answered_s = float("-inf")

    def sample(self) -> Sample | None:
        """The last answer, as long as it is fresh; asks anew when it is time."""
        with self._lock:
            now_s = self._monotonic()
            busy = self._thread is not None and self._thread.is_alive()
            if not busy and now_s - self._asked_s >= ASK_EVERY_S:
                self._asked_s = now_s
                self._thread = threading.Thread(target=self._ask, name=f"ask {self.name}", daemon=True)
                self._thread.start()
            if now_s - self._answered_s <= STALE_AFTER_S:
                return self._last
            if self._answered_s > float("-inf") or now_s - self._asked_s > STALE_AFTER_S:
                return Sample(self.name, self._covers, None, f"no answer for {STALE_AFTER_S:g} s")
            return None  # asked for the first time a moment ago

    def _ask(self) -> None:
        sample = self._sensor.sample()
        with self._lock:
            self._last, self._answered_s = sample, self._monotonic()

    def wait(self, timeout_s: float) -> None:
        """Wait for the question under way, for commands that read once."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)


class GpuPower:
    """The GPUs' own sensors together."""

    name = "GPUs"

    def __init__(self, read: Callable[[], Sequence[GpuReading]]) -> None:
        self._read = read

    def sample(self) -> Sample | None:
        """None without a GPU that tells its power."""
        readings = self._read()
        watts = [reading.power_w for reading in readings if reading.power_w is not None]
        told = [part for reading in readings for part in reading.problem.split("; ")]
        lies = "; ".join(part for part in told if part.startswith("power: "))
        if not watts and not lies:
            return None
        return Sample(f"{len(watts)} GPU(s)", Covers.GPUS, sum(watts) if watts else None, lies)


class PowerMeter:
    """Reads every sensor and judges what they say. One thread at a time.

    Args:
        sensors: in the order in which they are preferred.
        line: the model, for when none is believed.
        limit_w: what the host cannot exceed.
    """

    def __init__(self, sensors: Sequence[Sensor], line: PowerLine, limit_w: float) -> None:
        self.line = line
        self._sensors = sensors
        self._limit_w = limit_w
        self._lock = threading.Lock()

    def read(self, use: float) -> PowerReading:
        """What the host draws now; at once, and always something.

        Args:
            use: share of all cores in use, 0-1, for the model.
        """
        with self._lock:
            samples = [sample for sensor in self._sensors if (sample := sensor.sample()) is not None]
        return judge(samples, self.line, use, self._limit_w)

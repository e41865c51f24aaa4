"""The host's power, from whatever sensors it has; asks slow ones in the background and answers at once."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ghostdesk.engines.local.gpu import GpuReading
from ghostdesk.engines.local.gpus import Gpus
from ghostdesk.engines.local.power import LEAST_INTERVAL_S, Covers, PowerLine, Sample, assumed_line, judge, most_w
from ghostdesk.engines.local.power_ipmi import Ipmi
from ghostdesk.engines.local.power_rapl import Rapl
from ghostdesk.engines.local.power_redfish import Redfish, RedfishAddress
from ghostdesk.engines.protocol import Ability
from ghostdesk.kernel.conditions import PowerReading
from ghostdesk.kernel.errors import ConfigError

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
        limit_w: what the host cannot exceed, as it is now: GPUs come and go.
    """

    def __init__(self, sensors: Sequence[Sensor], line: PowerLine, limit_w: Callable[[], float]) -> None:
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
        return judge(samples, self.line, use, self._limit_w())

    def read_once(self, use: float, timeout_s: float) -> PowerReading:
        """The same for a command that reads once: waits for counters to move and for slow sensors, up to a time."""
        reading = self.read(use)
        time.sleep(min(timeout_s, 2 * LEAST_INTERVAL_S))
        for sensor in self._sensors:
            if isinstance(sensor, Background):
                sensor.wait(timeout_s)
        return self.read(use) if timeout_s > 0 else reading


def ability(reading: PowerReading) -> Ability:
    """For people: what tells the host's power, or why it is modelled."""
    detail = f"{reading.power_w:.0f} W by {reading.source}" + (f" ({reading.problem})" if reading.problem else "")
    mend = "docs/how-to/power-sensors.md lists the sensors that can be used, and how to set the model."
    return Ability("power", not reading.modelled, detail, mend if reading.modelled else "")


@dataclass(frozen=True, slots=True)
class PowerOptions:
    """What the operator says of the host's power.

    Args:
        idle_w, busy_w: what it draws at no use and with every core in use; 0 for what is assumed by its cores.
        most_w: what it cannot exceed; 0 for what no machine of its size does.
        ipmi: whether its management controller may be asked through /dev/ipmi0.
        redfish: where its management controller is on the network.
    """

    idle_w: float = 0.0
    busy_w: float = 0.0
    most_w: float = 0.0
    ipmi: bool = True
    redfish: RedfishAddress | None = None

    def __post_init__(self) -> None:
        if not all(0 <= watts < math.inf for watts in (self.idle_w, self.busy_w, self.most_w)):
            raise ConfigError("A power of [power] is no amount of watts.", "Give 0 or more.")
        if (self.idle_w > 0) != (self.busy_w > 0) or self.idle_w > self.busy_w:
            raise ConfigError(
                f"power.idle_w = {self.idle_w:g} and power.busy_w = {self.busy_w:g} make no line.",
                "Give both, the idle one not above the busy one, or neither.",
            )


def power_options(
    *,
    idle_w: float,
    busy_w: float,
    most_w: float,
    ipmi: bool,
    redfish_url: str,
    redfish_user: str,
    redfish_password_file: Path | None,
    redfish_ca_file: Path | None,
    redfish_chassis: str,
) -> PowerOptions:
    """The settings of [power], checked; raises `ConfigError` for what cannot be."""
    redfish = None
    if redfish_url:
        if redfish_password_file is None:
            raise ConfigError("power.redfish_password_file is missing.", "Name a file of mode 600 with the password.")
        redfish = RedfishAddress(redfish_url, redfish_user, redfish_password_file, redfish_ca_file, redfish_chassis)
    return PowerOptions(idle_w, busy_w, most_w, ipmi, redfish)


def make_meter(options: PowerOptions, gpus: Gpus, cores: int) -> PowerMeter:
    """The meter of this host, with every sensor that it might have; those that are not there say nothing."""
    given = options.busy_w > 0
    line = PowerLine(options.idle_w, options.busy_w, "as set") if given else assumed_line(cores)
    sensors: list[Sensor] = [Rapl(options.most_w or most_w(cores, 0)), GpuPower(gpus.read_now)]
    if options.ipmi:
        sensors.insert(0, Background(Ipmi(), Covers.HOST))
    if options.redfish is not None:
        sensors.insert(0, Background(Redfish(options.redfish), Covers.HOST))
    return PowerMeter(sensors, line, lambda: options.most_w or most_w(cores, len(gpus.known.devices)))

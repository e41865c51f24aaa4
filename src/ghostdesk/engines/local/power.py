"""From counters and sensors to watts that can be believed: pure.

A reading is believed only when it is plausible. Otherwise the model answers, marked as modelled, with the reason.
Sources: the kernel's power/powercap/powercap.rst; Barroso and Hoelzle, "The case for energy-proportional computing",
IEEE Computer 2007, for the model's shape.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ghostdesk.kernel.conditions import PowerReading

LEAST_INTERVAL_S = 0.2
"""Counters that move every millisecond say nothing exact about less."""
STUCK_AFTER_S = 1.0
DISAGREE_SHARE, DISAGREE_W = 0.25, 15.0
"""Two sensors of the same thing may differ by so much of the larger, plus so many watts."""
PARTS_BEYOND = 1.1
"""Parts may seem to draw so much more than the whole: sensors have errors, and averages different spans."""
ASSUMED_BASE_W, ASSUMED_CORE_W, ASSUMED_IDLE_SHARE = 25.0, 7.5, 0.45
MOST_BASE_W, MOST_CORE_W, MOST_GPU_W = 200.0, 40.0, 1500.0
"""More than any machine draws: for what is absurd, not for what is unlikely."""


class Covers(StrEnum):
    """What of the host a sensor sees."""

    HOST = "host"
    PROCESSORS = "processors and memory"
    GPUS = "GPUs"


@dataclass(frozen=True, slots=True)
class PowerLine:
    """What a host draws by its use: idle + slope x use.

    Args:
        idle_w, busy_w: at no use, and with every core in use.
        source: where the two are from.
    """

    idle_w: float
    busy_w: float
    source: str

    def power_w(self, use: float) -> float:
        """At a share of all cores, 0-1; what is beyond is cut, and NaN counts as none."""
        share = min(1.0, max(0.0, use)) if math.isfinite(use) else 0.0
        return self.idle_w + (self.busy_w - self.idle_w) * share


def assumed_line(cores: int) -> PowerLine:
    """For a host that nobody has described: 25 W and 7.5 W a core when busy, 45 % of it when idle."""
    busy_w = ASSUMED_BASE_W + ASSUMED_CORE_W * max(1, cores)
    return PowerLine(ASSUMED_IDLE_SHARE * busy_w, busy_w, f"assumed for {cores} cores")


def most_w(cores: int, gpus: int) -> float:
    """What a host of this size cannot exceed."""
    return MOST_BASE_W + MOST_CORE_W * max(1, cores) + MOST_GPU_W * gpus


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """One reading of a counter of energy.

    Args:
        name: "package-0", "dram", "psys" and so on; a part's name begins with its whole's and a slash.
        energy_uj: microjoules so far; it starts again at 0 after `range_uj`.
        range_uj: 0 when unknown.
        time_s: when, by a clock that never goes back.
    """

    name: str
    energy_uj: int
    range_uj: int
    time_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sensor said.

    Args:
        source: its name, for people.
        covers: what it sees.
        power_w: None when it said nothing that can be used.
        problem: why; or what is odd about it.
    """

    source: str
    covers: Covers
    power_w: float | None = None
    problem: str = ""


def counter_power(before: EnergyCounter, after: EnergyCounter, limit_w: float) -> tuple[float | None, str]:
    """Mean watts between two readings, and what is wrong: a wrap is made good, anything doubtful is None.

    Args:
        before, after: the same counter.
        limit_w: more than it can have drawn.
    """
    passed_s = after.time_s - before.time_s
    if passed_s < LEAST_INTERVAL_S:
        return None, f"{after.name}: read again too soon ({max(passed_s, 0):.2f} s)"
    moved_uj = after.energy_uj - before.energy_uj
    if moved_uj == 0 and passed_s >= STUCK_AFTER_S:
        return None, f"{after.name}: stuck at {after.energy_uj} uJ for {passed_s:.0f} s"
    span_uj = after.range_uj
    if span_uj and passed_s * limit_w * 1e6 >= span_uj > 0 and passed_s > STUCK_AFTER_S:
        return None, f"{after.name}: {passed_s:.0f} s between readings, it can wrap more than once in that time"
    if moved_uj < 0:
        if not span_uj or before.energy_uj > span_uj or after.energy_uj > span_uj:
            return None, f"{after.name}: went back from {before.energy_uj} to {after.energy_uj} uJ"
        moved_uj += span_uj
    watts = moved_uj / 1e6 / passed_s
    if watts > limit_w:
        return None, f"{after.name}: {watts:.0f} W is beyond what the machine can draw ({limit_w:.0f} W)"
    return watts, ""


def rapl_power(before: Sequence[EnergyCounter], after: Sequence[EnergyCounter], limit_w: float) -> Sample:
    """RAPL's zones together: the platform's where it is believable, else packages and memory; cores are in packages."""
    old = {counter.name: counter for counter in before}
    told = {c.name: counter_power(old[c.name], c, limit_w) for c in after if c.name in old}
    problems = [problem for _, problem in told.values() if problem]
    problems += [f"{name}: gone" for name in old.keys() - {counter.name for counter in after}]
    whole_w = told["psys"][0] if "psys" in told else None
    packages = {name: watts for name, (watts, _) in told.items() if is_package(name)}
    memory = {name: watts for name, (watts, _) in told.items() if name == "dram" or name.endswith("/dram")}
    measured = [watts for watts in packages.values() if watts is not None]
    parts_w = sum(measured) + sum(watts for watts in memory.values() if watts is not None)
    problem = "; ".join(problems)
    if whole_w is not None and whole_w * PARTS_BEYOND >= parts_w:
        return Sample("RAPL platform", Covers.HOST, whole_w, problem)
    if whole_w is not None:
        problem = "; ".join([*problems, f"psys: {whole_w:.0f} W is less than its parts draw ({parts_w:.0f} W)"])
    if packages and len(measured) == len(packages):
        if parts_w > limit_w:
            beyond = f"together {parts_w:.0f} W is beyond what the machine can draw ({limit_w:.0f} W)"
            return Sample("RAPL", Covers.PROCESSORS, None, f"{problem}; {beyond}".strip("; "))
        names = "packages + memory" if any(watts is not None for watts in memory.values()) else "packages"
        return Sample(f"RAPL {names}", Covers.PROCESSORS, parts_w, problem)
    return Sample("RAPL", Covers.PROCESSORS, None, problem or "no zone was read twice yet")


def is_package(name: str) -> bool:
    """Whether this zone is a processor package (or one die of it): "package-0", "package-0-die-1"."""
    return re.fullmatch(r"package-\d+(-die-\d+)?", name) is not None


def judge(samples: Sequence[Sample], line: PowerLine, use: float, limit_w: float) -> PowerReading:
    """What the host draws, from what its sensors said and from the model.

    The whole host's sensor, when there is one that is believed; else processors (and GPUs, where they tell); else the
    model by use, with the GPUs' own watts on top.

    Args:
        samples: each sensor's.
        line: the model.
        use: share of all cores in use, 0-1.
        limit_w: what the host cannot exceed.
    """
    problems = [f"{sample.source}: {sample.problem}" for sample in samples if sample.problem]
    believed: dict[Covers, list[tuple[float, str]]] = {covers: [] for covers in Covers}
    for sample in samples:
        if sample.power_w is None:
            continue
        if not math.isfinite(sample.power_w) or not 0 <= sample.power_w <= limit_w:
            problems.append(f"{sample.source}: {sample.power_w:g} W cannot be true (0 to {limit_w:.0f} W)")
        elif sample.power_w == 0 and sample.covers is not Covers.GPUS:
            problems.append(f"{sample.source}: 0 W cannot be true of a host that runs")
        else:
            believed[sample.covers].append((sample.power_w, sample.source))
    gpus_w = sum(watts for watts, _ in believed[Covers.GPUS])
    parts_w = max([watts for watts, _ in believed[Covers.PROCESSORS]], default=0.0) + gpus_w
    whole = [(watts, source) for watts, source in believed[Covers.HOST] if watts * PARTS_BEYOND >= parts_w]
    for watts, source in believed[Covers.HOST]:
        if (watts, source) not in whole:
            problems.append(f"{source}: {watts:.0f} W is less than its parts draw ({parts_w:.0f} W)")
    least, most = min(whole, default=(0.0, "")), max(whole, default=(0.0, ""))
    if most[0] - least[0] > DISAGREE_SHARE * most[0] + DISAGREE_W:
        problems.append(f"{least[1]} says {least[0]:.0f} W and {most[1]} {most[0]:.0f} W: neither is believed")
        whole = []
    problem = "; ".join(problems)
    gpu_names = [source for _, source in believed[Covers.GPUS]]
    if whole:
        return PowerReading(whole[0][0], whole[0][1], modelled=False, problem=problem)
    if believed[Covers.PROCESSORS]:
        names = " + ".join([believed[Covers.PROCESSORS][0][1], *gpu_names])
        return PowerReading(parts_w, f"{names} (not the rest of the host)", modelled=False, problem=problem)
    names = " + ".join([f"model ({line.source}: {line.idle_w:.0f} W idle, {line.busy_w:.0f} W busy)", *gpu_names])
    return PowerReading(line.power_w(use) + gpus_w, names, modelled=True, problem=problem)

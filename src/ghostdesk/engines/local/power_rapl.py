"""Intel's and AMD's energy counters through powercap (kernel: power/powercap/powercap.rst)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ghostdesk.engines.local.power import Covers, EnergyCounter, Sample, rapl_power

POWERCAP = Path("/sys/class/powercap")
_ZONE = re.compile(r"intel-rapl:(\d+)(?::(\d+))?")
"""Not intel-rapl-mmio: the same packages once more."""
_MOST_UJ = 10**18


class Rapl:
    """Reads the zones, and answers with the mean watts since the reading before.

    Args:
        limit_w: more than the host can draw.
        folder: where the zones are.
        monotonic: a clock that never goes back.
    """

    name = "RAPL"

    def __init__(
        self, limit_w: float, folder: Path = POWERCAP, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit_w = limit_w
        self._folder = folder
        self._monotonic = monotonic
        self._before: Sequence[EnergyCounter] = ()

    def sample(self) -> Sample | None:
        """None where there is no such counter, nor was one before."""
        counters, problem = read_counters(self._folder, self._monotonic)
        before, had = self._before, bool(self._before)
        if not counters:
            self._before = ()
            if not had and not problem:
                return None
            return Sample(self.name, Covers.PROCESSORS, None, problem or "its counters are gone")
        if not had:
            self._before = counters
            return Sample(self.name, Covers.PROCESSORS, None, "first reading: watts come with the next")
        sample = rapl_power(before, counters, self._limit_w)
        if "too soon" not in sample.problem:
            self._before = counters
        return sample


def read_counters(folder: Path, monotonic: Callable[[], float]) -> tuple[list[EnergyCounter], str]:
    """Every zone that counts, by name, and why any cannot be read."""
    found, problem, tops = [], "", {}
    try:
        names = sorted(entry.name for entry in folder.iterdir() if _ZONE.fullmatch(entry.name))
    except OSError:
        return [], ""
    for name in names:
        zone = _ZONE.fullmatch(name)
        assert zone is not None
        try:
            called = (folder / name / "name").read_text().strip()
            energy = _count((folder / name / "energy_uj").read_text())
            span = _count((folder / name / "max_energy_range_uj").read_text())
            at_s = monotonic()
        except PermissionError:
            problem = "only root may read its counters"
            continue
        except (OSError, ValueError) as error:
            problem = f"{name} cannot be read ({getattr(error, 'strerror', None) or error})"
            continue
        if zone[2] is None:
            tops[zone[1]] = called
        else:
            called = f"{tops.get(zone[1], zone[1])}/{called}"
        found.append(EnergyCounter(called, energy, span, at_s))
    return found, problem


def _count(text: str) -> int:
    number = text.strip()
    if not (number.isascii() and number.isdigit()) or int(number) > _MOST_UJ:
        raise ValueError(f"{number[:40]!r} is no count of microjoules")
    return int(number)

"""The figures that the simulator draws from: measured on recorded sets, fitted to them, and shipped as figures only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ghostdesk.replay.synthetic.figures_starts import Figures


@dataclass(frozen=True)
class Parameters:
    """What `calibration.json` holds.

    Args:
        measured: by set ("desktop-starts", "people", "apps", "resources"), its figures; see `figures_*`.
        fitted: settings of the simulator that were moved until what it makes has the measured figures.
        about: by set, what it was, how much of it, and when it was measured.
    """

    measured: Mapping[str, Figures]
    fitted: Mapping[str, float]
    about: Mapping[str, str]

    def number(self, group: str, name: str) -> float:
        """One measured figure."""
        found = self.measured[group][name]
        if isinstance(found, list):
            raise TypeError(f"{name} is a table")
        return found

    def table(self, group: str, name: str) -> list[float]:
        """One measured table."""
        found = self.measured[group][name]
        if not isinstance(found, list):
            raise TypeError(f"{name} is a number")
        return found


@cache
def shipped() -> Parameters:
    """Those that come with ghostdesk."""
    text = files("ghostdesk.replay.synthetic").joinpath("calibration.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return Parameters(found["measured"], found["fitted"], found["about"])

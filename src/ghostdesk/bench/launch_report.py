"""What the launch benchmark found, as values. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from ghostdesk.bench.host import Provenance
from ghostdesk.bench.rungs import Rung
from ghostdesk.bench.stats import Summary, summarise

SCHEMA = "ghostdesk.bench.launch/1"


@dataclass(frozen=True, slots=True)
class LaunchSample:
    """One trial, in seconds; `key_s` is None where the key's echo was not seen or not asked for."""

    app: str
    rung: Rung
    round: int
    painted_s: float
    key_s: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A figure that could not be had. `round` is None where it stands for all rounds."""

    app: str
    rung: Rung | None
    round: int | None
    reason: str


@dataclass(frozen=True)
class LaunchReport:
    """Everything that one run of the launch benchmark found."""

    provenance: Provenance
    rounds: int
    rungs: tuple[Rung, ...]
    samples: tuple[LaunchSample, ...]
    missing: tuple[Missing, ...] = ()
    schema: str = SCHEMA

    def apps(self) -> tuple[str, ...]:
        """Applications with samples, in the order they were measured."""
        return tuple(dict.fromkeys(sample.app for sample in self.samples))

    def painted(self, app: str, rung: Rung) -> Summary | None:
        """Seconds until painted."""
        return summarise(s.painted_s for s in self.samples if s.app == app and s.rung is rung)

    def key(self, app: str, rung: Rung) -> Summary | None:
        """Seconds from the first key to its echo."""
        mine = (s.key_s for s in self.samples if s.app == app and s.rung is rung)
        return summarise(key_s for key_s in mine if key_s is not None)

    def speed_up(self, slow: Rung, fast: Rung) -> float | None:
        """Median over the applications of (median time on `slow` / median time on `fast`); None without both."""
        pairs = ((self.painted(app, slow), self.painted(app, fast)) for app in self.apps())
        ratios = [a.median / b.median for a, b in pairs if a and b and b.median > 0]
        return statistics.median(ratios) if ratios else None

"""New usage curves are taken up while the service runs: they are read in a thread and served from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ghostdesk.kernel.clock import Clock
from ghostdesk.profiles.resource_curves.model import CurveModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedCurves:
    """Trained models of usage curves by resource, and why those that should be in use are not (empty: all is well)."""

    models: Mapping[str, CurveModel] = field(default_factory=dict)
    problem: str = ""


class CurveSource(Protocol):
    """Where the live models are kept. Nothing here raises."""

    def stamp(self) -> str:
        """Changes when the live models, or their file, do. Cheap."""
        ...

    def load(self) -> ServedCurves:
        """Read them."""
        ...


class TakesCurves(Protocol):
    """An engine that can be told of other models (see `UserProfileEngine`)."""

    def use_curves(self, models: Mapping[str, CurveModel]) -> None:
        """Serve these from now on."""
        ...


class CurveFeed:
    """Follows the live models of a folder.

    Args:
        source: where they are.
        engine: what serves them.
        clock: tells the time.
        stamp: the source's, from before the models in use were read.
    """

    def __init__(self, source: CurveSource, engine: TakesCurves, clock: Clock, stamp: str) -> None:
        self._source, self._engine, self._clock, self._stamp = source, engine, clock, stamp

    async def renew(self) -> bool:
        """Take up the live models if they are others; those in use stay where the others cannot be read."""
        stamp = await asyncio.to_thread(self._source.stamp)
        if stamp == self._stamp:
            return False
        found = await asyncio.to_thread(self._source.load)
        self._stamp = stamp
        if found.problem:
            log.warning("%s Those in use stay.", found.problem)
            return False
        self._engine.use_curves(found.models)
        log.info("other usage curves are in use now: %s", ", ".join(sorted(found.models)) or "none trained")
        return True

    async def follow_every(self, every_s: float) -> None:
        """Renew for ever."""
        while True:
            await self._clock.sleep(every_s)
            try:
                await self.renew()
            except Exception:  # whatever a file holds, the models in use go on
                log.exception("new usage curves could not be taken up")

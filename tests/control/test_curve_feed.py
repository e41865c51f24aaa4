"""New usage curves while the service runs: taken up once, and those in use stay where the others are damaged."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from ghostdesk.control.curve_feed import CurveFeed
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.model_file import CurveHeader
from ghostdesk.training.live import LiveCurves
from ghostdesk.training.registry import CurveRegistry


class Engine:
    """Remembers what it was told to serve."""

    def __init__(self) -> None:
        self.told: list[dict[str, float]] = []

    def use_curves(self, models: Mapping[str, CurveModel]) -> None:
        self.told.append({name: model.pool_scale for name, model in models.items()})


def _promote(registry: CurveRegistry, scale: float) -> Path:
    header = CurveHeader(1.7e9, "data", {})
    version = registry.add(header, {"cpu_cores": CurveModel.untrained(scale)})
    registry.promote(version, "better", scale)
    return version.path


def test_new_curves_are_taken_up_and_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    registry, source, engine = CurveRegistry(tmp_path), LiveCurves(tmp_path), Engine()
    feed = CurveFeed(source, engine, SystemClock(), source.stamp())
    assert not asyncio.run(feed.renew())
    _promote(registry, 2.0)
    assert asyncio.run(feed.renew())
    assert not asyncio.run(feed.renew())
    bad = _promote(registry, 3.0)
    bad.write_bytes(b"gone bad")
    assert not asyncio.run(feed.renew())
    registry.rollback(9.0)
    assert asyncio.run(feed.renew())
    assert engine.told == [{"cpu_cores": 2.0}, {"cpu_cores": 2.0}]


def test_the_engine_serves_other_curves_and_keeps_them_over_a_fit() -> None:
    engine = UserProfileEngine()
    engine.use_curves({"cpu_cores": CurveModel.untrained(2.0)})
    assert set(engine._needs._curves.models) == {"cpu_cores"}
    engine.fit((), 1.7e9)  # type: ignore[arg-type]
    assert set(engine._needs._curves.models) == {"cpu_cores"}

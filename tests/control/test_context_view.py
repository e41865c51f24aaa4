"""The status view of a host's condition: of a calm host, of one under pressure, and always numbers that JSON knows."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from control_world import World

from ghostdesk.kernel.conditions import ClientLink, HostConditions
from ghostdesk.kernel.ids import GhostId, UserId

ALICE = UserId("alice")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, floor=1, ceiling=5)
    yield made
    made.close()


async def test_before_anything_was_read_and_when_all_is_calm(world: World) -> None:
    first = world.plane.status().context
    assert (first.gate, first.gate_since_s, first.conditions) == ("open", None, None)
    await world.pass_time(30)
    told = world.plane.status().context
    json.dumps(asdict(told), allow_nan=False)
    assert told.conditions is not None and "this host is simulated" in told.conditions.problems
    assert {gauge.trend for gauge in told.gauges} == {"steady"}
    assert told.notes == () and told.links == ()


async def test_pressure_notes_and_lines_are_told(world: World) -> None:
    start_s = world.clock.now_s()

    def filling(now_s: float) -> HostConditions:
        free = max(0.02, 0.5 - (now_s - start_s) / 1000.0)
        return HostConditions(0.0, disk_bytes=1e10, disk_free_bytes=1e10 * free, io_pressure=0.8)

    world.host.conditions = filling
    world.plane.link_measured(ALICE, GhostId("g7"), ClientLink(0.0, 0.02, 0.02, 5e6, 0.1, 100))
    await world.pass_time(200)
    told = world.plane.status().context
    json.dumps(asdict(told), allow_nan=False)
    assert (told.gate, told.gate_code) == ("paused", "io")
    assert told.notes and told.notes[0].startswith(told.gate_text) and told.changes[0].text == told.gate_text
    (disk,) = [gauge for gauge in told.gauges if gauge.code == "disk"]
    assert disk.trend == "rises" and disk.per_minute == pytest.approx(0.06)
    assert disk.short_in_s == pytest.approx((0.97 - disk.level) / 0.001, rel=0.01)
    (line,) = told.links
    assert (line.user, line.quality, line.bytes_per_s) == (ALICE, "good", 5e6)

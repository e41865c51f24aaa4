"""Lines to browsers in the control plane: kept for a while, used for what is done ahead, forgotten on request."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from control_world import World

from ghostdesk.control.links import LinkBook
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.ids import GhostId, UserId

ALICE, BOB = UserId("alice"), UserId("bob")
SLOW, FAST, NEW = ClientLink(0.0, 0.4, 0.3, 90e3), ClientLink(0.0, 0.02, 0.02, 5e6), ClientLink(0.0, 0.1, 0.1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, floor=2, ceiling=5)
    yield made
    made.close()


def test_a_line_counts_for_a_while_and_a_new_stream_keeps_what_the_last_one_carried() -> None:
    clock = VirtualClock(1e9)
    book = LinkBook(clock)
    book.measured(ALICE, GhostId("a"), SLOW)
    clock.advance(600.0)
    book.measured(ALICE, GhostId("a"), NEW)
    found = book.of(ALICE)
    assert found is not None and found.link == ClientLink(clock.now_s(), 0.1, 0.1, 90e3)
    clock.advance(901.0)
    assert book.of(ALICE) is None and book.all() == ()


async def test_on_a_slow_line_nothing_is_connected_ahead(world: World) -> None:
    await world.pass_time(30)
    usual = await world.clock.run(world.plane.prepare_desktop(BOB))
    assert usual is not None and usual.preconnect
    world.plane.link_measured(ALICE, GhostId("g9"), SLOW)
    slow = await world.clock.run(world.plane.prepare_desktop(ALICE))
    assert slow is not None and not slow.preconnect
    await world.pass_time(10)
    assert [note.code for note in world.loop.plan.notes] == ["slow-line"]
    opened = await world.clock.run(world.plane.open_desktop(ALICE))
    assert opened.active and opened.preconnect, "a desktop that is opened is connected whatever the line is like"
    world.plane.link_measured(ALICE, opened.ghost, FAST)
    line = world.plane.links.of(ALICE)
    assert line is not None and line.verdict.quality == "good"


async def test_what_is_known_of_a_line_is_forgotten_with_the_person(world: World) -> None:
    world.plane.link_measured(ALICE, GhostId("g9"), SLOW)
    world.plane._forget(ALICE)
    assert world.plane.links.of(ALICE) is None

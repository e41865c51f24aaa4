"""Wishes carried out one at a time, stopped at a pause, and what became of what was loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from control_world import World

from ghostdesk.control.launch_watch import LaunchWatch
from ghostdesk.control.prefetch_feed import COUNTS_FOR_S, NOT_AGAIN_S, PrefetchFeed
from ghostdesk.engines.prefetcher import Prefetched
from ghostdesk.engines.virtual_time import QueueClock
from ghostdesk.ghosts.commands import AgentCommand, HideApp, LaunchHidden, Outcome, ShowApp
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.errors import AgentError
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import MIB
from ghostdesk.prefetch.launch_set import LaunchSet, TouchedFile
from ghostdesk.prefetch.plan import LoadLimits, PrefetchWish

ADA = UserId("ada")
EDITOR, BROWSER = AppId("editor"), AppId("browser")


def launch_set(app: AppId, saved_s: float = 1.0) -> LaunchSet:
    return LaunchSet(app, 1, 0.0, (TouchedFile(f"/usr/bin/{app}", 10 * MIB, 1, ((0, 10 * MIB),)),), (), (), saved_s)


@dataclass
class FakePrefetcher:
    """An engine's part in memory: what was asked of it, and how far loading has come."""

    sets: dict[AppId, LaunchSet] = field(default_factory=dict)
    resident: dict[AppId, float] = field(default_factory=dict)
    loads: list[PrefetchWish] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: str = ""
    fails: bool = False
    at_once: int = 0

    def launch_sets(self) -> Mapping[AppId, LaunchSet]:
        return self.sets

    async def recorded(self, app: AppId) -> LaunchSet | None:
        return self.sets.get(app)

    async def resident_share(self, app: AppId) -> float:
        return self.resident.get(app, 0.0)

    async def load(self, wish: PrefetchWish, limits: LoadLimits) -> Prefetched:
        self.loads.append(wish)
        self.at_once += 1
        assert self.at_once == 1, "one at a time"
        try:
            await self.done.wait()
            if self.fails:
                raise OSError("the loader broke")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        finally:
            self.at_once -= 1
        self.resident |= dict.fromkeys(wish.apps, 1.0)
        return Prefetched(wish, {wish.apps[0]: 10 * MIB}, 0, 1, 0.5, {"changed": 2}, self.stopped)

    def launch_begins(self, ghost: GhostId, app: AppId, *, in_use: bool) -> None:
        self.told.append(("begins in use" if in_use else "begins", app))

    def launch_ended(self, ghost: GhostId, duration_s: float, *, started: bool) -> None:
        self.told.append(("ended", "started" if started else "no launch"))


def feed_of(fake: FakePrefetcher | None, clock: VirtualClock | QueueClock) -> PrefetchFeed:
    return PrefetchFeed(lambda: fake, clock, budget_bytes=1e9, limits=LoadLimits(), within_s=600.0)


def wish(probability: float, *apps: AppId) -> PrefetchWish:
    return PrefetchWish(apps, ADA, probability, 1e9, "ada is due")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_most_useful_wish_is_loaded_and_then_the_next() -> None:
    fake, clock = FakePrefetcher({EDITOR: launch_set(EDITOR), BROWSER: launch_set(BROWSER, 9.0)}), VirtualClock(1e9)
    feed = feed_of(fake, clock)
    wishes = (wish(0.5, EDITOR, BROWSER),)
    feed.follow(wishes, False)
    await settle()
    feed.follow(wishes, False)
    await settle()
    assert [w.apps for w in fake.loads] == [(BROWSER,)], "one at a time"
    assert "browser is 50% likely (ada is due)" in feed.view().loading
    fake.done.set()
    await settle()
    feed.follow(wishes, False)
    await settle()
    feed.follow(wishes, False)
    await settle()
    assert [w.apps for w in fake.loads] == [(BROWSER,), (EDITOR,)], "what is there is not loaded again"
    view = feed.view()
    assert (view.sets, view.loads, view.files, view.read_bytes) == (2, 2, 2, 20 * MIB)
    assert (view.loading, view.skipped) == ("", {"changed": 4})
    assert "10 MiB read" in view.last


async def test_a_pause_ends_the_load_unless_somebody_at_the_door_needs_it() -> None:
    fake = FakePrefetcher({EDITOR: launch_set(EDITOR)})
    feed = feed_of(fake, VirtualClock(1e9))
    feed.follow((wish(0.5, EDITOR),), False)
    await settle()
    feed.follow((wish(1.0, EDITOR),), True)
    await settle()
    assert fake.ended == []
    feed.follow((), True)
    await settle()
    assert fake.ended == ["cancelled"]
    assert feed.view().stopped == {"told": 1}


async def test_an_application_that_could_not_be_loaded_is_left_alone_for_a_while() -> None:
    fake, clock = FakePrefetcher({EDITOR: launch_set(EDITOR)}, fails=True), VirtualClock(1e9)
    fake.done.set()
    feed = feed_of(fake, clock)
    for _ in range(3):
        feed.follow((wish(0.5, EDITOR),), False)
        await settle()
    assert len(fake.loads) == 1
    clock.advance(NOT_AGAIN_S)
    fake.fails, fake.stopped = False, "room"
    feed.follow((wish(0.5, EDITOR),), False)
    await settle()
    assert len(fake.loads) == 2
    assert feed.view().stopped == {"room": 1}


async def test_loaded_bytes_are_used_within_the_hour_or_wasted() -> None:
    fake, clock = FakePrefetcher({EDITOR: launch_set(EDITOR), BROWSER: launch_set(BROWSER)}), VirtualClock(1e9)
    fake.done.set()
    feed = feed_of(fake, clock)
    for app in (EDITOR, BROWSER):
        feed.follow((wish(0.5, app),), False)
        await settle()
    clock.advance(COUNTS_FOR_S / 2)
    feed.launched(EDITOR)
    feed.launched(EDITOR)
    feed.launched(AppId("unknown"))
    clock.advance(COUNTS_FOR_S)
    feed.follow((), False)
    view = feed.view()
    assert (view.used_bytes, view.wasted_bytes) == (10 * MIB, 10 * MIB)
    assert (view.launches, view.hits) == (3, 2)
    assert view.used_bytes + view.wasted_bytes == view.read_bytes


async def test_without_an_engine_that_can_nothing_happens() -> None:
    feed = feed_of(None, VirtualClock(1e9))
    feed.follow((wish(0.5, EDITOR),), False)
    await feed.stop()
    assert feed.view().sets == feed.view().loads == 0


@dataclass
class FakeAgents:
    """Agents that answer as they are told."""

    path: str = "cold"
    error: AgentError | None = None

    async def connect(self, ghost: GhostId, endpoint: object) -> None: ...

    async def wait_connected(self, ghost: GhostId, timeout_s: float) -> None: ...

    async def disconnect(self, ghost: GhostId) -> None: ...

    async def apply(self, command: AgentCommand) -> Outcome:
        return Outcome(command, self.error, 0.7, {"path": self.path})


@pytest.mark.parametrize(
    ("command", "path", "error", "told"),
    [
        (LaunchHidden(GhostId("g1"), EDITOR), "hidden", None, [("begins", "editor"), ("ended", "started")]),
        (ShowApp(GhostId("g1"), EDITOR), "cold", None, [("begins", "editor"), ("ended", "started")]),
        (ShowApp(GhostId("g1"), EDITOR), "raised", None, [("begins", "editor"), ("ended", "no launch")]),
        (ShowApp(GhostId("g1"), EDITOR), "", AgentError("no"), [("begins", "editor"), ("ended", "no launch")]),
        (ShowApp(GhostId("gone"), EDITOR), "cold", None, [("begins in use", "editor"), ("ended", "started")]),
        (HideApp(GhostId("g1"), EDITOR), "", None, []),
    ],
)
async def test_launches_are_recorded_on_their_way(
    command: AgentCommand, path: str, error: AgentError | None, told: list[tuple[str, str]]
) -> None:
    fake, started = FakePrefetcher(), list[AppId]()
    manager = GhostDesktopManager()
    manager.add(GhostId("g1"), TemplateId("t"))
    watch = LaunchWatch(FakeAgents(path, error), lambda: fake, manager, started.append)
    outcome = await watch.apply(command)
    assert (outcome.error, fake.told) == (error, told)
    assert started == ([EDITOR] if ("ended", "started") in told else [])


async def test_the_loop_tells_its_wishes_for_those_who_get_no_ghost(tmp_path: Path) -> None:
    """A person who is likely, but not likely enough for a ghost: their applications' files are loaded."""
    world = World(tmp_path, floor=0, ceiling=5)
    fake = FakePrefetcher({EDITOR: launch_set(EDITOR)})
    fake.done.set()
    feed = feed_of(fake, world.clock)
    world.loop.on_wishes = feed.follow
    world.forecast.arrival, world.forecast.apps = {ADA: 0.05}, {ADA: ("editor",)}
    await world.pass_time(60)
    assert world.manager.of_user(ADA) is None
    assert [(w.apps, w.user) for w in fake.loads] == [((EDITOR,), ADA)]
    assert "5% likely" in fake.loads[0].reason
    world.close()

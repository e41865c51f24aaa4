"""A chosen policy in the real loop, and what it is told."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from control_world import START_S, World

from ghostdesk.allocator.lead_time import LeadTime
from ghostdesk.allocator.policies.seam import Decision, Moment, Observed
from ghostdesk.control.policy_feed import PolicyFeed
from ghostdesk.engines.virtual_time import QueueClock
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.ids import UserId

ALICE, BOB, CAROL = UserId("alice"), UserId("bob"), UserId("carol")
LEAD = LeadTime(60.0)


@dataclass
class Scripted:
    """Answers what the test wrote, and remembers what it was told and asked."""

    target: int = 0
    warm_rows: tuple[int, ...] = ()
    told: list[Observed] = field(default_factory=list)
    asked: list[Moment] = field(default_factory=list)
    rows: int = 0
    broken: bool = False

    def grow(self, rows: int) -> None:
        assert rows > self.rows
        self.rows = rows

    def observe(self, observed: Observed) -> None:
        self.told.append(observed)

    def decide(self, moment: Moment) -> Decision:
        if self.broken:
            raise ZeroDivisionError("a policy's fault")
        self.asked.append(moment)
        warm = None
        if self.warm_rows:
            warm = np.zeros(self.rows, dtype=bool)
            warm[list(self.warm_rows)] = True
        return Decision(self.target, warm, "scripted", "the test says so")


def _feed(policy: Scripted, **options: object) -> PolicyFeed:
    return PolicyFeed(policy, QueueClock(START_S), zone=UTC, **options)  # type: ignore[arg-type]


def test_who_came_and_left_is_told_once_in_the_order_of_time() -> None:
    policy = Scripted()
    feed = _feed(policy)
    feed.started(ALICE, 5.0, missed=False)
    feed.started(BOB, 3.0, missed=True)
    feed.started(BOB, 4.0, missed=True)  # already there
    feed.ended(ALICE, 9.0)
    feed.ended(CAROL, 9.0)  # was never there
    assert feed.renew(10.0, (), LEAD, 1) is False
    (told,) = policy.told
    assert (told.started.tolist(), told.started_s.tolist(), told.misses) == ([1, 0], [3.0, 5.0], 1)
    assert (told.ended.tolist(), told.ended_s.tolist()) == ([0], [9.0])
    (asked,) = policy.asked
    assert asked.idle_s[0] == 1.0
    assert np.isnan(asked.idle_s[1])
    assert (asked.lead_s, asked.until_s, asked.active) == (60.0, 70.0, 1)
    feed.renew(70.0, (), LEAD, 1)
    assert (policy.told[1].from_s, policy.told[1].to_s, len(policy.told[1].started)) == (10.0, 70.0, 0)


def test_it_is_asked_when_due_and_when_the_clock_was_set_back() -> None:
    feed = _feed(Scripted(), every_s=60.0)
    assert feed.due(0.0)
    feed.renew(0.0, (), LEAD, 0)
    assert not feed.due(59.0)
    assert feed.due(60.0)
    feed.renew(60.0, (), LEAD, 0)
    assert feed.due(30.0)


def test_where_nobody_is_known_rows_become_ghosts_for_anybody() -> None:
    policy = Scripted(target=1, warm_rows=(0, 2))
    feed = _feed(policy, shared=True)
    for name in ("desktop-1", "desktop-2", "desktop-3"):
        feed.row(name)
    assert feed.renew(0.0, (), LEAD, 0)
    assert (feed.answer.target, feed.answer.users) == (3, frozenset())


def test_whoever_is_there_needs_no_ghost_of_their_own() -> None:
    feed = _feed(Scripted(warm_rows=(0, 1)))
    feed.row(ALICE)
    feed.started(BOB, 0.0, missed=False)
    feed.renew(0.0, (), LEAD, 1)
    assert feed.answer.users == {ALICE}


def test_hundreds_of_rows_and_the_local_clock() -> None:
    policy = Scripted()
    feed = PolicyFeed(policy, QueueClock(0.0), zone=ZoneInfo("Europe/Berlin"))
    for number in range(300):
        feed.started(UserId(f"u{number}"), float(number), missed=False)
    feed.renew(1_750_000_000.0, (), LEAD, 300)
    assert policy.rows == 300
    assert len(policy.asked[0].idle_s) == 300
    assert policy.asked[0].offset_s == 7200.0


def test_learning_ends_with_who_is_still_there() -> None:
    policy = Scripted()
    feed = _feed(policy)
    rows = np.array([feed.row(ALICE), feed.row(BOB)])
    past = [Observed(0.0, 600.0, rows, np.array([1.0, 2.0]), rows[:1], np.array([300.0]))]
    feed.learn(past, LEAD)
    assert [moment.now_s for moment in policy.asked] == [0.0, 600.0]
    feed.resumed(BOB)
    feed.others_left(700.0)
    feed.ended(BOB, 800.0)
    feed.renew(900.0, (), LEAD, 0)
    assert policy.asked[-1].idle_s.tolist() == [600.0, 100.0]


def test_of_what_is_learnt_the_last_counts() -> None:
    policy = Scripted()
    feed = _feed(policy)
    rows = np.array([feed.row(ALICE), feed.row(BOB)])
    started, started_s = rows[[0, 1, 0]], np.array([10.0, 20.0, 400.0])
    feed.learn([Observed(0.0, 600.0, started, started_s, rows, np.array([300.0, 500.0]))], LEAD)
    idle_s = policy.asked[-1].idle_s
    assert np.isnan(idle_s[0]), "she came again after she had left"
    assert idle_s[1] == 100.0


def test_an_answer_changes_when_rows_are_not_named_any_more() -> None:
    policy = Scripted(warm_rows=(0,))
    feed = _feed(policy)
    feed.row(ALICE)
    assert feed.renew(0.0, (), LEAD, 0)
    policy.warm_rows = ()
    assert feed.renew(60.0, (), LEAD, 0)
    assert feed.answer.users == frozenset()
    assert not feed.renew(120.0, (), LEAD, 0)


async def test_the_pool_is_what_the_policy_says_and_shrinks_at_once(tmp_path: Path) -> None:
    policy = Scripted(target=3)
    world = World(tmp_path, chosen=policy, floor=0, ceiling=5)
    await world.pass_time(90)
    assert Counter(world.states().values()) == {"ready": 3}
    assert world.loop.plan.pool_reason == "the test says so"
    assert world.loop.plan.pool_code == "scripted"
    policy.target = 1
    await world.pass_time(120)
    assert Counter(world.states().values()) == {"ready": 1}
    policy.target = 50
    await world.pass_time(120)
    assert Counter(world.states().values()) == {"ready": 5}, "the ceiling holds"
    assert "ceiling 5" in world.loop.plan.pool_reason
    world.close()


async def test_rows_that_should_be_warm_get_ghosts_of_their_own_until_they_should_not(tmp_path: Path) -> None:
    policy = Scripted()
    world = World(tmp_path, chosen=policy, floor=0, ceiling=5)
    assert world.loop.feed is not None
    for user in (ALICE, BOB):
        world.loop.feed.row(user)
    policy.warm_rows = (1,)
    await world.pass_time(90)
    ghost = world.manager.of_user(BOB)
    assert ghost is not None
    assert ghost.state is GhostState.WARM
    assert "the test says so" in ghost.reason
    assert world.manager.of_user(ALICE) is None
    handle = await world.clock.run(world.plane.open_desktop(BOB))
    assert handle.path == "warm"
    await world.clock.run(world.plane.end_session(BOB))
    await world.pass_time(90)
    assert world.manager.of_user(BOB) is not None, "the policy still wants it"
    policy.warm_rows = ()
    await world.pass_time(90)
    assert not world.states()
    starts = [row for told in policy.told for row in told.started.tolist()]
    ends = [row for told in policy.told for row in told.ended.tolist()]
    assert (starts, ends) == ([1], [1])
    world.close()


async def test_a_policy_prepares_nothing_for_those_without_an_account(tmp_path: Path) -> None:
    world = World(tmp_path, chosen=Scripted(warm_rows=(0,)), floor=0, ceiling=5)
    assert world.loop.feed is not None
    world.loop.feed.row(ALICE)
    world.eligible = frozenset({BOB})
    await world.pass_time(90)
    assert not world.states()
    world.close()


async def test_a_policy_that_fails_keeps_its_last_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    policy = Scripted(target=2)
    world = World(tmp_path, chosen=policy, floor=0, ceiling=5)
    await world.pass_time(30)
    policy.broken = True
    await world.pass_time(120)
    assert Counter(world.states().values()) == {"ready": 2}
    assert "the policy failed" in caplog.text
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    assert handle.path == "ready"
    world.close()


async def test_people_who_wait_have_builds_of_their_own_beside_the_pool(tmp_path: Path) -> None:
    policy = Scripted(target=1)
    world = World(tmp_path, chosen=policy, floor=0, ceiling=20)
    world.supply._most_at_once = 20
    await world.pass_time(30)

    async def rush() -> list[str]:
        handles = await asyncio.gather(*(world.plane.open_desktop(UserId(f"u{n}")) for n in range(12)))
        return [handle.path for handle in handles]

    started_s = world.clock.now_s()
    paths = await world.clock.run(rush())
    assert Counter(paths) == {"ready": 1, "built": 11}, "nobody is turned away for losing a race"
    assert world.clock.now_s() - started_s < 5.0, "they are built side by side"
    await world.pass_time(90)
    assert Counter(world.states().values()) == {"active": 12, "ready": 1}
    assert sum(told.misses for told in policy.told) == 11
    world.close()


async def test_a_start_that_is_refused_is_told_as_ended(tmp_path: Path) -> None:
    policy = Scripted()
    world = World(tmp_path, chosen=policy, floor=0, ceiling=1)
    await world.clock.run(world.plane.open_desktop(ALICE))
    with pytest.raises(Exception, match="in use"):
        await world.clock.run(world.plane.open_desktop(BOB))
    await world.pass_time(90)
    assert [row for told in policy.told for row in told.ended.tolist()] == [1]
    world.close()


async def test_curves_are_made_for_those_in_question_alone(tmp_path: Path) -> None:
    world = World(tmp_path, floor=1, ceiling=5)
    world.forecast.arrival = {ALICE: 0.9, BOB: 0.01, CAROL: 0.0}
    await world.pass_time(10)
    assert set(world.loop.curves) == {ALICE}
    await world.clock.run(world.plane.open_desktop(CAROL))
    await world.pass_time(10)
    assert set(world.loop.curves) == {ALICE, CAROL}, "whoever has a desktop, too"
    curve = world.loop.curve_of(BOB)
    assert curve is not None, "made when it is asked for"
    assert curve.user == BOB
    assert world.loop.curve_of(UserId("nobody")) is None
    world.forecast.broken = True
    assert world.loop.curve_of(BOB) is None
    world.close()

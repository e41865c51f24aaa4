"""The whole control plane under random people, deaths and failures: what must hold whatever happens."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
from control_world import START_S, World
from hypothesis import given, settings

from ghostdesk.allocator.bookings import Booking
from ghostdesk.allocator.capacity import UNRULED, CapacityRules
from ghostdesk.allocator.quotas import GhostQuota, Quota, Quotas
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy, LaunchHidden
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId, UserId

USERS = [UserId(f"u{n}") for n in range(4)]
USER = st.sampled_from(USERS)
DEEDS = st.one_of(
    st.tuples(st.just("open"), USER),
    st.tuples(st.just("end"), USER),
    st.tuples(st.just("prepare"), USER),
    st.tuples(st.just("launch"), USER),
    st.tuples(st.just("kill"), st.integers(0, 9)),
    st.tuples(st.just("vanish"), st.integers(0, 9)),
    st.tuples(st.just("fail"), st.sampled_from([Build, AttachHome, Destroy, LaunchHidden])),
    st.tuples(st.just("expect"), USER),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("pass"), st.sampled_from([0.01, 0.5, 7.0, 400.0])),
)


async def _do(world: World, deed: tuple[str, object]) -> None:
    what, arg = deed
    ghosts = sorted(world.host.desktops)
    match what, arg:
        case "open", str():
            await world.clock.run(world.plane.open_desktop(UserId(arg)))
        case "end", str():
            await world.clock.run(world.plane.end_session(UserId(arg)))
        case "prepare", str():
            await world.clock.run(world.plane.prepare_desktop(UserId(arg)))
        case "launch", str():
            await world.clock.run(world.plane.launch(UserId(arg), AppId("editor")))
        case "kill" | "vanish", int() if ghosts:
            getattr(world.host, what)(ghosts[arg % len(ghosts)])
        case "fail", type():
            world.host.fail(arg)
        case "expect", str():
            world.forecast.arrival = {UserId(arg): 0.9}
            world.forecast.apps = {UserId(arg): ("editor",)}
        case "crash", None:
            await world.crash_and_restart()
        case "pass", float():
            await world.pass_time(arg)


RULED = CapacityRules(
    quotas=Quotas(departments={"physics": Quota(desktops=2)}, ghosts=GhostQuota(desktops=2)),
    departments=dict.fromkeys(USERS[:3], "physics"),
    bookings=(
        Booking("class", START_S + 20, START_S + 900, 2, department="physics", number=1),
        Booking("exam", START_S + 60, START_S + 1200, 1, users=frozenset(USERS[3:]), apps=(AppId("editor"),), number=2),
    ),
)


def _in_use(world: World, department: str) -> int:
    users = [g.owner for g in world.manager if g.state.value == "active" and g.owner is not None]
    return sum(world.rules.department_of(user) == department for user in users)


async def _live(deeds: list[tuple[str, object]], folder: Path, rules: CapacityRules) -> None:
    world = World(folder, floor=1, ceiling=4)
    world.rules = rules
    owner_of: dict[str, str] = {}
    try:
        for deed in deeds:
            try:
                await _do(world, deed)
            except GhostdeskError as refused:  # an answer; what must hold is below
                assert refused.cause
            assert not rules.enforced or _in_use(world, "physics") <= 2, "a department beyond its quota"
            for desktop in world.host.desktops.values():
                if desktop.owner is not None:
                    assert owner_of.setdefault(desktop.ghost, desktop.owner) == desktop.owner, "a second owner"
            assert len([g for g in world.manager if g.state.value != "draining"]) <= world.policy.ceiling + 1
        world.host._refusals.clear()
        world.forecast.arrival = {}
        for user in USERS:
            await world.clock.run(world.plane.end_session(user))
        await world.pass_time(4000)
        assert set(world.states()) == set(world.host.desktops), "nothing leaked, nothing imagined"
        assert [s for s in world.states().values() if s == "ready"] == ["ready"], "the floor holds again"
    finally:
        world.executor.cancel()
        await asyncio.sleep(0)
        world.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(DEEDS, max_size=25), st.sampled_from([UNRULED, RULED]))
def test_whatever_happens_no_ghost_has_two_owners_quotas_hold_and_the_pool_recovers(
    deeds: list[tuple[str, object]], rules: CapacityRules
) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_live(deeds, Path(folder), rules))

"""Reading a large fleet: no tick waits for a slow list, and what we changed meanwhile is seen as it is."""

import asyncio
from typing import Any

from ghostdesk.engines.incus.fleet import LARGE, Fleet
from ghostdesk.kernel.errors import NotFound


class SlowServer:
    """Answers lists only when let go; single instances at once."""

    def __init__(self, count: int) -> None:
        self.instances = {name: self._instance(name) for name in (f"gd-p-g{number}" for number in range(count))}
        self.let_go, self.lists = asyncio.Event(), 0
        self.let_go.set()

    @staticmethod
    def _instance(name: str, status: str = "Running") -> dict[str, Any]:
        return {"name": name, "status": status, "config": {"user.ghostdesk.pool": "p"}}

    async def get(self, path: str, **query: Any) -> Any:
        if path == "/1.0/instances":
            self.lists += 1
            told = list(self.instances.values())
            await self.let_go.wait()
            return told
        if path.endswith("/state"):
            return {"memory": {"usage": 7}}
        name = path.rpartition("/")[2]
        if name not in self.instances:
            raise NotFound(f"no {name}")
        return self.instances[name]


def _fleet(server: SlowServer) -> Fleet:
    return Fleet(server, "p", "", "desks")  # type: ignore[arg-type]


async def test_a_tick_goes_by_the_last_list_and_by_what_we_changed_since() -> None:
    server = SlowServer(LARGE)
    fleet = _fleet(server)
    assert len(await fleet.instances()) == LARGE
    server.let_go.clear()
    # Built and removed while a list is under way that tells of neither.
    assert len(await fleet.instances()) == LARGE
    server.instances["gd-p-new"] = server._instance("gd-p-new")
    server.instances["gd-p-g0"] = server._instance("gd-p-g0", "Frozen")
    del server.instances["gd-p-g1"]
    for name in ("gd-p-new", "gd-p-g0", "gd-p-g1"):
        fleet.changed(name)
    seen = {ghost.ghost: ghost for ghost in fleet.observed(await fleet.instances())}
    assert len(seen) == LARGE and "new" in seen and "g1" not in seen
    assert seen["g0"].frozen and not seen["g2"].frozen  # type: ignore[index]
    server.let_go.set()
    assert len(await fleet.instances_now()) == LARGE
    await fleet.stop()


async def test_a_small_fleet_is_listed_anew_each_time() -> None:
    server = SlowServer(LARGE - 1)
    fleet = _fleet(server)
    for times in (1, 2, 3):
        await fleet.instances()
        assert server.lists == times
    server.instances["gd-p-foreign"] = {"name": "gd-p-foreign", "status": "Running", "config": {}}
    assert len(await fleet.instances()) == LARGE - 1
    await fleet.stop()


async def test_what_instances_use_is_read_beside() -> None:
    server = SlowServer(3)
    fleet = _fleet(server)
    assert {ghost.memory_bytes for ghost in fleet.observed(await fleet.instances())} == {0}
    for _ in range(1000):
        if {ghost.memory_bytes for ghost in fleet.observed(await fleet.instances())} == {7}:
            break
        await asyncio.sleep(0)
    else:
        raise AssertionError("the states were never read")
    await fleet.stop()

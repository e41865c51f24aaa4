"""Three real servers: ghosts are spread over them, and when one dies its people get a new desktop with their home.

Ghosts are placed in a cluster group of two of them. Screens and agents are reached over the API alone, as on machines
whose files the control plane does not see.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from incus_cluster import Cluster, ClusterProblem

from ghostdesk.config import EngineSettings, PoolSettings, Settings, StateSettings
from ghostdesk.control.service import Notice
from ghostdesk.engines.incus.api import IncusApi, instance_path
from ghostdesk.engines.incus.engine import IncusEngine
from ghostdesk.engines.incus.render import instance_name
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sqlite import open_store
from ghostdesk.wiring import Ghostdesk, assemble

pytestmark = pytest.mark.desktop
ANN = UserId("ann")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    if shutil.which("lxd") is None or shutil.which("lxc") is None:
        pytest.skip("LXD is not installed here")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = Path(tempfile.mkdtemp(prefix="gdc", dir="/var/tmp"))
    folder.chmod(0o711)
    cluster = Cluster(folder, os.getpid() % 1000)
    try:
        cluster.start()
        cluster.group("desks", 1, 2)
    except ClusterProblem as problem:
        cluster.stop()
        pytest.skip(f"a cluster cannot be had here: {problem}")
    yield cluster
    cluster.stop()


@pytest.fixture
async def desk(cluster: Cluster, open_dir: Path) -> AsyncIterator[Ghostdesk]:
    """A whole control plane on the cluster, with a pool of three."""
    settings = Settings(
        state=StateSettings(open_dir / "state", open_dir / "run"),
        engine=EngineSettings(
            name="incus", address=cluster.socket(), storage_pool="desks", cluster_group="desks", reach="api"
        ),
        pool=PoolSettings(floor=3, ceiling=6),
    )
    (open_dir / "state").mkdir(mode=0o711)
    store = open_store(open_dir / "state" / "ghostdesk.db", now_s=time.time(), repair=False)
    store.put_user(StoredUser(ANN, "Ann"))
    engine = IncusEngine.from_settings(settings.engine, open_dir / "state", open_dir / "run")
    desk = assemble(settings, store, engine=engine)
    await desk.start()
    yield desk
    await desk.stop(keep_ghosts=False)
    store.close()


async def _until(true: Callable[[], bool], what: str, limit_s: float = 90.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline_s, what
        await asyncio.sleep(0.2)


async def _location(api: IncusApi, desk: Ghostdesk, ghost: GhostId) -> str:
    assert isinstance(desk.engine, IncusEngine)
    name = instance_name(desk.engine.plan.pool, ghost)
    return str((await api.get(instance_path(name)))["location"])


async def test_a_member_is_lost_and_its_people_get_a_new_desktop_with_their_home(
    cluster: Cluster, desk: Ghostdesk, open_dir: Path
) -> None:
    api = IncusApi(cluster.socket())
    await _until(lambda: desk.ready_ghosts() >= 3, "the pool is filled")
    placed = {await _location(api, desk, ghost.ghost) for ghost in desk.loop.manager}
    assert placed == {cluster.node(1), cluster.node(2)}, "the servers deal ghosts out over the members of the group"
    handle = await desk.plane.open_desktop(ANN)
    where = await _location(api, desk, handle.ghost)
    (open_dir / "state" / "homes" / ANN / "thesis.txt").write_text("chapter one")
    told: list[Notice] = []

    async def listen() -> None:
        async for notice in desk.plane.notices(ANN):
            told.append(notice)

    page = asyncio.create_task(listen())
    await asyncio.sleep(0)
    cluster.kill([cluster.node(n) for n in range(3)].index(where))
    await _until(lambda: any(notice.kind == "lost" for notice in told), "Ann's page is told")
    page.cancel()
    again = await desk.plane.open_desktop(ANN)
    assert again.ghost != handle.ghost
    assert await _location(api, desk, again.ghost) != where
    engine = desk.engine
    assert isinstance(engine, IncusEngine)
    name = instance_name(engine.plan.pool, again.ghost)
    pid = (await api.get(instance_path(name, "/state")))["pid"]
    assert Path(f"/proc/{pid}/root/home/user/thesis.txt").read_text() == "chapter one"
    await _until(lambda: desk.ready_ghosts() >= 3, "the pool is filled on the members that are left")
    states = {ghost.state for ghost in desk.loop.manager if ghost.ghost != again.ghost}
    assert states <= {GhostState.READY, GhostState.DRAINING}, "what was on the lost member waits to be destroyed"
    await api.close()

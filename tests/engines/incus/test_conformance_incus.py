"""The Incus engine passes the suite that every engine passes, against a real server that the tests start."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from host_limits import limits_of_process

from ghostdesk.config import EngineSettings
from ghostdesk.engines.incus.api import IncusApi, instance_path
from ghostdesk.engines.incus.engine import IncusEngine
from ghostdesk.engines.incus.render import instance_name
from ghostdesk.engines.protocol import Engine
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Resources
from ghostdesk.testing import EngineConformance, MakeEngine

pytestmark = pytest.mark.desktop
Promise = Callable[[EngineConformance, MakeEngine], Awaitable[None]]


class TestIncusEngine(EngineConformance):
    crash_effects = ()
    crash_after_s = (0.05, 0.4)
    settings: EngineSettings
    folder: Path

    @pytest.fixture
    def make_engine(self, incus_socket: str, open_dir: Path) -> MakeEngine:
        self.folder = open_dir
        self.settings = EngineSettings(name="incus", address=incus_socket, storage_pool="desks", build_timeout_s=60.0)
        return partial(IncusEngine.from_settings, self.settings, open_dir / "state", open_dir / "run")

    async def first_process(self, engine: Engine, ghost: GhostId) -> int:
        assert isinstance(engine, IncusEngine)
        async with _api(self.settings.address) as api:
            return int((await api.get(instance_path(instance_name(engine.plan.pool, ghost), "/state")))["pid"])

    async def limits_seen(self, engine: Engine, ghost: GhostId) -> Resources:
        return limits_of_process(
            await self.first_process(engine, ghost), lambda group: group.startswith("lxc.payload.")
        )

    async def kill(self, engine: Engine, ghost: GhostId) -> None:
        os.kill(await self.first_process(engine, ghost), signal.SIGKILL)

    async def take_away(self, engine: Engine, ghost: GhostId) -> None:
        assert isinstance(engine, IncusEngine)
        path = instance_path(instance_name(engine.plan.pool, ghost))
        async with _api(self.settings.address) as api:
            await api.change("PUT", f"{path}/state", {"action": "stop", "force": True, "timeout": 30})
            await api.change("DELETE", path)

    def leftovers(self) -> list[str]:
        run = self.folder / "run"
        return [str(path) for path in run.iterdir()] if run.is_dir() else []

    def broken(self) -> Mapping[str, MakeEngine]:
        state, run = self.folder / "state", self.folder / "run"
        wrong = {
            "nobody answers": {"address": str(self.folder / "nobody")},
            "the address is none": {"address": "http://example.org"},
            "there is no such pool": {"storage_pool": "nosuch"},
            "there is no such image": {"image": "nosuch"},
            "there is no such project": {"project": "nosuch"},
        }
        return {
            what: partial(IncusEngine.from_settings, replace(self.settings, **change), state, run)
            for what, change in wrong.items()
        }


@asynccontextmanager
async def _api(address: str) -> AsyncIterator[IncusApi]:
    api = IncusApi(address)
    try:
        yield api
    finally:
        await api.close()


@pytest.mark.parametrize(
    "promise",
    [
        EngineConformance.test_a_build_is_observed_alive_and_answers,
        EngineConformance.test_a_new_engine_finds_the_ghosts,
    ],
    ids=lambda promise: promise.__name__.removeprefix("test_"),
)
async def test_over_the_api(promise: Promise, incus_socket: str, open_dir: Path) -> None:
    """Desktops on members whose files the control plane does not see: their sockets come over the API. (The whole suite
    passes so too; these are the promises in which the sockets matter.)"""
    state, run = open_dir / "state", open_dir / "run"
    await promise(
        EngineConformance(),
        lambda: IncusEngine(state, run, api=IncusApi(incus_socket), storage="desks", reach="api"),
    )

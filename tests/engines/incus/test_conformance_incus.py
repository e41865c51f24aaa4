"""The Incus engine passes the suite that every engine passes, against a real server that the tests start."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ghostdesk.engines.incus.api import IncusApi
from ghostdesk.engines.incus.engine import IncusEngine
from ghostdesk.testing import EngineConformance, MakeEngine

pytestmark = pytest.mark.desktop
Promise = Callable[[EngineConformance, MakeEngine], Awaitable[None]]


class TestIncusEngine(EngineConformance):
    @pytest.fixture
    def make_engine(self, incus_socket: str, open_dir: Path) -> MakeEngine:
        return lambda: IncusEngine(open_dir / "state", open_dir / "run", api=IncusApi(incus_socket), storage="desks")


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

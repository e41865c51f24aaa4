"""A real engine and hub in folders of their own, for benchmarks of real desktops."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.telemetry.events import UsageEvent


class NoEvents:
    """Nobody wants to know what the agents report."""

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        pass

    def on_agent_lost(self, ghost: GhostId) -> None:
        pass


@pytest.fixture
async def bench_host() -> AsyncIterator[tuple[LocalEngine, AgentHub]]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = Path(tempfile.mkdtemp(prefix="gd-", dir="/tmp"))  # short and open to other uids, unlike pytest's own
    folder.chmod(0o711)
    engine = LocalEngine(folder / "state", folder / "run", network="isolated", ghosts_yield=False)
    hub = AgentHub(NoEvents(), sources=(), sample_every_s=60.0, clock=SystemClock())
    try:
        await engine.start()
    except GhostdeskError as error:
        pytest.skip(str(error))
    try:
        yield engine, hub
    finally:
        await hub.close()
        await engine.stop(keep_ghosts=False)
        shutil.rmtree(folder, ignore_errors=True)

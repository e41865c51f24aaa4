"""The local engine passes the suite that every engine passes, with each kind of cgroup."""

from pathlib import Path

import pytest

from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.testing import EngineConformance, MakeEngine

pytestmark = pytest.mark.desktop


class TestLocalEngine(EngineConformance):
    @pytest.fixture
    def make_engine(self, desktop_host: None, open_dir: Path) -> MakeEngine:
        return lambda: LocalEngine(open_dir / "state", open_dir / "run", ghosts_yield=False)


class TestLocalEngineIsolated(EngineConformance):
    """With the v1 freezer, and no way to the internet."""

    @pytest.fixture
    def make_engine(self, desktop_host: None, open_dir: Path) -> MakeEngine:
        if not Path("/sys/fs/cgroup/freezer").is_dir():
            pytest.skip("this host has no v1 freezer")
        return lambda: LocalEngine(
            open_dir / "state", open_dir / "run", cgroup_mode="v1", network="isolated", ghosts_yield=False
        )

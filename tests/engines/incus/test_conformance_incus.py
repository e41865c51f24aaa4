"""The Incus engine passes the suite that every engine passes, against a real server that the tests start."""

from pathlib import Path

import pytest

from ghostdesk.engines.incus.api import IncusApi
from ghostdesk.engines.incus.engine import IncusEngine
from ghostdesk.testing import EngineConformance, MakeEngine

pytestmark = pytest.mark.desktop


class TestIncusEngine(EngineConformance):
    @pytest.fixture
    def make_engine(self, incus_socket: str, open_dir: Path) -> MakeEngine:
        return lambda: IncusEngine(open_dir / "state", open_dir / "run", api=IncusApi(incus_socket), storage="desks")

"""The local engine passes the suite that every engine passes, with each kind of cgroup."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from host_limits import limits_of_process

from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.mounts import mounted_under
from ghostdesk.engines.protocol import Engine
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Resources
from ghostdesk.testing import Conformance, EngineConformance, MakeEngine
from ghostdesk.testing.behind import BehindChecks
from ghostdesk.testing.errors import ErrorChecks
from ghostdesk.testing.life import LifeChecks

pytestmark = pytest.mark.desktop


class Local(Conformance):
    """What the protocol does not tell of this engine."""

    folder: Path

    def first_process(self, ghost: GhostId) -> int:
        return int(json.loads((self.folder / "state/ghosts" / ghost / "ghost.json").read_text())["pid"])

    async def limits_seen(self, engine: Engine, ghost: GhostId) -> Resources:
        return limits_of_process(self.first_process(ghost), lambda group: group.startswith("ghostdesk-"))

    async def kill(self, engine: Engine, ghost: GhostId) -> None:
        os.kill(self.first_process(ghost), signal.SIGKILL)

    def leftovers(self) -> list[str]:
        folder = self.folder
        kept = [path for name in ("state/ghosts", "run") if (path := folder / name).is_dir()]
        found = [str(entry) for path in kept for entry in path.iterdir()]
        found += [f"mount {point}" for point in mounted_under(folder)]
        return found + [f"process {words}" for words in _processes_that_name(str(folder))]

    def broken(self) -> Mapping[str, MakeEngine]:
        state, run = self.folder / "state", self.folder / "run"
        (self.folder / "file").write_text("")
        return {
            "the run folder's path is too long": partial(LocalEngine, state, run / ("long" * 30)),
            "the state folder is a file": partial(LocalEngine, self.folder / "file", run),
        }


def _processes_that_name(folder: str) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if folder in words and int(path.parent.name) != os.getpid():
                yield words


class TestLocalEngine(Local, EngineConformance):
    crash_starts = (1, 10)
    """The desktop runs and is not on record; and its way to the network."""

    @pytest.fixture
    def make_engine(self, desktop_host: None, open_dir: Path) -> MakeEngine:
        self.folder = open_dir
        return partial(LocalEngine, open_dir / "state", open_dir / "run", ghosts_yield=False)


class TestLocalEngineIsolated(Local, LifeChecks, ErrorChecks, BehindChecks):
    """With the v1 freezer, and no way to the internet."""

    @pytest.fixture
    def make_engine(self, desktop_host: None, open_dir: Path) -> MakeEngine:
        if not Path("/sys/fs/cgroup/freezer").is_dir():
            pytest.skip("this host has no v1 freezer")
        self.folder = open_dir
        return partial(
            LocalEngine, open_dir / "state", open_dir / "run", cgroup_mode="v1", network="isolated", ghosts_yield=False
        )

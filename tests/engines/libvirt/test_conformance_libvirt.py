"""The libvirt engine passes the suite that every engine passes, on a real libvirtd with QEMU by software emulation.

A machine under emulation takes seconds where a container takes a tenth of one. By default the part is run that touches
each kind of command once; GHOSTDESK_LONG_TESTS=1 runs all of it.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest
from libvirt_daemon import LibvirtDaemon

from ghostdesk.engines.libvirt.engine import LibvirtEngine
from ghostdesk.engines.libvirt.limits import PERIOD_US
from ghostdesk.engines.libvirt.render import MachinePlan
from ghostdesk.engines.local.mounts import mounted_under
from ghostdesk.engines.protocol import Engine
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import MIB, Resources
from ghostdesk.testing import EngineConformance, MakeEngine

pytestmark = pytest.mark.desktop
LONG = "GHOSTDESK_LONG_TESTS"
_ALWAYS = frozenset(
    {
        "test_it_says_what_it_can_and_how_much",
        "test_it_says_what_the_host_is_like",
        "test_a_build_is_observed_alive_and_answers",
        "test_memory_goes_and_comes_back",
        "test_an_unknown_ghost_is_not_found",
        "test_an_engine_that_cannot_work_says_so_at_the_start",
    }
)


class TestLibvirtEngine(EngineConformance):
    limits: ClassVar[Resources] = Resources(cpu_cores=1.0, memory_bytes=448.0 * MIB, storage_bytes_per_s=100e6)
    crash_effects: ClassVar[tuple[int, ...]] = ()
    crash_after_s: ClassVar[tuple[float, ...]] = (0.05, 1.0)

    @pytest.fixture(autouse=True)
    def _only_some(self, request: pytest.FixtureRequest) -> None:
        if request.node.originalname not in _ALWAYS and not os.environ.get(LONG):
            pytest.skip(f"under emulation this takes long: set {LONG}=1")

    @pytest.fixture
    def make_engine(self, emulated_engine: MakeEngine, daemon: LibvirtDaemon, machine_plan: MachinePlan) -> MakeEngine:
        self.daemon, self.plan = daemon, machine_plan
        return emulated_engine

    async def kill(self, engine: Engine, ghost: GhostId) -> None:
        assert isinstance(engine, LibvirtEngine)
        pid = int((self.daemon.folder / "run" / "qemu" / f"{engine.site.name(ghost)}.pid").read_text())
        os.kill(pid, signal.SIGKILL)

    async def limits_seen(self, engine: Engine, ghost: GhostId) -> Resources:
        """As the hypervisor says. (Memory is the guest's to give: how fast it does, nobody promises.)"""
        assert isinstance(engine, LibvirtEngine)
        told = await engine.site.on(ghost, lambda domain: domain.schedulerParametersFlags(0))
        return Resources(cpu_cores=max(told["global_quota"], 0) / PERIOD_US, memory_bytes=-1.0)

    def leftovers(self) -> Sequence[str]:
        folder = self.daemon.folder
        machines = [f"process {pid}" for pid in self.daemon.machines()]
        disks = [path.name for path in (folder / "pool").glob("gd-*") if "-base" not in path.name]
        folders = [str(path) for name in ("state/machines", "g") for path in (folder / name).glob("*")]
        return [*machines, *disks, *folders, *map(str, mounted_under(folder / "state"))]

    def broken(self) -> Mapping[str, MakeEngine]:
        def engine(uri: str, plan: MachinePlan) -> MakeEngine:
            folder = self.daemon.folder / "broken"
            return partial(LibvirtEngine, folder / "state", folder / "g", uri=uri, plan=plan)

        return {
            "nobody listens": engine(f"qemu+unix:///system?socket={self.daemon.folder}/nobody", self.plan),
            "no such pool": engine(self.daemon.uri, replace(self.plan, storage_pool="attic")),
            "no such image": engine(self.daemon.uri, replace(self.plan, image="windows.raw")),
            "another architecture": engine(self.daemon.uri, replace(self.plan, architecture="s390x")),
            "no password for VMware": engine("esx://127.0.0.1/?no_verify=1", self.plan),
        }

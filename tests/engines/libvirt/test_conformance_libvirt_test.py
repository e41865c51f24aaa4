"""The libvirt engine on `test:///default`: libvirt's pretended host answers its calls and proves no effect."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ghostdesk.engines.libvirt.engine import LibvirtEngine
from ghostdesk.engines.protocol import Engine
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Resources
from ghostdesk.testing import EngineConformance, MakeEngine


class TestLibvirtEngineOnThePretendedHost(EngineConformance):
    real_desktops: ClassVar[bool] = False

    @pytest.fixture
    def make_engine(self, pretended_engine: MakeEngine, pretended_host: Any, open_dir: Path) -> MakeEngine:
        self.host, self.folder, self.make = pretended_host, open_dir, pretended_engine
        return pretended_engine

    async def kill(self, engine: Engine, ghost: GhostId) -> None:
        self._machine(engine, ghost).destroy()

    async def take_away(self, engine: Engine, ghost: GhostId) -> None:
        machine = self._machine(engine, ghost)
        machine.destroy()
        machine.undefine()

    async def limits_seen(self, engine: Engine, ghost: GhostId) -> Resources:
        """The driver has no limit of processor time."""
        _, most_kib, memory_kib, *_ = self._machine(engine, ghost).info()
        return Resources(cpu_cores=-1.0, memory_bytes=0.0 if memory_kib == most_kib else memory_kib * 1024.0)

    def broken(self) -> Mapping[str, MakeEngine]:
        engine = self.make()
        assert isinstance(engine, LibvirtEngine)
        plan = engine.plan

        def other(**changed: str) -> MakeEngine:
            return lambda: LibvirtEngine(
                self.folder / "s", self.folder / "r", uri="test:///default", plan=replace(plan, **changed)
            )

        return {"no pool": other(storage_pool="x"), "no image": other(image="x"), "wrong": other(architecture="s390x")}

    def _machine(self, engine: Engine, ghost: GhostId) -> Any:
        assert isinstance(engine, LibvirtEngine)
        return self.host.lookupByName(engine.site.name(ghost))

    async def test_an_application_waits_hidden_and_is_shown(self, make_engine: MakeEngine) -> None:
        pytest.skip("nothing runs in a pretended machine, so no agent does")

"""The libvirt engine on `test:///default`: libvirt's pretended host answers its calls and proves no effect."""

from typing import ClassVar

import pytest

from ghostdesk.testing import EngineConformance, MakeEngine


class TestLibvirtEngineOnThePretendedHost(EngineConformance):
    real_desktops: ClassVar[bool] = False

    @pytest.fixture
    def make_engine(self, pretended_engine: MakeEngine) -> MakeEngine:
        return pretended_engine

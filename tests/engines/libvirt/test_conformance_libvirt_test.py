"""The libvirt engine on `test:///default`: libvirt's pretended host answers its calls and proves no effect."""

from typing import ClassVar

import pytest

from ghostdesk.testing import EngineConformance, MakeEngine


class TestLibvirtEngineOnThePretendedHost(EngineConformance):
    real_desktops: ClassVar[bool] = False

    @pytest.fixture
    def make_engine(self, pretended_engine: MakeEngine) -> MakeEngine:
        return pretended_engine

    async def test_an_application_waits_hidden_and_is_shown(self, make_engine: MakeEngine) -> None:
        pytest.skip("nothing runs in a pretended machine, so no agent does")

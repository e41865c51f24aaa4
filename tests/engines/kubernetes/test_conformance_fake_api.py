"""The Kubernetes engine passes the suite that every engine passes: against a FAKE API server and a played node."""

from collections.abc import Callable

import pytest

from ghostdesk.engines.kubernetes.engine import KubernetesEngine
from ghostdesk.testing import EngineConformance, MakeEngine


class TestKubernetesEngineOnAFakeApi(EngineConformance):
    @pytest.fixture
    def make_engine(self, make: Callable[..., KubernetesEngine]) -> MakeEngine:
        return make

"""A fake API server with a node that the tests play."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from fake_kubernetes import ADMIN, FakeKubernetes
from played_node import NAMESPACE, PLAN, PlayedNode

from ghostdesk.engines.kubernetes.api import KubernetesApi
from ghostdesk.engines.kubernetes.engine import KubernetesEngine
from ghostdesk.engines.kubernetes.render import PodPlan


@pytest.fixture
async def cluster() -> AsyncIterator[FakeKubernetes]:
    fake = FakeKubernetes()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def node(cluster: FakeKubernetes, tmp_path: Path) -> AsyncIterator[PlayedNode]:
    api = KubernetesApi(cluster.kubeconfig(tmp_path / "admin.yaml", ADMIN))
    played = PlayedNode(api, NAMESPACE)
    cluster.forward = played.forward
    await played.start()
    yield played
    await played.stop()
    await api.close()


@pytest.fixture
def make(cluster: FakeKubernetes, node: PlayedNode, tmp_path: Path) -> Callable[..., KubernetesEngine]:
    """Makes engines that look at the same cluster."""
    config = cluster.kubeconfig(tmp_path / "ghostdesk.yaml")

    def made(plan: PodPlan = PLAN, build_timeout_s: float = 20.0) -> KubernetesEngine:
        api = KubernetesApi(config)
        return KubernetesEngine(
            tmp_path / "state", tmp_path / "run", api=api, plan=plan, build_timeout_s=build_timeout_s
        )

    return made

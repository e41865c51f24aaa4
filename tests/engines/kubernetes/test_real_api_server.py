"""The engine against a REAL kube-apiserver and etcd, as the account that our manifests give it; the node is played.

Skips where those programs are not found (see support/kubernetes_server.py): Debian has no package of them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kubernetes_server import ADMIN, KubernetesServer, collection, kubernetes_server, programs
from played_node import NAMESPACE, PLAN, PlayedNode

from ghostdesk.engines.kubernetes import manifests
from ghostdesk.engines.kubernetes.api import KubernetesApi
from ghostdesk.engines.kubernetes.engine import KubernetesEngine
from ghostdesk.engines.kubernetes.errors import BadCertificate, BadCredentials, Expired, MissingRight, NameTaken
from ghostdesk.engines.protocol import RESIZING
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy, SetLimits
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import InsufficientCapacity, MissingRequirement, Unsupported
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, Resources
from ghostdesk.testing import EngineConformance, MakeEngine

G, ANN = GhostId("g1"), UserId("ann")
LIMITS = Resources(cpu_cores=1, memory_bytes=GIB)
TEMPLATE = DesktopTemplate(TemplateId("office"))
Make = Callable[..., KubernetesEngine]


@pytest.fixture(scope="module")
def server() -> Iterator[KubernetesServer]:
    found = programs()
    if found is None:
        pytest.skip("no kube-apiserver and etcd here (GHOSTDESK_KUBE_APISERVER, GHOSTDESK_ETCD, or PATH) and openssl")
    with kubernetes_server(found) as running:
        yield running


@pytest.fixture
async def admin(server: KubernetesServer, tmp_path: Path) -> AsyncIterator[KubernetesApi]:
    api = KubernetesApi(server.kubeconfig(tmp_path / "admin.yaml", ADMIN))
    for held in manifests.files(NAMESPACE).values():
        for one in held:
            try:
                await api.create(collection(one), one)
            except NameTaken:
                continue
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    with contextlib.suppress(NameTaken):  # which a controller manager would make
        await api.create(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account)
    yield api
    await api.close()


@pytest.fixture
async def node(server: KubernetesServer, admin: KubernetesApi) -> AsyncIterator[PlayedNode]:
    played = PlayedNode(admin, NAMESPACE)
    await played.start(await played.serve_kubelet(server.certificate))
    yield played
    await played.stop()
    found, _ = await admin.items(f"/api/v1/namespaces/{NAMESPACE}/pods")
    for pod in found:
        await admin.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}", pod["metadata"]["uid"], 0)


@pytest.fixture
async def make(server: KubernetesServer, admin: KubernetesApi, node: PlayedNode, tmp_path: Path) -> Make:
    """Makes engines that act as the service account `ghostdesk`, with a token of its own."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{manifests.ACCOUNT}/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = (await admin.create(path, asked))["status"]["token"]
    config = server.kubeconfig(tmp_path / "ghostdesk.yaml", token)

    def made(plan=PLAN, build_timeout_s: float = 60.0) -> KubernetesEngine:
        api = KubernetesApi(config)
        return KubernetesEngine(
            tmp_path / "state", tmp_path / "run", api=api, plan=plan, build_timeout_s=build_timeout_s
        )

    return made


class TestKubernetesEngineOnARealApiServerWithAPlayedNode(EngineConformance):
    @pytest.fixture
    def make_engine(self, make: Make) -> MakeEngine:
        return make

    async def test_an_application_waits_hidden_and_is_shown(self, make_engine: MakeEngine) -> None:
        pytest.skip("there is no agent in a played pod")


async def test_a_real_server_takes_our_pods_as_they_are(make: Make, admin: KubernetesApi) -> None:
    engine = make()
    await engine.start()
    assert (await engine.apply(Build(G, TEMPLATE, LIMITS))).ok
    (pod,), _ = await admin.items(f"/api/v1/namespaces/{NAMESPACE}/pods")
    assert pod["spec"]["priority"] == manifests.GHOST_VALUE, "resolved by the server from our priority class"
    assert pod["status"]["qosClass"] == "Burstable"
    outcome = await engine.apply(AttachHome(G, ANN))
    assert outcome.ok, outcome.error
    (pod,), _ = await admin.items(f"/api/v1/namespaces/{NAMESPACE}/pods")
    assert pod["spec"]["priority"] == manifests.PERSON_VALUE
    resized = await engine.apply(SetLimits(G, LIMITS.scaled(2)))
    can = any(one.name == RESIZING and one.available for one in engine.abilities())
    assert resized.ok if can else isinstance(resized.error, Unsupported), resized.error
    await engine.stop(keep_ghosts=False)


async def test_the_account_has_no_more_rights_than_we_say(make: Make) -> None:
    engine = make()
    await engine.start()
    base = f"/api/v1/namespaces/{NAMESPACE}"
    for refused in (f"{base}/secrets", "/api/v1/namespaces", "/api/v1/pods", f"{base}/configmaps"):
        with pytest.raises(MissingRight):
            await engine._api.items(refused)
    with pytest.raises(MissingRight):
        await engine._api.delete(f"{base}/persistentvolumeclaims/gd-test-home-x", "x", 0)
    await engine.stop(keep_ghosts=False)


async def test_without_our_role_nothing_starts_and_all_is_named(make: Make, admin: KubernetesApi) -> None:
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/rolebindings"
    bound = await admin.get(f"{path}/{manifests.ACCOUNT}")
    await admin.call("DELETE", f"{path}/{manifests.ACCOUNT}", {})
    try:
        with pytest.raises(MissingRight, match=r"create pods.*portforward"):
            async with asyncio.timeout(30):
                while True:  # the server's own view of its rules lags a little
                    engine = make()
                    await engine.start()
                    await engine.stop(keep_ghosts=False)
    finally:
        again = {key: bound[key] for key in ("apiVersion", "kind", "roleRef", "subjects")}
        again["metadata"] = {"name": manifests.ACCOUNT, "namespace": NAMESPACE}
        await admin.create(path, again)


async def test_a_full_quota_is_told(make: Make, admin: KubernetesApi) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "desktops"},
        "spec": {"hard": {"pods": "0"}},
    }
    await admin.create(path, quota)
    status = {"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}}  # which a controller manager would write
    await admin.patch(f"{path}/desktops/status", status)
    engine = make()
    await engine.start()
    try:
        async with asyncio.timeout(30):
            while not isinstance(
                (outcome := await engine.apply(Build(G, TEMPLATE, LIMITS))).error, InsufficientCapacity
            ):
                assert outcome.ok, outcome.error
                await engine.apply(Destroy(G))
    finally:
        await admin.call("DELETE", f"{path}/desktops", {})
        await engine.stop(keep_ghosts=False)


async def test_wrong_credentials_and_certificates_are_told(server: KubernetesServer, tmp_path: Path) -> None:
    api = KubernetesApi(server.kubeconfig(tmp_path / "a.yaml", "of nobody"))
    with pytest.raises(BadCredentials):
        await api.get("/api/v1/nodes")
    await api.close()
    told = server.kubeconfig(tmp_path / "b.yaml", ADMIN)
    told.write_text(told.read_text().replace(f', "certificate-authority": "{server.authority}"', ""))
    api = KubernetesApi(told)
    with pytest.raises(BadCertificate):
        await api.get("/version")
    await api.close()


async def test_watches_are_told_of_and_refused_as_documented(admin: KubernetesApi, node: PlayedNode) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    with pytest.raises(Expired):
        async with asyncio.timeout(60):
            async for event in admin.watch(path, "1"):
                assert event.kind in ("OPEN", "ADDED", "MODIFIED", "DELETED", "BOOKMARK")


async def test_another_priority_is_missed(make: Make, admin: KubernetesApi) -> None:
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    await admin.call("DELETE", f"{path}/ghostdesk-person", {})
    try:
        with pytest.raises(MissingRequirement, match=r"priorities\.yaml"):
            await make().start()
    finally:
        await admin.create(path, manifests.priorities()[1])


async def test_desktops_are_reached_without_the_api_server_too(make: Make) -> None:
    engine = make(replace(PLAN, transport="pod-ip"))
    await engine.start()
    outcome = await engine.apply(Build(G, TEMPLATE, LIMITS))
    assert outcome.ok, outcome.error
    await engine.stop(keep_ghosts=False)

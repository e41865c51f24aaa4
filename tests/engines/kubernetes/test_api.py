"""Requests, lists and watches, against a FAKE API server that fails on demand."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from fake_kubernetes import ADMIN, FakeKubernetes, Fault

from ghostdesk.engines.kubernetes import api as api_module
from ghostdesk.engines.kubernetes import pods as pods_module
from ghostdesk.engines.kubernetes.api import KubernetesApi
from ghostdesk.engines.kubernetes.errors import (
    BadCertificate,
    BadCredentials,
    Changed,
    Expired,
    MissingRight,
    NameTaken,
    Overloaded,
    Rejected,
    Unreachable,
)
from ghostdesk.engines.kubernetes.pods import Pods
from ghostdesk.kernel.errors import EngineError, MissingRequirement, NotFound

PODS = "/api/v1/namespaces/desks/pods"


def pod(name: str, **labels: str) -> dict[str, object]:
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": {"containers": []}}


@pytest.fixture
async def api(cluster: FakeKubernetes, tmp_path: Path):
    made = KubernetesApi(cluster.kubeconfig(tmp_path / "config.yaml"))
    yield made
    await made.close()


def calls(cluster: FakeKubernetes, method: str) -> int:
    return sum(1 for called, _ in cluster.calls if called == method)


async def test_objects_are_made_read_changed_and_removed(api: KubernetesApi) -> None:
    made = await api.create(PODS, pod("a", x="1"))
    assert (await api.get(f"{PODS}/a"))["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(NameTaken):
        await api.create(PODS, pod("a"))
    changed = await api.patch(f"{PODS}/a", {"metadata": {"labels": {"x": "2"}}})
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {"x": "3"}}}
    with pytest.raises(Changed):
        await api.patch(f"{PODS}/a", stale)
    assert changed["metadata"]["labels"] == {"x": "2"}
    with pytest.raises(Changed):
        await api.delete(f"{PODS}/a", "of another pod of that name", 0)
    await api.delete(f"{PODS}/a", made["metadata"]["uid"], 0)
    with pytest.raises(NotFound):
        await api.get(f"{PODS}/a")


async def test_long_lists_are_read_page_by_page(
    api: KubernetesApi, cluster: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "PAGE", 2)
    for number in range(5):
        await api.create(PODS, pod(f"a{number}"))
    cluster.faults.append(Fault("GET", "continue=2", 410, "the continue token is too old", "Expired"))
    found, version = await api.items(PODS)
    assert [one["metadata"]["name"] for one in found] == [f"a{number}" for number in range(5)]
    assert version == found[-1]["metadata"]["resourceVersion"]


@pytest.mark.parametrize("status", [429, 500, 503, 0])
async def test_what_may_be_repeated_is(api: KubernetesApi, cluster: FakeKubernetes, status: int) -> None:
    await api.create(PODS, pod("a"))
    times = 1 if status == 429 else 2  # such a server gets the second that it is given by default
    cluster.faults.append(Fault("GET", "pods/a", status, times=times))
    assert (await api.get(f"{PODS}/a"))["metadata"]["name"] == "a"
    assert calls(cluster, "GET") == times + 1


async def test_it_gives_up_after_some_tries(api: KubernetesApi, cluster: FakeKubernetes) -> None:
    cluster.faults.append(Fault("GET", "pods", 503, times=100))
    with pytest.raises(Overloaded, match="failed"):
        await api.get(PODS)
    assert calls(cluster, "GET") == 4


async def test_what_makes_something_is_not_repeated_blindly(api: KubernetesApi, cluster: FakeKubernetes) -> None:
    cluster.faults.append(Fault("POST", "pods", 0, lost=True))
    with pytest.raises(Unreachable):
        await api.create(PODS, pod("a"))
    assert calls(cluster, "POST") == 1
    cluster.faults.append(Fault("POST", "pods", 500))
    with pytest.raises(Overloaded):
        await api.create(PODS, pod("b"))
    assert calls(cluster, "POST") == 2


async def test_a_server_that_asks_for_time_gets_it(api: KubernetesApi, cluster: FakeKubernetes) -> None:
    cluster.faults.append(Fault("POST", "pods", 429, headers={"Retry-After": "1"}))
    before_s = asyncio.get_running_loop().time()
    await api.create(PODS, pod("a"))
    assert asyncio.get_running_loop().time() - before_s >= 0.7
    assert calls(cluster, "POST") == 2


async def test_a_slow_server_is_unreachable(
    api: KubernetesApi, cluster: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "_CALL_S", 0.2)
    monkeypatch.setattr(api_module, "_TRIES", 2)
    cluster.faults.append(Fault("GET", "pods", 200, times=10, delay_s=5.0))
    with pytest.raises(Unreachable, match="cannot be reached") as told:
        await api.get(PODS)
    assert told.value.retry_after_s


async def test_calls_are_bounded(api: KubernetesApi, cluster: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most = 0, 0
    once = api._once

    async def counted(*told):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await once(*told)
        finally:
            under_way -= 1

    monkeypatch.setattr(api, "_once", counted)
    await asyncio.gather(*(api.get(PODS) for _ in range(60)))
    assert most == api_module.MOST_AT_ONCE


async def test_credentials_that_are_not_known(cluster: FakeKubernetes, tmp_path: Path) -> None:
    api = KubernetesApi(cluster.kubeconfig(tmp_path / "config.yaml", "of nobody"))
    with pytest.raises(BadCredentials, match="Renew"):
        await api.get(PODS)
    await api.close()


async def test_a_right_that_is_missing(api: KubernetesApi, cluster: FakeKubernetes) -> None:
    cluster.refused.add(("list", "pods"))
    with pytest.raises(MissingRight, match=r"access\.yaml"):
        await api.items(PODS)


async def test_what_the_server_finds_fault_with(api: KubernetesApi) -> None:
    with pytest.raises(Rejected, match="RFC 1123"):
        await api.create(PODS, pod("Not A Name"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be used|No cluster"),
        ("{", "cannot be used|No cluster"),
        ("apiVersion: v1\nkind: Config\n", "No cluster"),
    ],
)
async def test_a_kubeconfig_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(MissingRequirement, match=said) as told:
        await KubernetesApi(path).get("/version")
    assert told.value.mend


async def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingRequirement, match="No cluster"):
        await KubernetesApi(tmp_path / "nothing.yaml").get("/version")


async def test_nobody_listens(cluster: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "_TRIES", 2)
    cluster.url = "http://127.0.0.1:9"
    api = KubernetesApi(cluster.kubeconfig(tmp_path / "config.yaml"))
    with pytest.raises(Unreachable, match="cannot be reached"):
        await api.get("/version")
    await api.close()


async def test_a_server_that_is_something_else(api: KubernetesApi, cluster: FakeKubernetes) -> None:
    cluster.version = ""
    with pytest.raises(NotFound):
        await api.get("/somewhere")


@pytest.fixture
def key_pair(tmp_path: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("not installed: openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=fake"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words.split(), *more], check=True, capture_output=True)
    return key, certificate


@pytest.fixture
async def with_certificate(key_pair: tuple[Path, Path]):
    key, certificate = key_pair
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    fake = FakeKubernetes()
    await fake.start(context)
    yield fake, certificate
    await fake.stop()


async def test_only_the_right_certificate_is_trusted(with_certificate, tmp_path: Path) -> None:
    fake, certificate = with_certificate
    trusting = KubernetesApi(fake.kubeconfig(tmp_path / "a.yaml", **{"certificate-authority": str(certificate)}))
    assert (await trusting.get("/version"))["gitVersion"] == fake.version
    await trusting.close()
    strange = KubernetesApi(fake.kubeconfig(tmp_path / "b.yaml"))
    with pytest.raises(BadCertificate, match="certificate-authority"):
        await strange.get("/version")
    await strange.close()
    missing = KubernetesApi(fake.kubeconfig(tmp_path / "c.yaml", **{"certificate-authority": "/nowhere/ca.pem"}))
    with pytest.raises(EngineError):
        await missing.get("/version")
    await missing.close()


# Watching


@pytest.fixture
async def pods(api: KubernetesApi, cluster: FakeKubernetes):
    made = Pods(api, PODS, "app=desk")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def other(cluster: FakeKubernetes, tmp_path: Path):
    """Somebody else, who changes things behind our back."""
    made = KubernetesApi(cluster.kubeconfig(tmp_path / "other.yaml", ADMIN))
    yield made
    await made.close()


async def names(pods: Pods) -> list[str]:
    return sorted(one["metadata"]["name"] for one in await pods.now())


async def until_named(pods: Pods, wanted: list[str]) -> None:
    async with asyncio.timeout(20):
        while await names(pods) != wanted:  # noqa: ASYNC110 - what is tested must not tell by itself
            await asyncio.sleep(0.01)


def lists(cluster: FakeKubernetes) -> int:
    return sum(1 for method, path in cluster.calls if method == "GET" and path == PODS)


async def test_what_others_change_is_heard(
    pods: Pods, other: KubernetesApi, cluster: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods_module, "EXACT_UP_TO", -1)
    made = await other.create(PODS, pod("a", app="desk"))
    await other.create(PODS, pod("b", app="other"))
    await until_named(pods, ["a"])
    await other.delete(f"{PODS}/a", made["metadata"]["uid"], 0)
    await until_named(pods, [])
    heard = lists(cluster)
    for _ in range(20):
        await pods.now()
    assert lists(cluster) == heard, "while the watch lives, nothing is listed again"


async def test_a_few_pods_are_listed_each_time_so_that_what_others_did_is_seen_at_once(
    pods: Pods, other: KubernetesApi, cluster: FakeKubernetes
) -> None:
    cluster.deaf = True  # the watch tells nothing
    await other.create(PODS, pod("a", app="desk"))
    assert await names(pods) == ["a"]


async def test_a_watch_that_is_cut_goes_on_where_it_was(
    pods: Pods, other: KubernetesApi, cluster: FakeKubernetes
) -> None:
    await other.create(PODS, pod("a", app="desk"))
    await until_named(pods, ["a"])
    cluster.cut_watches()
    await other.create(PODS, pod("b", app="desk"))
    await until_named(pods, ["a", "b"])


async def test_bookmarks_carry_a_watch_over_a_history_that_is_forgotten(
    api: KubernetesApi, other: KubernetesApi, cluster: FakeKubernetes
) -> None:
    cluster.bookmark_every_s = 0.02
    pods = Pods(api, PODS, "app=desk")
    await pods.start()
    try:
        for number in range(3):
            await other.create(PODS, pod(f"x{number}", app="other"))  # nothing of ours
        newest = max(int(one["metadata"]["resourceVersion"]) for one in cluster.of("pods"))
        async with asyncio.timeout(20):
            while int(pods._version) < newest:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        cluster.forget_history(newest)  # older than the bookmark, newer than the list
        cluster.cut_watches()
        await other.create(PODS, pod("a", app="desk"))
        await until_named(pods, ["a"])
        assert cluster.expired == 0, "it went on from the bookmark, not from the list"
    finally:
        await pods.stop()


async def test_a_version_that_is_forgotten_is_listed_anew(
    pods: Pods, other: KubernetesApi, cluster: FakeKubernetes
) -> None:
    made = await other.create(PODS, pod("a", app="desk"))
    await until_named(pods, ["a"])
    cluster.cut_watches()
    await other.delete(f"{PODS}/a", made["metadata"]["uid"], 0)
    await other.create(PODS, pod("b", app="desk"))
    cluster.forget_history()
    await until_named(pods, ["b"])


async def test_a_watch_too_far_back_is_expired(api: KubernetesApi, cluster: FakeKubernetes) -> None:
    cluster.forget_history()
    with pytest.raises(Expired):
        async for _ in api.watch(PODS, "1"):
            pass


async def test_what_goes_wrong_is_said_and_not_covered_up(
    pods: Pods, other: KubernetesApi, cluster: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await other.create(PODS, pod("a", app="desk"))
    await until_named(pods, ["a"])
    cluster.known_tokens = {ADMIN}
    cluster.cut_watches()
    async with asyncio.timeout(20):
        while True:
            try:
                await pods.now()
            except BadCredentials:
                break
            await asyncio.sleep(0.01)
    cluster.known_tokens = {ADMIN, "token-of-ghostdesk"}
    assert await names(pods) == ["a"]


async def test_an_older_event_does_not_undo_what_we_wrote(pods: Pods, api: KubernetesApi) -> None:
    made = pods.note(await api.create(PODS, pod("a", app="desk", state="old")))
    pods.note(await api.patch(f"{PODS}/a", {"metadata": {"labels": {"state": "new"}}}))
    pods.note(made)
    assert [one["metadata"]["labels"]["state"] for one in await pods.now()] == ["new"]
    pods.note_gone(made["metadata"]["uid"])
    pods.note(made)
    assert await pods.now() == []


async def test_waiting_for_a_pod_ends_when_it_goes(pods: Pods, api: KubernetesApi, other: KubernetesApi) -> None:
    made = pods.note(await api.create(PODS, pod("a", app="desk")))
    waiting = asyncio.create_task(pods.until(made, lambda _one: False, 20))
    await other.delete(f"{PODS}/a", made["metadata"]["uid"], 0)
    with pytest.raises(NotFound):
        await waiting

"""What the engine does when things go well and badly: against a FAKE API server and a played node."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_kubernetes import FakeKubernetes, Fault
from played_node import NAMESPACE, PLAN, PlayedNode

from ghostdesk.engines.kubernetes import making
from ghostdesk.engines.kubernetes.api import KubernetesApi
from ghostdesk.engines.kubernetes.engine import KubernetesEngine
from ghostdesk.engines.kubernetes.errors import (
    BadCredentials,
    Changed,
    ImageMissing,
    MissingRight,
    NameTaken,
    Unreachable,
)
from ghostdesk.engines.kubernetes.names import claim_name, quantity
from ghostdesk.engines.protocol import RESIZING, ObservedGhost
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy, Freeze, Outcome, SetLimits, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import (
    BuildFailed,
    Conflict,
    GhostdeskError,
    InsufficientCapacity,
    MissingRequirement,
    NotFound,
    Unsupported,
)
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, Priority, Resources

Object = dict[str, Any]
TEMPLATE = DesktopTemplate(TemplateId("office"))
LIMITS = Resources(cpu_cores=1, memory_bytes=GIB)
G, ANN, BOB = GhostId("g1"), UserId("ann"), UserId("bob")


@pytest.fixture
async def engine(make: Callable[..., KubernetesEngine]) -> AsyncIterator[KubernetesEngine]:
    made = make()
    await made.start()
    yield made
    await made.stop(keep_ghosts=True)


async def done(engine: KubernetesEngine, command: Any) -> Outcome:
    outcome = await engine.apply(command)
    assert outcome.ok, outcome.error
    return outcome


async def failed(engine: KubernetesEngine, command: Any, kind: type[GhostdeskError]) -> GhostdeskError:
    outcome = await engine.apply(command)
    assert isinstance(outcome.error, kind), outcome.error
    assert outcome.error.cause
    return outcome.error


async def build(engine: KubernetesEngine, ghost: GhostId = G) -> None:
    await done(engine, Build(ghost, TEMPLATE, LIMITS))


async def seen(engine: KubernetesEngine, wanted: Callable[[ObservedGhost | None], bool]) -> None:
    """Wait until `observe` shows it."""
    async with asyncio.timeout(20):
        while True:
            found = await engine.observe()
            if wanted(found[0] if found else None):
                return
            await asyncio.sleep(0.01)


def pods(cluster: FakeKubernetes) -> list[Object]:
    return cluster.of("pods")


# Homes


async def test_a_person_gets_a_pod_of_their_own_with_their_home(
    engine: KubernetesEngine, cluster: FakeKubernetes
) -> None:
    await build(engine)
    before = pods(cluster)[0]
    endpoint = engine.endpoint(G)
    outcome = await done(engine, AttachHome(G, ANN))
    (after,) = pods(cluster)
    assert after["metadata"]["uid"] != before["metadata"]["uid"], "a volume cannot be added to a running pod"
    assert outcome.facts["attached"] == "in a new pod"
    assert after["spec"]["priorityClassName"] == "ghostdesk-person"
    assert before["spec"]["priorityClassName"] == "ghostdesk-ghost"
    claims = [
        one["persistentVolumeClaim"]["claimName"] for one in after["spec"]["volumes"] if "persistentVolumeClaim" in one
    ]
    assert claims == [claim_name("test", ANN)]
    assert [one["metadata"]["name"] for one in cluster.of("persistentvolumeclaims")] == claims
    assert after["spec"]["containers"][0]["resources"] == before["spec"]["containers"][0]["resources"]
    assert engine.endpoint(G) == endpoint, "nobody else need know that the pod is another"


async def test_each_pod_is_somebody_else(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    told = []
    for number in (1, 2):
        ghost = GhostId(f"g{number}")
        await build(engine, ghost)
    await done(engine, AttachHome(G, ANN))
    for secret in cluster.of("secrets"):
        told.append((secret["stringData"]["token"], secret["stringData"]["machine-id"].strip()))
    assert len({token for token, _ in told}) == 2 and len({machine for _, machine in told}) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", machine) for _, machine in told)
    kept = (await engine.apply(Freeze(G))).ok
    assert kept


async def test_until_the_new_pod_answers_the_old_one_stays(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    await build(engine)
    cluster.most_pods = 1
    error = await failed(engine, AttachHome(G, ANN), InsufficientCapacity)
    assert "quota" in error.cause
    (left,) = pods(cluster)
    assert left["metadata"]["labels"]["ghostdesk/generation"] == "1"
    await seen(engine, lambda one: one is not None and one.alive and one.owner is None)
    cluster.most_pods = None
    await done(engine, AttachHome(G, ANN))


async def test_a_home_is_never_anybody_elses(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    await build(engine)
    name = claim_name("test", ANN)
    cluster.objects["persistentvolumeclaims", NAMESPACE, name] = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {"ghostdesk/owner": "bob"}},
    }
    await failed(engine, AttachHome(G, ANN), Conflict)
    assert len(pods(cluster)) == 1
    cluster.objects["persistentvolumeclaims", NAMESPACE, name]["metadata"] |= {
        "annotations": {"ghostdesk/owner": "ann"}, "deletionTimestamp": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    await failed(engine, AttachHome(G, ANN), Conflict)


async def test_homes_outlive_their_desktops(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    await build(engine)
    await done(engine, AttachHome(G, ANN))
    await done(engine, Destroy(G))
    assert pods(cluster) == [] and cluster.of("secrets") == []
    assert len(cluster.of("persistentvolumeclaims")) == 1


async def test_a_crash_between_the_pods_leaves_one_owner(
    make: Callable[..., KubernetesEngine], engine: KubernetesEngine, cluster: FakeKubernetes
) -> None:
    """The old pod's removal never happened: the ghost is the person's, by their pod, and nobody else may have it."""
    await build(engine)
    cluster.faults.append(Fault("DELETE", "pods/", 500, times=8))
    outcome = await engine.apply(AttachHome(G, ANN))
    assert not outcome.ok and len(pods(cluster)) == 2
    cluster.faults.clear()
    again = make()
    await again.start()
    (found,) = await again.observe()
    assert found.alive and found.owner == ANN
    await failed(again, AttachHome(G, BOB), Conflict)
    await done(again, AttachHome(G, ANN))
    assert len(pods(cluster)) == 1, "what the crash left is tidied up"
    await done(again, Destroy(G))
    assert pods(cluster) == []
    await again.stop(keep_ghosts=True)


# Building


async def test_an_image_that_is_missing(make: Callable[..., KubernetesEngine], cluster: FakeKubernetes) -> None:
    engine = make(replace(PLAN, image="registry.example.org/missing:1"))
    await engine.start()
    error = await failed(engine, Build(G, TEMPLATE, LIMITS), ImageMissing)
    assert "missing:1" in error.cause and error.mend
    assert pods(cluster) == [], "what failed leaves nothing"
    await engine.stop(keep_ghosts=False)


async def test_no_node_has_room(
    make: Callable[..., KubernetesEngine], node: PlayedNode, cluster: FakeKubernetes
) -> None:
    engine = make(build_timeout_s=0.5)
    await engine.start()
    node.full = True
    error = await failed(engine, Build(G, TEMPLATE, LIMITS), InsufficientCapacity)
    assert "Insufficient memory" in error.cause
    assert pods(cluster) == []
    await engine.stop(keep_ghosts=False)


async def test_a_full_quota(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    cluster.most_pods = 0
    error = await failed(engine, Build(G, TEMPLATE, LIMITS), InsufficientCapacity)
    assert error.mend


async def test_a_name_that_somebody_else_has(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    name = f"gd-{engine._plan.pool}-g1-1"
    theirs = {"kind": "Pod", "metadata": {"name": name, "uid": "theirs", "resourceVersion": "1"}, "spec": {}}
    cluster.objects["pods", NAMESPACE, name] = theirs
    await failed(engine, Build(G, TEMPLATE, LIMITS), NameTaken)
    assert pods(cluster) == [theirs], "what is not ours is left alone"


async def test_an_answer_that_was_lost_makes_no_second_pod(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    cluster.faults += [Fault("POST", "pods$", 0, lost=True), Fault("POST", "secrets$", 0, lost=True)]
    await build(engine)
    assert len(pods(cluster)) == 1
    assert [one["metadata"]["ownerReferences"][0]["uid"] for one in cluster.of("secrets")] == [
        pods(cluster)[0]["metadata"]["uid"]
    ]


async def test_a_pod_that_is_just_leaving_is_waited_for(
    engine: KubernetesEngine, cluster: FakeKubernetes, node: PlayedNode, make: Callable[..., KubernetesEngine]
) -> None:
    await build(engine)
    node.stuck = True
    again = make()
    await again.start()
    destroying = asyncio.create_task(again.apply(Destroy(G)))
    async with asyncio.timeout(20):
        while not pods(cluster)[0]["metadata"].get("deletionTimestamp"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    building = asyncio.create_task(engine.apply(Build(G, TEMPLATE, LIMITS)))
    await asyncio.sleep(0.05)
    node.stuck = False
    node._begin(pods(cluster)[0])
    assert (await destroying).ok
    assert (await building).ok
    await seen(engine, lambda one: one is not None and one.alive)
    await again.stop(keep_ghosts=True)


async def test_a_pod_whose_node_does_not_answer_cannot_be_ended(
    engine: KubernetesEngine, node: PlayedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await build(engine)
    node.stuck = True
    monkeypatch.setattr(making, "GONE_WITHIN_S", 0.2)
    error = await failed(engine, Destroy(G), Unreachable)
    assert "node" in error.mend


async def test_what_is_removed_while_it_starts(
    make: Callable[..., KubernetesEngine], node: PlayedNode, cluster: FakeKubernetes
) -> None:
    engine = make()
    await engine.start()
    node.full = True
    building = asyncio.create_task(engine.apply(Build(G, TEMPLATE, LIMITS)))
    async with asyncio.timeout(20):
        while not pods(cluster):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    cluster.drop("pods", pods(cluster)[0])
    assert isinstance((await building).error, BuildFailed)
    await engine.stop(keep_ghosts=False)


# Limits


def limits_of(cluster: FakeKubernetes) -> tuple[float, float]:
    limits = pods(cluster)[0]["spec"]["containers"][0]["resources"]["limits"]
    return quantity(limits["cpu"]), quantity(limits["memory"])


async def test_limits_change_while_the_desktop_runs(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    await build(engine)
    uid = pods(cluster)[0]["metadata"]["uid"]
    outcome = await done(engine, SetLimits(G, replace(LIMITS.scaled(2), network_bytes_per_s=1e6)))
    assert limits_of(cluster) == (2, 2 * GIB)
    assert outcome.facts["not_limited"] == "network", "said, not passed over"
    await done(engine, SetLimits(G, Resources()))
    assert limits_of(cluster) == (8, 16 * GIB), "no limit is the largest node's size: Kubernetes takes none away"
    assert pods(cluster)[0]["metadata"]["uid"] == uid


async def test_a_node_that_cannot_says_so_and_nothing_changes(
    engine: KubernetesEngine, cluster: FakeKubernetes
) -> None:
    await build(engine)
    huge = Resources(cpu_cores=1, memory_bytes=100 * GIB)
    error = await failed(engine, SetLimits(G, huge), InsufficientCapacity)
    assert "capacity" in error.cause
    assert limits_of(cluster) == (1, GIB)
    await done(engine, SetLimits(G, huge, Priority.PERSON))  # whoever waits for it does not wait for the node


async def test_a_version_that_makes_no_memory_limit_smaller(
    engine: KubernetesEngine, cluster: FakeKubernetes, make: Callable[..., KubernetesEngine]
) -> None:
    cluster.version = "v1.33.0"
    older = make()
    await older.start()
    await build(older)
    outcome = await done(older, SetLimits(G, LIMITS.scaled(0.5)))
    assert limits_of(cluster) == (0.5, GIB) and "memory" in str(outcome.facts["kept"])
    await older.stop(keep_ghosts=False)


async def test_a_version_without_resize(cluster: FakeKubernetes, make: Callable[..., KubernetesEngine]) -> None:
    cluster.version, cluster.resizes = "v1.31.0", False
    engine = make()
    await engine.start()
    missing = {one.name: one for one in engine.abilities() if not one.available}
    assert "1.33" in missing[RESIZING].mend
    await build(engine)
    error = await failed(engine, SetLimits(G, LIMITS.scaled(2)), Unsupported)
    assert "v1.31.0" in error.cause and "1.33" in error.mend
    await done(engine, SetLimits(G, LIMITS))  # what holds already needs no call
    await engine.stop(keep_ghosts=False)


# Freezing


async def test_processes_are_stopped_and_it_is_written_down(
    engine: KubernetesEngine, cluster: FakeKubernetes, node: PlayedNode
) -> None:
    await build(engine)
    (inside,) = node.pods.values()
    await done(engine, Freeze(G))
    assert inside.stopped and pods(cluster)[0]["metadata"]["labels"]["ghostdesk/state"] == "frozen"
    await done(engine, Thaw(G))
    assert not inside.stopped and pods(cluster)[0]["metadata"]["labels"]["ghostdesk/state"] == "awake"


async def test_somebody_who_changes_the_pod_in_between_is_no_trouble(
    engine: KubernetesEngine, cluster: FakeKubernetes
) -> None:
    await build(engine)
    cluster.faults.append(Fault("PATCH", "pods/", 409, "the object has been modified", "Conflict"))
    await done(engine, Freeze(G))
    cluster.faults.append(Fault("PATCH", "pods/", 409, "the object has been modified", "Conflict", times=10))
    await failed(engine, Thaw(G), Changed)


async def test_a_desktop_that_cannot_be_reached_is_no_awake_one(
    engine: KubernetesEngine, cluster: FakeKubernetes, node: PlayedNode
) -> None:
    """A thaw that does not get through is a failure: nobody is shown a picture that does not move."""
    await build(engine)
    await done(engine, Freeze(G))
    cluster.forward = None
    await failed(engine, Thaw(G), Unreachable)
    assert pods(cluster)[0]["metadata"]["labels"]["ghostdesk/state"] == "frozen"
    cluster.forward = node.forward
    await done(engine, Thaw(G))


# Behind our back


async def test_a_pod_that_is_removed_by_hand(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    await build(engine)
    cluster.drop("pods", pods(cluster)[0])
    await seen(engine, lambda one: one is None)
    with pytest.raises(NotFound):
        engine.endpoint(G)
    await failed(engine, Freeze(G), NotFound)
    await build(engine)


async def test_a_desktop_that_ends_is_seen_and_not_started_again(
    engine: KubernetesEngine, cluster: FakeKubernetes
) -> None:
    await build(engine)
    ended = {"status": {"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory"}}
    cluster._change(pods(cluster)[0], ended, free=True)
    await seen(engine, lambda one: one is not None and not one.alive)
    error = await failed(engine, Thaw(G), NotFound)
    assert "Evicted" in error.cause
    await build(engine)
    await seen(engine, lambda one: one is not None and one.alive)


async def test_a_node_that_is_lost(engine: KubernetesEngine, node: PlayedNode) -> None:
    await build(engine)
    await node.lose()
    await seen(engine, lambda one: one is not None and not one.alive)
    told = await engine.conditions()
    assert [fault.code for fault in told.faults] == ["node-lost"]
    node.gone = False


async def test_owners_that_were_rewritten_make_a_ghost_nobodys(
    engine: KubernetesEngine, cluster: FakeKubernetes
) -> None:
    await build(engine)
    await done(engine, AttachHome(G, ANN))
    cluster._change(pods(cluster)[0], {"metadata": {"annotations": {"ghostdesk/owner": "bob"}}}, free=True)
    await seen(engine, lambda one: one is not None and not one.alive)
    await failed(engine, AttachHome(G, BOB), Conflict)


# Starting


async def test_credentials_that_run_out(engine: KubernetesEngine, cluster: FakeKubernetes) -> None:
    await build(engine)
    cluster.known_tokens.discard("token-of-ghostdesk")
    cluster.cut_watches()
    await failed(engine, Freeze(G), BadCredentials)
    cluster.known_tokens.add("token-of-ghostdesk")
    await done(engine, Freeze(G))


async def test_rights_that_are_missing_are_all_named(
    make: Callable[..., KubernetesEngine], cluster: FakeKubernetes
) -> None:
    cluster.refused |= {("create", "pods"), ("patch", "pods/resize"), ("list", "nodes")}
    with pytest.raises(MissingRight, match=r"create pods, patch pods/resize, list nodes") as told:
        await make().start()
    assert "access.yaml" in told.value.mend


async def test_priorities_that_are_missing_or_the_wrong_way_round(
    make: Callable[..., KubernetesEngine], cluster: FakeKubernetes
) -> None:
    cluster.add_priorities(5, 5)
    with pytest.raises(MissingRequirement, match="not above"):
        await make().start()
    cluster.objects.pop(("priorityclasses", "", "ghostdesk-person"))
    with pytest.raises(MissingRequirement, match=r"priorities\.yaml"):
        await make().start()


async def test_a_cluster_without_a_ready_node(
    make: Callable[..., KubernetesEngine], node: PlayedNode, cluster: FakeKubernetes
) -> None:
    await node.lose()
    with pytest.raises(MissingRequirement, match="no node"):
        await make().start()
    node.gone = False


async def test_a_key_that_was_spoilt(make: Callable[..., KubernetesEngine], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "kubernetes.key").write_bytes(b"short")
    with pytest.raises(MissingRequirement, match="no key"):
        await make().start()
    assert (tmp_path / "state" / "kubernetes.key").read_bytes() == b"short", "nothing is lost"


async def test_a_doctor_with_folders_of_its_own_meets_nothing_of_ours(
    make: Callable[..., KubernetesEngine], engine: KubernetesEngine, cluster: FakeKubernetes, tmp_path: Path
) -> None:
    await build(engine)
    await done(engine, AttachHome(G, ANN))
    doctor = KubernetesEngine(
        tmp_path / "state" / "doctor",
        tmp_path / "run" / ".doctor",
        api=KubernetesApi(tmp_path / "ghostdesk.yaml"),
        plan=PLAN,
    )
    await doctor.start()
    assert list(await doctor.observe()) == []
    await build(doctor, GhostId("d1"))
    await doctor.stop(keep_ghosts=False)
    (left,) = pods(cluster)
    assert left["metadata"]["labels"]["ghostdesk/owner"] == "ann"
    (home,) = cluster.of("persistentvolumeclaims")
    assert home["metadata"]["name"] == claim_name("test", ANN), "homes do not depend on where ghostdesk keeps its state"


async def test_two_pools_in_one_namespace_do_not_see_each_other(
    make: Callable[..., KubernetesEngine], engine: KubernetesEngine, cluster: FakeKubernetes
) -> None:
    await build(engine)
    other = make(replace(PLAN, pool="other"))
    await other.start()
    assert list(await other.observe()) == []
    await other.stop(keep_ghosts=False)
    assert len(pods(cluster)) == 1


async def test_pods_are_reached_at_their_own_addresses_too(make: Callable[..., KubernetesEngine]) -> None:
    engine = make(replace(PLAN, transport="pod-ip"))
    await engine.start()
    await build(engine)
    reader, writer = await asyncio.open_unix_connection(engine.endpoint(G).rfb_path)
    assert await reader.readexactly(12) == b"RFB 003.008\n"
    writer.close()
    await engine.stop(keep_ghosts=False)


# The agent


async def test_the_agent_of_the_pod_comes_to_who_listens_here(engine: KubernetesEngine, node: PlayedNode) -> None:
    await build(engine)
    heard: asyncio.Queue[tuple[bytes, asyncio.StreamWriter]] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait((await reader.readline(), writer))

    server = await asyncio.start_unix_server(listen, engine.endpoint(G).agent_path)
    (inside,) = node.pods.values()

    async def agent(run: Path, words: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(run / "agent.sock"))
        writer.write(words)
        return reader, writer

    here, there = await agent(inside.run, b"hello from the first pod\n")
    async with asyncio.timeout(20):
        words, writer = await heard.get()
        assert words == b"hello from the first pod\n"
        writer.write(b"welcome\n")
        assert await here.readline() == b"welcome\n"
        # The person's pod: its agent is there before the first pod goes.
        attaching = asyncio.create_task(engine.apply(AttachHome(G, ANN)))
        while len(node.pods) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        second = next(pod for pod in node.pods.values() if pod is not inside)
        while not (second.run / "agent.sock").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        _, agent_of_second = await agent(second.run, b"hello from the second\n")
        words, second_writer = await heard.get()
        assert words == b"hello from the second\n"
        outcome = await attaching
    assert outcome.ok and outcome.facts["agent"] == "there"
    for one in (there, agent_of_second, writer, second_writer):
        one.close()
    server.close()

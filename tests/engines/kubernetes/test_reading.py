"""What is read from Kubernetes' answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.kubernetes import reading
from ghostdesk.engines.kubernetes.cluster import version_of
from ghostdesk.engines.kubernetes.errors import FeatureMissing, NameTaken, Overloaded, error_of, status_of
from ghostdesk.engines.kubernetes.render import PodPlan, pod, resource_amounts
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import InsufficientCapacity, MissingRequirement, NotFound, Unsupported
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, Resources

PLAN = PodPlan("desks", "main", "image")
TEMPLATE = DesktopTemplate(TemplateId("office"))
AMOUNTS = resource_amounts(Resources(cpu_cores=1, memory_bytes=GIB), PLAN)


def made(owner: str = "", phase: str = "Running", *, leaving: bool = False, ready: str = "True") -> dict[str, Any]:
    one = pod(PLAN, GhostId("g1"), TEMPLATE, AMOUNTS, UserId(owner) if owner else None)
    one["metadata"] |= {"uid": f"uid-{owner}-{phase}", "resourceVersion": "5"}
    if leaving:
        one["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    one["status"] = {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}
    return one


def test_a_ghost_is_told_from_its_pod() -> None:
    seen = reading.observed([made()])
    assert seen is not None
    assert (seen.ghost, seen.alive, seen.frozen, seen.owner, seen.template) == ("g1", True, False, None, "office")
    assert reading.observed([made("ann")]).owner == "ann"  # type: ignore[union-attr]
    assert reading.observed([]) is None


@pytest.mark.parametrize("phase", ["Pending", "Failed", "Succeeded", "Unknown"])
def test_a_pod_that_does_not_run_is_no_living_ghost(phase: str) -> None:
    seen = reading.observed([made(phase=phase)])
    assert seen is not None and not seen.alive


def test_a_pod_that_leaves_or_whose_node_is_lost_is_no_living_ghost() -> None:
    for one in (made(leaving=True), made(ready="False")):
        seen = reading.observed([one])
        assert seen is not None and not seen.alive


def test_while_its_next_pod_starts_the_ghost_lives_and_is_its_owners_already() -> None:
    seen = reading.observed([made(), made("ann", "Pending")])
    assert seen is not None and seen.alive and seen.owner == "ann"
    taken_over = reading.observed([made(leaving=True), made("ann")])
    assert taken_over is not None and taken_over.alive and taken_over.owner == "ann"


def test_a_ghost_whose_labels_were_spoilt_is_dead_and_nobodys() -> None:
    for change in ({"ghostdesk/owner": "bob"}, {"ghostdesk/owner": None}):
        one = made("ann")
        one["metadata"]["labels"] = {
            key: value for key, value in (one["metadata"]["labels"] | change).items() if value is not None
        }
        seen = reading.observed([one])
        assert seen is not None and not seen.alive
    two_owners = reading.observed([made("ann"), made("bob")])
    assert two_owners is not None and not two_owners.alive and two_owners.owner is None
    no_ghost = made()
    no_ghost["metadata"]["labels"]["ghostdesk/ghost"] = "Not A Ghost"
    assert reading.observed([no_ghost]) is None


_PODS = st.lists(
    st.builds(
        made,
        st.sampled_from(["", "ann", "bob"]),
        st.sampled_from(["Pending", "Running", "Failed"]),
        leaving=st.booleans(),
        ready=st.sampled_from(["True", "False"]),
    ),
    min_size=1,
    max_size=4,
)


@given(_PODS)
def test_whatever_is_there_a_living_ghost_never_hides_an_owner(pods: list[dict[str, Any]]) -> None:
    seen = reading.observed(pods)
    assert seen is not None
    owners = {owner for one in pods if not reading.leaving(one) and (owner := reading.owner_of(one))}
    if seen.alive:
        assert owners <= {seen.owner}, "who has a pod of it, has it"


@pytest.mark.parametrize("annotation", ["", "{", "[]", '{"template": "a"}', '{"width_px": "x"}'])
def test_a_template_that_was_spoilt_is_said(annotation: str) -> None:
    one = made()
    one["metadata"]["annotations"]["ghostdesk/template"] = annotation
    with pytest.raises(ValueError, match="built from"):
        reading.template_of(one)
    assert reading.observed([one]).alive is False  # type: ignore[union-attr]


def test_why_a_pod_does_not_run() -> None:
    def waiting(reason: str) -> dict[str, Any]:
        return {"status": {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "m"}}}]}}

    assert reading.trouble(made()) is None
    assert reading.trouble(waiting("ContainerCreating")) is None
    found = reading.trouble(waiting("ImagePullBackOff"))
    assert found is not None and found.final and reading.image_trouble(found.reason)
    unscheduled = {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}}
    found = reading.trouble(unscheduled)
    assert found is not None and not found.final and found.text == "0/3 nodes"
    evicted = reading.trouble({"status": {"phase": "Failed", "reason": "Preempted", "message": "for a person"}})
    assert evicted is not None and evicted.final and evicted.reason == "Preempted"
    ended = {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}
    found = reading.trouble({"status": ended})
    assert found is not None and "status 3" in found.text


def test_what_became_of_a_resize() -> None:
    def condition(kind: str, reason: str) -> dict[str, Any]:
        return {"status": {"conditions": [{"type": kind, "status": "True", "reason": reason, "message": "m"}]}}

    assert reading.resize_trouble(made()) is None
    assert reading.resize_trouble(condition("PodResizeInProgress", "")) is None
    put_off, never = (
        reading.resize_trouble(condition("PodResizePending", word)) for word in ("Deferred", "Infeasible")
    )
    assert put_off is not None and not put_off.final
    assert never is not None and never.final
    failed = reading.resize_trouble(condition("PodResizeInProgress", "Error"))
    assert failed is not None and failed.final


def test_memory_limits_shrink_only_where_they_may() -> None:
    smaller = resource_amounts(Resources(cpu_cores=2, memory_bytes=GIB / 2), PLAN)
    assert reading.shrinkable(AMOUNTS, smaller, True) == (smaller, False)
    asked, kept = reading.shrinkable(AMOUNTS, smaller, False)
    assert kept and asked["limits"] == {"cpu": "2000m", "memory": AMOUNTS["limits"]["memory"]}
    assert reading.shrinkable(smaller, AMOUNTS, False) == (AMOUNTS, False)


def test_amounts_are_the_same_however_they_are_written() -> None:
    assert reading.same_amounts(
        {"limits": {"cpu": "1", "memory": "1Gi"}}, {"limits": {"cpu": "1000m", "memory": str(GIB)}}
    )
    assert not reading.same_amounts({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}})


def test_only_nodes_that_are_ready_have_room() -> None:
    def node(name: str, ready: str, cpu: str, *, cordoned: bool = False) -> dict[str, Any]:
        room = {"cpu": cpu, "memory": "8Gi"}
        status = {"allocatable": room, "conditions": [{"type": "Ready", "status": ready}]}
        return {"metadata": {"name": name}, "spec": {"unschedulable": cordoned}, "status": status}

    nodes = [
        node("a", "True", "4"),
        node("b", "Unknown", "64"),
        node("c", "True", "8", cordoned=True),
        node("d", "True", "2"),
    ]
    total, largest = reading.allocatable(nodes)
    assert (total.cpu_cores, largest.cpu_cores, total.memory_bytes) == (6, 4, 16 * GIB)
    assert reading.lost_nodes(nodes) == ["b"]


@pytest.mark.parametrize(
    ("code", "reason", "said", "kind", "name"),
    [
        (401, "Unauthorized", "Unauthorized", Exception, "credentials"),
        (403, "Forbidden", 'User "x" cannot create pods', Exception, "right"),
        (403, "Forbidden", "exceeded quota: a, requested: pods=1", InsufficientCapacity, "capacity"),
        (403, "Forbidden", 'violates PodSecurity "restricted"', Exception, "rejected"),
        (403, "Forbidden", "no PriorityClass with name a was found", MissingRequirement, "missing"),
        (404, "NotFound", 'pods "a" not found', NotFound, "not-found"),
        (405, "MethodNotAllowed", "no", FeatureMissing, "feature"),
        (409, "AlreadyExists", "already exists", NameTaken, "name-taken"),
        (409, "Conflict", "the object has been modified", Exception, "changed"),
        (410, "Expired", "too old", Exception, "expired"),
        (422, "Invalid", "spec: Forbidden", Exception, "rejected"),
        (429, "TooManyRequests", "slow down", Overloaded, "overloaded"),
        (500, "InternalError", "etcdserver: timeout", Overloaded, "overloaded"),
        (503, "", "", Overloaded, "overloaded"),
    ],
)
def test_every_answer_has_its_error(code: int, reason: str, said: str, kind: type, name: str) -> None:
    error = error_of(code, {"reason": reason, "message": said}, "POST /pods")
    assert isinstance(error, kind) and error.code == name
    assert error.cause and (said.rstrip(".") in str(error))
    assert error.mend or code == 410
    assert issubclass(FeatureMissing, Unsupported)


def test_a_busy_server_says_when_to_come_back() -> None:
    assert error_of(429, {"details": {"retryAfterSeconds": 7}}, "").retry_after_s == 7
    assert error_of(429, {"details": {"retryAfterSeconds": "soon"}}, "").retry_after_s == 1


@given(st.binary(max_size=300))
def test_any_body_becomes_a_status(body: bytes) -> None:
    told = status_of(body)
    assert str(error_of(500, told, "GET /"))


@pytest.mark.parametrize(
    ("text", "meant"),
    [("v1.34.1", (1, 34)), ("v1.33.5-eks-113cf36", (1, 33)), ("1.20", (1, 20)), ("", (0, 0)), ("new", (0, 0))],
)
def test_versions_are_read(text: str, meant: tuple[int, int]) -> None:
    assert version_of(text) == meant

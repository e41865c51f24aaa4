"""What is asked of Kubernetes, held against golden files and against Kubernetes' own published schemas."""

import json
import os
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.kubernetes import render
from ghostdesk.engines.kubernetes.names import (
    byte_quantity,
    claim_name,
    cpu_quantity,
    label_value,
    pod_name,
    pool_name,
    quantity,
)
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, MIB, Resources

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = ("1.33", "1.37")
"""The oldest version that resizes pods, and the newest whose schema is published."""
PLAN = render.PodPlan(
    "desks",
    "main",
    "registry.example.org/desktop:1",
    pull_secret="registry",  # noqa: S106 - the name of a Secret
    whole_node=Resources(cpu_cores=16, memory_bytes=64 * GIB),
    storage_class="fast",
    node_selector={"desktops": "yes"},
    runtime_class="gvisor",
    variables={"HOME": "/home/user", "DISPLAY": ":0"},
)
TEMPLATE = DesktopTemplate(TemplateId("office"), 1280, 800, (AppId("org.xfce.mousepad"),), "outbound")
LIMITS = Resources(cpu_cores=0.5, memory_bytes=1536 * MIB)
GHOST, ANN = GhostId("g7"), UserId("ann.bee@example.org")
MADE = {"metadata": {"name": "gd-main-g7-1", "uid": "0f0e", "resourceVersion": "12"}}


def asked() -> dict[str, Any]:
    amounts = render.resource_amounts(LIMITS, PLAN)
    plain = render.PodPlan("desks", "main", "registry.example.org/desktop:1", transport="pod-ip")
    return {
        "pod": render.pod(PLAN, GHOST, TEMPLATE, amounts),
        "pod-of-a-person": render.pod(PLAN, GHOST, TEMPLATE, amounts, ANN),
        "pod-plain": render.pod(plain, GHOST, TEMPLATE, amounts),
        "secret": render.secret(PLAN, MADE, "token", "0" * 32),
        "claim": render.claim(PLAN, ANN),
        "resize": render.resize_patch(render.resource_amounts(LIMITS.scaled(2), PLAN)),
        "state": render.state_patch(MADE, "frozen"),
    }


@pytest.mark.parametrize("name", sorted(asked()))
def test_what_is_asked_is_what_the_golden_file_says(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    told = yaml.safe_dump(json.loads(json.dumps(asked()[name])), sort_keys=False, width=120)
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(told)
    assert told == path.read_text(), "if the change is meant: WRITE_GOLDEN=1, then read the difference"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [name for name, one in asked().items() if "kind" in one])
def test_it_keeps_to_the_published_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(asked()[name], version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schema_would_find_a_fault(version: str) -> None:
    spoilt = asked()["pod"]
    spoilt["spec"]["containers"][0]["resizePolicy"][0]["restart"] = "never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, version, strict=True)


def test_pods_keep_to_the_restricted_profile() -> None:
    """Kubernetes' concepts/security/pod-security-standards, "Restricted", point by point."""
    for name in ("pod", "pod-of-a-person", "pod-plain"):
        spec = asked()[name]["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec["automountServiceAccountToken"]
        allowed = {
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        }
        assert all((volume.keys() - {"name"}) <= allowed for volume in spec["volumes"])
        for container in spec["containers"]:
            inside = container["securityContext"]
            assert inside == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert not any("hostPort" in port for port in container["ports"])


def test_nothing_but_the_port_of_the_pod_network_is_open() -> None:
    def host(name: str) -> str:
        return next(
            one["value"] for one in asked()[name]["spec"]["containers"][0]["env"] if one["name"] == "GHOSTDESK_POD_HOST"
        )

    assert host("pod") == "127.0.0.1", "forwarded to: nothing of it is on the network"
    assert host("pod-plain") == "0.0.0.0"  # noqa: S104


@given(
    cpu=st.one_of(st.just(0.0), st.floats(0.001, 128)),
    memory=st.one_of(st.just(0.0), st.floats(1, 1e13)),
    share=st.floats(0.01, 0.99),
)
def test_requests_stay_below_limits_so_that_a_resize_never_changes_the_class(
    cpu: float, memory: float, share: float
) -> None:
    plan = render.PodPlan("d", "p", "i", request_share=share, whole_node=PLAN.whole_node)
    amounts = render.resource_amounts(Resources(cpu_cores=cpu, memory_bytes=memory), plan)
    for what in ("cpu", "memory"):
        least, most = quantity(amounts["requests"][what]), quantity(amounts["limits"][what])
        assert 0 < least <= most
        assert least < most or most <= quantity("1m") or most == 1, "Burstable, but for amounts too small to split"


_USERS = st.from_regex(r"[a-z0-9_][a-z0-9_.@-]{0,63}", fullmatch=True).map(UserId)


@given(_USERS, _USERS)
def test_homes_of_different_people_have_different_names_that_kubernetes_takes(one: UserId, other: UserId) -> None:
    for user in (one, other):
        assert len(claim_name("a" * 12, user)) <= 63
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", claim_name("main", user))
    assert (claim_name("main", one) == claim_name("main", other)) == (one == other)
    assert (label_value(one) == label_value(other)) == (one == other)


@given(st.text(max_size=200))
def test_labels_hold_anything(text: str) -> None:
    value = label_value(text)
    assert len(value) <= 63
    assert re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", value)


@given(st.floats(0.001, 1e4), st.floats(1, 1e15))
def test_quantities_mean_what_was_said(cores: float, count: float) -> None:
    assert quantity(cpu_quantity(cores)) == pytest.approx(cores, abs=0.0006)
    assert quantity(byte_quantity(count)) == pytest.approx(count, abs=0.51)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("1", 1), ("500m", 0.5), ("1Gi", GIB), ("1.5Gi", 1.5 * GIB), ("1e3", 1000), ("2k", 2000), (None, 0), (3, 3)],
)  # fmt: skip
def test_quantities_are_read(text: str | None, meant: float) -> None:
    assert quantity(text) == meant


@pytest.mark.parametrize("text", ["", "one", "1 Gi", "1GiB", "--1", "1e", "Gi"])
def test_what_is_no_quantity_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)


def test_names_fit_into_a_host_name() -> None:
    assert len(pod_name("a" * 12, GhostId("g" * 32), 2)) <= 63
    for bad in ("", "Main", "a" * 13, "a-b"):
        with pytest.raises(ValueError, match="no name of a pool"):
            pool_name(bad)

"""What is asked of the Kubernetes API for each ghost, and what is read from its answers: pure.

Source: Kubernetes' reference/kubernetes-api (Pod, PersistentVolumeClaim, Secret), concepts/security/
pod-security-standards ("Restricted") and tasks/configure-pod-container/resize-container-resources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ghostdesk.engines.kubernetes.names import (
    AWAKE,
    GENERATION,
    GHOST,
    MANAGED_BY,
    NETWORK,
    OWNER,
    POOL,
    STATE,
    TEMPLATE,
    byte_quantity,
    claim_name,
    cpu_quantity,
    label_value,
    pod_name,
)
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import MIB, Resources

Object = dict[str, Any]
CONTAINER = "desktop"
INSIDE_UID = 1000
POD_PORT = 7900
GHOST_CLASS, PERSON_CLASS = "ghostdesk-ghost", "ghostdesk-person"
UNBOUND, BOUND = 1, 2
"""The generations of a ghost: nobody's, and its owner's. There is no third, as an owner never changes."""
COMMAND = ["/usr/bin/python3", "-m", "ghostdesk.agent.pod"]
_LEAST_CPU_CORES, _LEAST_MEMORY_BYTES = 0.01, 64.0 * MIB
_NODE_LOST_AFTER_S = 20
"""A node that is lost costs its desktops after so long, instead of Kubernetes' five minutes: people wait."""


@dataclass(frozen=True, slots=True)
class PodPlan:
    """What all pods of one ghostdesk have in common.

    Args:
        namespace, pool: where they are, and what tells them from another ghostdesk's.
        homes: the pool of the homes, which outlives any ghostdesk; that of the pods where it is empty.
        image, pull_policy, pull_secret: what they are made from; no secret where it is empty.
        transport: "port-forward" (through the API server) or "pod-ip" (straight to the pod).
        request_share: how much of its limit a desktop is promised (the scheduler packs nodes by it), below 1.
        whole_node: what the largest node has: the limit of a desktop that has none, as Kubernetes takes none away.
        storage_class, home_bytes, home_access: of the claims that hold homes; the cluster's default class where empty.
        node_selector, runtime_class: where and how they run; empty leaves it to the cluster.
        variables: the desktop's environment.
    """

    namespace: str
    pool: str
    image: str
    pull_policy: str = "IfNotPresent"
    pull_secret: str = ""
    transport: str = "port-forward"
    request_share: float = 0.25
    whole_node: Resources = field(default_factory=Resources)
    storage_class: str = ""
    home_bytes: float = 10e9
    home_access: str = "ReadWriteOnce"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    runtime_class: str = ""
    homes: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


def home_name(plan: PodPlan, user: UserId) -> str:
    """The name of the claim that holds a person's home."""
    return claim_name(plan.homes or plan.pool, user)


def resource_amounts(limits: Resources, plan: PodPlan) -> dict[str, dict[str, str]]:
    """Requests and limits of a desktop, both always set and requests the smaller.

    A pod's quality-of-service class may not change with a resize, and neither requests nor limits can be taken away.
    """
    cpu = limits.cpu_cores or plan.whole_node.cpu_cores
    memory = limits.memory_bytes or plan.whole_node.memory_bytes
    asked_cpu = limits.cpu_cores * plan.request_share
    asked_memory = limits.memory_bytes * plan.request_share
    return {
        "requests": {
            "cpu": cpu_quantity(min(max(asked_cpu, _LEAST_CPU_CORES), cpu / 2)),
            "memory": byte_quantity(min(max(asked_memory, _LEAST_MEMORY_BYTES), memory / 2)),
        },
        "limits": {"cpu": cpu_quantity(cpu), "memory": byte_quantity(memory)},
    }


def pod(
    plan: PodPlan, ghost: GhostId, template: DesktopTemplate, amounts: Mapping[str, Any], owner: UserId | None = None
) -> Object:
    """The pod of one ghost: nobody's, with an empty home, or its owner's, with their claim.

    Args:
        amounts: its requests and limits (see `resource_amounts`).
    """
    generation = BOUND if owner else UNBOUND
    labels = {
        **MANAGED_BY,
        POOL: plan.pool,
        GHOST: ghost,
        TEMPLATE: label_value(template.template),
        STATE: AWAKE,
        GENERATION: str(generation),
        NETWORK: template.network,
    }
    annotations = {TEMPLATE: json.dumps(asdict(template), sort_keys=True)}
    if owner:
        labels[OWNER] = label_value(owner)
        annotations[OWNER] = owner
    name = pod_name(plan.pool, ghost, generation)
    metadata = {"name": name, "namespace": plan.namespace, "labels": labels, "annotations": annotations}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": _spec(plan, name, template, amounts, owner),
    }


def _spec(
    plan: PodPlan, name: str, template: DesktopTemplate, amounts: Mapping[str, Any], owner: UserId | None
) -> Object:
    home: Object = {"emptyDir": {}}
    if owner:
        home = {"persistentVolumeClaim": {"claimName": home_name(plan, owner)}}
    spec: Object = {
        "priorityClassName": PERSON_CLASS if owner else GHOST_CLASS,
        "restartPolicy": "Never",  # a desktop that ended is gone: it is never started again for somebody else
        "terminationGracePeriodSeconds": 3,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": INSIDE_UID,
            "runAsGroup": INSIDE_UID,
            "fsGroup": INSIDE_UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [
            {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute",
             "tolerationSeconds": _NODE_LOST_AFTER_S}
            for what in ("not-ready", "unreachable")
        ],
        "containers": [_container(plan, template, amounts)],
        "volumes": [
            {"name": "home", **home},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            {"name": "user", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "identity", "secret": {"secretName": name, "defaultMode": 0o440}},
        ],
    }  # fmt: skip
    if plan.pull_secret:
        spec["imagePullSecrets"] = [{"name": plan.pull_secret}]
    if plan.node_selector:
        spec["nodeSelector"] = dict(plan.node_selector)
    if plan.runtime_class:
        spec["runtimeClassName"] = plan.runtime_class
    return spec


def _container(plan: PodPlan, template: DesktopTemplate, amounts: Mapping[str, Any]) -> Object:
    variables = {
        **plan.variables,
        "GHOSTDESK_GEOMETRY": f"{template.width_px}x{template.height_px}",
        "GHOSTDESK_TOKEN_FILE": "/run/identity/token",
        "GHOSTDESK_POD_RUN": "/run/ghost",
        "GHOSTDESK_POD_HOST": "127.0.0.1" if plan.transport == "port-forward" else "0.0.0.0",  # noqa: S104
        "GHOSTDESK_POD_PORT": str(POD_PORT),
    }
    from_labels = {"fieldRef": {"fieldPath": f"metadata.labels['{GHOST}']"}}
    return {
        "name": CONTAINER,
        "image": plan.image,
        "imagePullPolicy": plan.pull_policy,
        "command": list(COMMAND),
        "env": [
            {"name": "GHOSTDESK_GHOST", "valueFrom": from_labels},
            *({"name": name, "value": variables[name]} for name in sorted(variables)),
        ],
        "ports": [{"name": "desktop", "containerPort": POD_PORT}],
        "resources": {kind: dict(values) for kind, values in amounts.items()},
        "resizePolicy": [
            {"resourceName": what, "restartPolicy": "NotRequired"} for what in ("cpu", "memory")
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "home", "mountPath": "/home/user"},
            {"name": "run", "mountPath": "/run/ghost"},
            {"name": "user", "mountPath": "/run/user/1000"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod, of its own
            {"name": "identity", "mountPath": "/run/identity", "readOnly": True},
            {"name": "identity", "mountPath": "/etc/machine-id", "subPath": "machine-id", "readOnly": True},
        ],
    }  # fmt: skip


def secret(plan: PodPlan, made: Mapping[str, Any], token: str, machine_id: str) -> Object:
    """What a ghost's pod is told in confidence. It belongs to the pod, so that it goes with it, whoever removes that.

    Args:
        made: the pod, as the server answered it.
    """
    meta = made["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": meta["name"],
            "namespace": plan.namespace,
            "labels": {**MANAGED_BY, POOL: plan.pool},
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "immutable": True,
        "stringData": {"token": token, "machine-id": f"{machine_id}\n"},
    }


def claim(plan: PodPlan, user: UserId) -> Object:
    """The claim that holds a person's home. Nothing of ours ever deletes one."""
    spec: Object = {
        "accessModes": [plan.home_access],
        "resources": {"requests": {"storage": byte_quantity(plan.home_bytes)}},
    }
    if plan.storage_class:
        spec["storageClassName"] = plan.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": home_name(plan, user),
            "namespace": plan.namespace,
            "labels": {**MANAGED_BY, POOL: plan.homes or plan.pool, OWNER: label_value(user)},
            "annotations": {OWNER: user},
        },
        "spec": spec,
    }


def resize_patch(amounts: Mapping[str, Any]) -> Object:
    """For the `resize` subresource (Kubernetes 1.33), as a strategic merge patch, which finds containers by name."""
    return {"spec": {"containers": [{"name": CONTAINER, "resources": {k: dict(v) for k, v in amounts.items()}}]}}


def state_patch(made: Mapping[str, Any], state: str) -> Object:
    """Writes down whether the desktop is frozen, unless the pod was changed since it was read."""
    return {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {STATE: state}}}

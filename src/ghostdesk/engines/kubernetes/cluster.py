"""What the cluster can do and lets us do, found out at the start."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ghostdesk.engines.kubernetes.api import KubernetesApi
from ghostdesk.engines.kubernetes.errors import MissingRight
from ghostdesk.engines.kubernetes.reading import allocatable
from ghostdesk.engines.kubernetes.render import GHOST_CLASS, PERSON_CLASS
from ghostdesk.kernel.errors import MissingRequirement, NotFound
from ghostdesk.kernel.resources import Resources

NODES = "/api/v1/nodes"
RIGHTS: tuple[tuple[str, str, str], ...] = (
    *(("", "pods", verb) for verb in ("get", "list", "watch", "create", "patch", "delete")),
    ("", "secrets", "create"),
    ("", "secrets", "delete"),
    ("", "persistentvolumeclaims", "get"),
    ("", "persistentvolumeclaims", "create"),
)
"""API group, resource and verb of all that the engine does in its namespace, whatever the settings say."""
FORWARD_RIGHTS = (("", "pods/portforward", "get"), ("", "pods/portforward", "create"))
RESIZE_RIGHTS = (("", "pods/resize", "patch"),)
CLUSTER_RIGHTS = (("", "nodes", "list"), ("scheduling.k8s.io", "priorityclasses", "get"))
_SHRINKS_FROM = (1, 34)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster as found.

    Args:
        version: what it says of itself.
        resizes: whether pods can be resized in place (Kubernetes 1.33, or 1.32 with the feature gate).
        total, largest: what all ready nodes have for pods, and the most that one has.
    """

    version: str
    resizes: bool
    total: Resources
    largest: Resources

    @property
    def shrinks_memory(self) -> bool:
        """Whether a memory limit may be made smaller while the pod runs (allowed from 1.34 on)."""
        return self.resizes and version_of(self.version) >= _SHRINKS_FROM


def version_of(text: str) -> tuple[int, int]:
    """Major and minor version; (0, 0) for what is none."""
    match = _VERSION.match(text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


async def inspect(api: KubernetesApi, namespace: str, *, forwards: bool) -> Cluster:
    """Look at the cluster; raises `MissingRequirement`, `MissingRight` with all that is missing, or as the API."""
    told = await api.get("/version")
    version = str(told.get("gitVersion") or "")
    if not version:
        raise MissingRequirement(f"{api.address} is no Kubernetes API.", "Look at the server in the kubeconfig.")
    resources = await api.get("/api/v1")
    resizes = any(one.get("name") == "pods/resize" for one in resources.get("resources") or ())
    wanted = [*RIGHTS, *(FORWARD_RIGHTS if forwards else ()), *(RESIZE_RIGHTS if resizes else ())]
    reviews = [(namespace, right) for right in wanted] + [("", right) for right in CLUSTER_RIGHTS]
    allowed = await asyncio.gather(*(_allowed(api, where, right) for where, right in reviews))
    if refused := [_words(right) for (_, right), may in zip(reviews, allowed, strict=True) if not may]:
        raise MissingRight(
            f"The account that ghostdesk uses may not {', '.join(refused)} (namespace {namespace}).",
            "Apply deploy/kubernetes/access.yaml, and bind its roles to that account.",
        )
    await _priorities(api)
    total, largest = await room(api)
    if not largest.memory_bytes:
        raise MissingRequirement(f"{api.address} has no node that is ready.", "See `kubectl get nodes`.")
    return Cluster(version, resizes, total, largest)


async def room(api: KubernetesApi) -> tuple[Resources, Resources]:
    """What ready nodes have together, and the most that one has."""
    nodes, _ = await api.items(NODES)
    return allocatable(nodes)


async def _allowed(api: KubernetesApi, namespace: str, right: tuple[str, str, str]) -> bool:
    group, resource, verb = right
    resource, _, part = resource.partition("/")
    asked: dict[str, Any] = {"group": group, "resource": resource, "verb": verb}
    asked |= {"subresource": part} if part else {}
    asked |= {"namespace": namespace} if namespace else {}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    told = await api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    return bool((told.get("status") or {}).get("allowed"))


async def _priorities(api: KubernetesApi) -> None:
    values = {}
    for name in (GHOST_CLASS, PERSON_CLASS):
        try:
            values[name] = await api.get(f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}")
        except NotFound:
            raise MissingRequirement(
                f"The cluster lacks the priority class {name!r}.", "Apply deploy/kubernetes/priorities.yaml."
            ) from None
    if not _value(values[PERSON_CLASS]) > _value(values[GHOST_CLASS]):
        raise MissingRequirement(
            f"The priority class {PERSON_CLASS!r} is not above {GHOST_CLASS!r}: ghosts would not make way for people.",
            "Apply deploy/kubernetes/priorities.yaml.",
        )


def _value(priority: Mapping[str, Any]) -> int:
    return int(priority.get("value") or 0)


def _words(right: Sequence[str]) -> str:
    group, resource, verb = right
    return f"{verb} {resource}{f'.{group}' if group else ''}"

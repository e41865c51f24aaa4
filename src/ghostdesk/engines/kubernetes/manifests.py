"""What an operator applies once, so that ghostdesk may work in a namespace: pure. deploy/kubernetes holds it as files.

Source: Kubernetes' concepts/security/pod-security-admission, reference/access-authn-authz/rbac,
concepts/services-networking/network-policies and concepts/scheduling-eviction/pod-priority-preemption.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ghostdesk.engines.kubernetes.cluster import CLUSTER_RIGHTS, FORWARD_RIGHTS, RESIZE_RIGHTS, RIGHTS
from ghostdesk.engines.kubernetes.names import MANAGED_BY, NETWORK
from ghostdesk.engines.kubernetes.render import GHOST_CLASS, PERSON_CLASS, POD_PORT

Object = dict[str, Any]
ACCOUNT = "ghostdesk"
GATEWAY = {"app.kubernetes.io/name": "ghostdesk", "app.kubernetes.io/component": "gateway"}
"""Labels of the pods that ghostdesk itself runs in: only they may connect to desktops."""
GHOST_VALUE, PERSON_VALUE = -10, 100_000
_PART = {"app.kubernetes.io/part-of": "ghostdesk"}
_PRIVATE = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private
    "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",  # carriers', link-local with the clouds' metadata, loopback
)  # fmt: skip
_PRIVATE_V6 = ("fc00::/7", "fe80::/10", "::1/128")


def namespace(name: str) -> list[Object]:
    """The namespace, in which only pods of the restricted profile may run."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**_PART, **levels}}}]


def priorities() -> list[Object]:
    """People's desktops make ghosts leave a full node; ghosts make nobody leave."""
    return [
        _priority(GHOST_CLASS, GHOST_VALUE, "Never", "Desktops that ghostdesk prepared for nobody yet."),
        _priority(PERSON_CLASS, PERSON_VALUE, "PreemptLowerPriority", "Desktops with a person's home."),
    ]


def _priority(name: str, value: int, policy: str, text: str) -> Object:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name, "labels": dict(_PART)},
        "value": value,
        "globalDefault": False,
        "preemptionPolicy": policy,
        "description": text,
    }


def access(name: str) -> list[Object]:
    """ghostdesk's own account, and the least that it needs: no secret is ever read, no home ever deleted."""
    subject = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": name}]
    group = "rbac.authorization.k8s.io"
    meta = {"name": ACCOUNT, "namespace": name, "labels": dict(_PART)}
    wide = {"name": "ghostdesk-cluster", "labels": dict(_PART)}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": meta,
            "rules": _rules([*RIGHTS, *FORWARD_RIGHTS, *RESIZE_RIGHTS]),
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": ACCOUNT},
            "subjects": subject,
        },
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": wide, "rules": _rules(CLUSTER_RIGHTS)},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": wide,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "ghostdesk-cluster"},
            "subjects": subject,
        },
    ]


def _rules(rights: Iterable[tuple[str, str, str]]) -> list[Object]:
    verbs: dict[tuple[str, str], list[str]] = {}
    for group, resource, verb in rights:
        verbs.setdefault((group, resource), []).append(verb)
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": found} for (group, resource), found in verbs.items()
    ]


def networks(name: str) -> list[Object]:
    """Desktops talk to nobody and nobody to them, but for the gateway, and the internet where the template says so."""
    every = {"matchLabels": dict(MANAGED_BY)}
    outbound = {"matchLabels": {**MANAGED_BY, NETWORK: "outbound"}}
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return [
        _policy(name, "desktops-alone", every, {"policyTypes": ["Ingress", "Egress"]}),
        _policy(
            name,
            "desktops-from-gateway",
            every,
            {
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [{"podSelector": {"matchLabels": dict(GATEWAY)}}],
                        "ports": [{"protocol": "TCP", "port": POD_PORT}],
                    }
                ],
            },
        ),
        _policy(
            name,
            "desktops-to-internet",
            outbound,
            {
                "policyTypes": ["Egress"],
                "egress": [
                    {
                        "to": [
                            {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(_PRIVATE)}},
                            {"ipBlock": {"cidr": "::/0", "except": list(_PRIVATE_V6)}},
                        ]
                    },
                    {
                        "to": [
                            {
                                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                            }
                        ],
                        "ports": dns,
                    },
                ],
            },
        ),
    ]


def _policy(namespace_: str, name: str, pods: Object, rules: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace_, "labels": dict(_PART)},
        "spec": {"podSelector": pods, **rules},
    }


def files(name: str = "ghostdesk") -> dict[str, list[Object]]:
    """Every file of deploy/kubernetes with what it holds, in the order to apply."""
    return {
        "namespace.yaml": namespace(name),
        "priorities.yaml": priorities(),
        "access.yaml": access(name),
        "networks.yaml": networks(name),
    }

"""What is read from the Kubernetes API's answers: pure.

Source: Kubernetes' reference/kubernetes-api (Pod, Node) and tasks/configure-pod-container/resize-container-resources.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ghostdesk.engines.kubernetes.names import FROZEN, GENERATION, GHOST, OWNER, STATE, TEMPLATE, label_value, quantity
from ghostdesk.engines.kubernetes.render import CONTAINER
from ghostdesk.engines.protocol import ObservedGhost
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import AppId, TemplateId, UserId, ghost_id, user_id
from ghostdesk.kernel.resources import Resources


def label(made: Mapping[str, Any], key: str) -> str:
    """A pod's label; empty when it has none."""
    return str((made["metadata"].get("labels") or {}).get(key, ""))


def template_of(made: Mapping[str, Any]) -> DesktopTemplate:
    """The template that a pod was built from; raises `ValueError` when somebody spoilt the annotation."""
    try:
        told = json.loads(made["metadata"]["annotations"][TEMPLATE])
        return DesktopTemplate(
            TemplateId(str(told["template"])),
            int(told["width_px"]),
            int(told["height_px"]),
            tuple(AppId(str(app)) for app in told["apps"]),
            str(told["network"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"pod {made['metadata'].get('name')} does not say what it was built from: {error}") from None


def amounts_of(made: Mapping[str, Any]) -> dict[str, Any]:
    """Requests and limits as a pod's specification has them."""
    for container in made["spec"]["containers"]:
        if container["name"] == CONTAINER:
            return dict(container.get("resources") or {})
    return {}


def owner_of(made: Mapping[str, Any]) -> UserId | None:
    """Whose home a pod has; raises `ValueError` when label and annotation do not agree: then nobody may have it."""
    said = str((made["metadata"].get("annotations") or {}).get(OWNER, ""))
    if not said and not label(made, OWNER):
        return None
    owner = user_id(said)
    if label_value(owner) != label(made, OWNER):
        raise ValueError(f"pod {made['metadata'].get('name')} has two owners")
    return owner


def leaving(made: Mapping[str, Any]) -> bool:
    """Whether a pod is being removed."""
    return bool(made["metadata"].get("deletionTimestamp"))


def runs(made: Mapping[str, Any]) -> bool:
    """Whether a pod's desktop runs, on a node that answers."""
    status = made.get("status") or {}
    if status.get("phase") != "Running" or leaving(made):
        return False
    return all(one.get("status") != "False" for one in status.get("conditions") or () if one.get("type") == "Ready")


def newest(pods: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of a ghost's pods, the one that is the ghost: the last that runs, else the last that stays, else the last."""
    ranked = sorted(pods, key=lambda one: (runs(one), not leaving(one), label(one, GENERATION)))
    return ranked[-1] if ranked else None


def observed(pods: Sequence[Mapping[str, Any]]) -> ObservedGhost | None:
    """A ghost, from all of its pods; None when their labels are none of ours.

    A pod of an owner that is still starting makes the ghost theirs already: nobody else may have it. Where labels
    were spoilt, so that an owner cannot be told, the ghost is shown as dead: it will be destroyed.
    """
    found = newest(pods)
    if found is None:
        return None
    try:
        ghost = ghost_id(label(found, GHOST))
    except ValueError:
        return None
    alive, owners = runs(found), set()
    try:
        owners = {owner for one in pods if not leaving(one) or one is found if (owner := owner_of(one)) is not None}
        template = str(template_of(found).template)
    except ValueError:
        alive, template = False, label(found, TEMPLATE)
    alive = alive and len(owners) <= 1
    frozen = label(found, STATE) == FROZEN
    return ObservedGhost(ghost, alive, frozen, min(owners) if len(owners) == 1 else None, template)


def by_ghost(pods: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Pods by the ghost that they say they are."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in pods:
        found.setdefault(label(one, GHOST), []).append(one)
    return found


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not run.

    Args:
        reason: Kubernetes' word for it.
        text: what it says, for people.
        final: whether waiting is of no use.
    """

    reason: str
    text: str
    final: bool


_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_FINAL = _IMAGE | {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


def trouble(made: Mapping[str, Any]) -> Trouble | None:
    """What keeps a pod from running, as far as its status tells; None while nothing is wrong."""
    status = made.get("status") or {}
    if status.get("phase") in ("Failed", "Succeeded"):
        return Trouble(str(status.get("reason") or "Ended"), _why(status), True)
    for one in status.get("containerStatuses") or ():
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _FINAL:
            return Trouble(waiting["reason"], str(waiting.get("message") or waiting["reason"]), True)
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return Trouble(str(one.get("reason") or "Unschedulable"), str(one.get("message") or "no node fits"), False)
    return None


def image_trouble(reason: str) -> bool:
    """Whether a reason is about the image."""
    return reason in _IMAGE


def _why(status: Mapping[str, Any]) -> str:
    if status.get("message"):
        return str(status["message"])
    for one in status.get("containerStatuses") or ():
        ended = (one.get("state") or {}).get("terminated") or {}
        if ended:
            said = str(ended.get("message") or "").strip()
            return f"its session ended with status {ended.get('exitCode')}{': ' + said if said else ''}"
    return "it ended"


def resize_trouble(made: Mapping[str, Any]) -> Trouble | None:
    """What became of a resize: None when it is done or under way (conditions PodResizePending and -InProgress)."""
    for one in (made.get("status") or {}).get("conditions") or ():
        if one.get("type") == "PodResizePending" and one.get("status") == "True":
            reason = str(one.get("reason") or "Deferred")
            return Trouble(reason, str(one.get("message") or reason), reason == "Infeasible")
        if one.get("type") == "PodResizeInProgress" and one.get("status") == "True" and one.get("reason") == "Error":
            return Trouble("Error", str(one.get("message") or "the node could not"), True)
    return None


def allocatable(nodes: Iterable[Mapping[str, Any]]) -> tuple[Resources, Resources]:
    """What ready nodes have for pods: all together, and the largest amounts of one."""
    total, largest = Resources(), Resources()
    for node in nodes:
        status = node.get("status") or {}
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
        if not ready or (node.get("spec") or {}).get("unschedulable"):
            continue
        room = status.get("allocatable") or {}
        here = Resources(cpu_cores=quantity(room.get("cpu")), memory_bytes=quantity(room.get("memory")))
        total = total + here
        largest = Resources(
            cpu_cores=max(largest.cpu_cores, here.cpu_cores), memory_bytes=max(largest.memory_bytes, here.memory_bytes)
        )
    return total, largest


def same_amounts(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether requests and limits mean the same; the server writes quantities in its own way."""

    def numbers(amounts: Mapping[str, Any]) -> dict[tuple[str, str], float]:
        return {(kind, what): quantity(text) for kind, values in amounts.items() for what, text in values.items()}

    return numbers(one) == numbers(other)


def shrinkable(
    before: Mapping[str, Any], wanted: dict[str, dict[str, str]], may: bool
) -> tuple[dict[str, dict[str, str]], bool]:
    """What may be asked of a version that makes no memory limit smaller, and whether that is less than wanted."""
    had = quantity((before.get("limits") or {}).get("memory"))
    if may or quantity(wanted["limits"]["memory"]) >= had:
        return wanted, False
    return {**wanted, "limits": {**wanted["limits"], "memory": str(before["limits"]["memory"])}}, True


def resize_told(pod: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether a node has said what became of a resize: refused, put off, or done (its status has what was asked)."""
    if resize_trouble(pod) is not None:
        return True
    wanted = amounts_of(asked)
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        if one.get("name") == CONTAINER and one.get("resources"):
            return all(
                quantity(one["resources"].get(kind, {}).get(what)) == quantity(amount)
                for kind, amounts in wanted.items()
                for what, amount in amounts.items()
            )
    return False


def asked_memory_bytes(pod: Mapping[str, Any]) -> float:
    """What a pod asks of its node's memory; 0 once it has ended."""
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return 0.0
    return quantity((amounts_of(pod).get("requests") or {}).get("memory"))


def lost_nodes(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of nodes that are not ready."""
    lost = []
    for node in nodes:
        conditions = (node.get("status") or {}).get("conditions") or ()
        if not any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
            lost.append(str(node["metadata"]["name"]))
    return sorted(lost)

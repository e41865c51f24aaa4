"""Which error an answer of the Kubernetes API means, with its cause and mend: pure.

Source: Kubernetes' reference/kubernetes-api/common-definitions/status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ghostdesk.kernel.errors import EngineError, InsufficientCapacity, MissingRequirement, NotFound, Unsupported


class Unreachable(EngineError):
    """The API server does not answer, or not in time; what it did with the last call is unknown."""

    code = "unreachable"
    retry_after_s = 10.0
    never_sent = False
    """Whether nothing was sent at all, so that asking again does no harm."""


class Overloaded(EngineError):
    """The API server is there and asks to be left alone for a while, or fails inside."""

    code = "overloaded"
    retry_after_s = 5.0
    status = 500


class BadCertificate(EngineError):
    """The server's certificate, or ours, is not accepted."""

    code = "certificate"


class BadCredentials(EngineError):
    """The server does not know who we are."""

    code = "credentials"


class MissingRight(EngineError):
    """The server knows who we are, and does not let us."""

    code = "right"


class NameTaken(EngineError):
    """There is an object of that name already."""

    code = "name-taken"


class Changed(EngineError):
    """The object was changed since it was read: read it again."""

    code = "changed"
    retry_after_s = 0.1


class Expired(EngineError):
    """What was asked for is older than what the server remembers: list anew."""

    code = "expired"


class Rejected(EngineError):
    """The server finds fault with what was asked: with the settings, or with this version of ghostdesk."""

    code = "rejected"


class ImageMissing(EngineError):
    """A node cannot get the image of the desktops."""

    code = "image"
    retry_after_s = 60.0


class FeatureMissing(Unsupported):
    """The cluster is too old for something, or has it switched off."""

    code = "feature"


def status_of(body: bytes) -> dict[str, Any]:
    """The Status object in a body; its first words as message where it is none (a proxy in between, say)."""
    try:
        told = json.loads(body)
        if isinstance(told, dict):
            return told
    except ValueError:
        pass
    return {"message": body[:200].decode(errors="replace").strip()}


def _forbidden(said: str, where: str) -> EngineError:
    if "exceeded quota" in said:
        return InsufficientCapacity(
            f"A quota of the namespace is full: {said}.", "Raise the ResourceQuota, or lower pool.ceiling."
        )
    if "violates PodSecurity" in said:
        return Rejected(
            f"The namespace's pod security refuses desktops: {said}.",
            "ghostdesk's pods keep to the restricted profile: look at what a webhook of the cluster adds to them.",
        )
    if "no PriorityClass with name" in said:
        return MissingRequirement(
            f"The cluster lacks ghostdesk's priority classes: {said}.", "Apply deploy/kubernetes/priorities.yaml."
        )
    return MissingRight(
        f"The cluster does not let us: {said}{where}.",
        "Apply deploy/kubernetes/access.yaml, and bind the role to the account that ghostdesk uses.",
    )


def error_of(code: int, told: Mapping[str, Any], what: str) -> EngineError:  # noqa: PLR0911 - one line a status
    """The error that an HTTP status and the Status object in the body mean.

    Args:
        what: what was asked, for people.
    """
    said = str(told.get("message") or told.get("reason") or f"HTTP status {code}").rstrip(".")
    reason = str(told.get("reason") or "")
    where = f" ({what})" if what else ""
    match code:
        case 401:
            return BadCredentials(
                f"The cluster does not accept our credentials: {said}{where}.",
                "Renew the kubeconfig's token or certificate, or the pod's service account.",
            )
        case 403:
            return _forbidden(said, where)
        case 404:
            return NotFound(f"The cluster does not know it: {said}{where}.", "It was removed, or never made.")
        case 409 if reason == "AlreadyExists":
            return NameTaken(f"The name is taken: {said}{where}.", "Remove the object of that name, or wait for it.")
        case 409:
            return Changed(f"It was changed meanwhile: {said}{where}.", "It is read again and tried once more.")
        case 410:
            return Expired(f"The server no longer remembers that far back: {said}{where}.")
        case 405 | 406 | 415 | 501:
            return FeatureMissing(f"The cluster cannot do this: {said}{where}.", "Use a newer version of Kubernetes.")
        case 429:
            busy = Overloaded(f"The API server is busy: {said}{where}.", "It is asked again, less often.")
            seconds = (told.get("details") or {}).get("retryAfterSeconds")
            busy.status = 429
            busy.retry_after_s = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else 1.0
            return busy
    if code >= 500:
        return Overloaded(f"The API server failed: {said}{where}.", "Look at its log, and at etcd's.")
    return Rejected(f"The cluster refuses what was asked: {said}{where}.", "Look at the setting that it names.")

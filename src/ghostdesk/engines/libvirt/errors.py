"""What libvirt's errors mean: their kind by code and words, with the mend. Pure.

Source: libvirt's include/libvirt/virterror.h for the codes. An error is given as its code, domain and words, so that
answers that were recorded from other drivers can be held against this without libvirt.
"""

from __future__ import annotations

from ghostdesk.kernel.errors import (
    BuildFailed,
    EngineError,
    GhostdeskError,
    InsufficientCapacity,
    MissingRequirement,
    NotFound,
)

# virErrorNumber
INTERNAL, NO_MEMORY, NO_SUPPORT, NO_CONNECT, INVALID_CONN, INVALID_ARG, OPERATION_FAILED = 1, 2, 3, 5, 6, 8, 9
UNKNOWN_HOST, SYSTEM, RPC, NO_DOMAIN, NO_NETWORK = 4, 38, 39, 42, 43
AUTH_FAILED, NO_STORAGE_POOL, NO_STORAGE_VOL, OPERATION_INVALID, CONFIG_UNSUPPORTED = 45, 49, 50, 55, 67
OPERATION_TIMEOUT, OPERATION_DENIED, AGENT_UNRESPONSIVE, OPERATION_UNSUPPORTED = 68, 29, 86, 84
STORAGE_VOL_EXIST, AUTH_CANCELLED, AUTH_UNAVAILABLE, DOM_EXIST, NO_DOMAIN_SNAPSHOT = 90, 79, 94, 28, 72
GNUTLS, ACCESS_DENIED = 40, 88
_FULL = ("no space left", "not enough free space", "disk quota exceeded", "insufficient", "out of space")
_AWAY = ("cannot recv data", "end of file while reading data", "client socket is closed", "connection refused",
         "failed to connect socket", "no route to host", "connection reset", "broken pipe", "unable to connect",
         "could not resolve", "timed out", "server closed connection", "failed to connect")  # fmt: skip
_REFUSED = ("permission denied", "authentication failed", "access denied", "could not login", "certificate", "host key",
            "invalid login", "authentication unavailable", "cannot complete login", "credentials")  # fmt: skip
_NO_DRIVER = ("no connection driver available", "built without the", "unable to find an implementation")


class Unreachable(EngineError):
    """libvirt does not answer; what it did with the last call is unknown."""

    retry_after_s = 10.0


class NotSupported(EngineError):
    """The driver has no such call."""


class NameTaken(EngineError):
    """A machine or disk of that name is there already, and it is not ours to remove."""


def error_of(code: int, said: str, uri: str) -> GhostdeskError:  # noqa: PLR0911, PLR0912 - one kind a line
    """The error that an answer of libvirt means.

    Args:
        code: its number (virErrorNumber).
        said: its words.
        uri: which libvirt, without secrets.
    """
    low = said.lower()
    if code in {AUTH_FAILED, AUTH_CANCELLED, AUTH_UNAVAILABLE, ACCESS_DENIED, OPERATION_DENIED} or (
        code in {INTERNAL, INVALID_ARG, RPC, SYSTEM, GNUTLS} and any(word in low for word in _REFUSED)
    ):
        return MissingRequirement(
            f"{uri} refuses us: {said}.",
            "Give this user the right to libvirt's socket (group libvirt), or mend the certificate, key or the file of "
            "passwords that engine.address names with ?authfile=.",
        )
    if any(word in low for word in _NO_DRIVER):
        return MissingRequirement(
            f"The libvirt library here has no driver for {uri}: {said}.",
            "Mend engine.address, or use a libvirt that is built with that driver.",
        )
    if code in {NO_CONNECT, UNKNOWN_HOST, INVALID_CONN} or (
        code in {SYSTEM, RPC, INTERNAL, GNUTLS} and any(word in low for word in _AWAY)
    ):
        return Unreachable(f"{uri} cannot be reached: {said}.", "Is libvirt's daemon running, and the address right?")
    if code in {NO_DOMAIN, NO_DOMAIN_SNAPSHOT}:
        return NotFound(f"{uri} does not know it: {said}.", "It was removed, or never made.")
    if code == NO_STORAGE_POOL:
        return MissingRequirement(
            f"{uri} has no such storage pool: {said}.",
            "Make it (`virsh pool-define-as NAME dir --target FOLDER`, then `pool-start`), or set engine.storage_pool.",
        )
    if code == NO_STORAGE_VOL:
        return MissingRequirement(
            f"The image is not there: {said}.", "Put it into the storage pool, or set engine.image."
        )
    if code == NO_NETWORK:
        return MissingRequirement(f"{uri} has no such network: {said}.", "Make it, or set engine.network_name.")
    if any(word in low for word in _FULL):
        return InsufficientCapacity(f"The host has no room: {said}.", "Free space in the storage pool, or enlarge it.")
    if code == NO_MEMORY or "cannot allocate memory" in low or "cannot set up guest memory" in low:
        return InsufficientCapacity(f"The host has no memory for it: {said}.", "Lower engine.machine_memory_bytes.")
    if code in {STORAGE_VOL_EXIST, DOM_EXIST} or "already exists" in low or "already defined" in low:
        return NameTaken(
            f"The name is taken: {said}.", "Remove what has it, if it is nobody's; ours end with a ghost's id."
        )
    if ("emulator" in low and ("find" in low or "serve" in low)) or "unknown architecture" in low:
        return MissingRequirement(
            f"The host cannot run machines of the image's architecture: {said}.",
            "Set engine.image_architecture right, use another image, or install QEMU for it.",
        )
    if code in {NO_SUPPORT, OPERATION_UNSUPPORTED, CONFIG_UNSUPPORTED}:
        return NotSupported(f"{uri} cannot do it: {said}.", "docs/reference/libvirt-drivers.md says what can.")
    if code in {AGENT_UNRESPONSIVE, OPERATION_TIMEOUT}:
        return BuildFailed(f"The machine does not answer in time: {said}.", "Is the guest agent in the image?")
    return EngineError(f"libvirt could not do it: {said}.", "Its own log on the host says more.")

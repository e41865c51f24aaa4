"""What mmdebstrap says, in words for people: its steps, and why it failed. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ghostdesk.engines.images.recipe import Recipe
from ghostdesk.kernel.errors import ConfigError, EngineError, GhostdeskError, InsufficientCapacity, MissingRequirement

_STEPS = (
    ("running apt-get update", "fetching the lists of packages"),
    ("downloading packages", "downloading packages"),
    ("extracting archives", "unpacking the base system"),
    ("installing essential", "setting up the base system"),
    ("installing remaining", "installing the desktop and its applications"),
    ("running --customize-hook", "putting the agent and the session in"),
    ("cleaning package lists", "cleaning up"),
    ("creating tarball", "packing"),
)
_NO_NETWORK = re.compile(
    r"temporary failure resolving|could not resolve|could not connect|connection (timed out|refused|failed|reset)"
    r"|network is unreachable|unable to connect|no route to host",
    re.IGNORECASE,
)
_NO_PACKAGE = re.compile(
    r"unable to locate package (\S+)|package '?(\S+?)'? has no installation candidate", re.IGNORECASE
)
_NOT_TRUSTED = re.compile(
    r"no_pubkey|not signed|expkeysig|signatures? (couldn't|were invalid|could not)|certificate", re.I
)
_NO_FILE = re.compile(r"404 +not found|does not have a release file|file not found", re.IGNORECASE)
_NO_RIGHT = re.compile(
    r"unshare|newuidmap|subuid|user namespace|operation not permitted|permission denied", re.IGNORECASE
)


def step_of(line: str) -> str:
    """The step that a line of mmdebstrap's begins; empty when it begins none."""
    return next((step for start, step in _STEPS if line.startswith(f"I: {start}")), "")


def failure_of(lines: Sequence[str], recipe: Recipe) -> GhostdeskError:  # noqa: PLR0911 - one line a cause
    """Why mmdebstrap failed, by its last lines."""
    text = "\n".join(lines)
    mirror = recipe.mirror or "Debian's mirror"
    if "no space left" in text.lower():
        return InsufficientCapacity(
            "The disk became full while the image was built.", "Free space, or give --output on another disk."
        )
    if names := sorted({one or two for one, two in _NO_PACKAGE.findall(text)}):
        return ConfigError(
            f"Debian {recipe.suite} has no package {', '.join(names)} for {recipe.architecture}.", "See --app."
        )
    if _NO_NETWORK.search(text):
        return EngineError(
            f"{mirror} cannot be reached.", "Check the connection and any proxy, or give --mirror with one that can be."
        )
    if _NOT_TRUSTED.search(text):
        return EngineError(
            f"What {mirror} sends is not signed by a key that is trusted here.",
            "apt-get install debian-archive-keyring, and check this machine's clock.",
        )
    if _NO_FILE.search(text):
        return EngineError(
            f"{mirror} has no Debian {recipe.suite}.", "Give --mirror with the folder that holds dists/."
        )
    if _NO_RIGHT.search(text):
        return MissingRequirement(
            "This user may not make namespaces, which a build without root needs.",
            "Run this as root, or give the user ranges in /etc/subuid and /etc/subgid.",
        )
    last = [line for line in lines if line.strip()][-6:]
    return EngineError(f"mmdebstrap failed: {' | '.join(last)[-600:]}", "What it says last is above.")

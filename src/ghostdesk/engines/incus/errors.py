"""What a server of Incus or LXD refuses, as errors with a cause and a mend. Pure."""

from __future__ import annotations

from ghostdesk.kernel.errors import EngineError, InsufficientCapacity, MissingRequirement, NotFound


class Unreachable(EngineError):
    """The server does not answer, or not in time; what it did with the last call is unknown."""

    code = "unreachable"
    retry_after_s = 10.0


class NotTrusted(MissingRequirement):
    """We do not trust the server's certificate, or it does not trust ours."""

    code = "certificate"


class WrongServer(MissingRequirement):
    """What answers is not a server of this kind, or one of another version."""

    code = "version"


class ImageUnsuitable(MissingRequirement):
    """The image that desktops are made from is not there, or does not run on that server."""

    code = "image"


class Busy(EngineError):
    """Something else is being done with the instance in this moment; a moment later it can be asked again."""

    code = "busy"
    retry_after_s = 2.0


class NameTaken(EngineError):
    """Something that is not ours has the name already; it is left alone."""

    code = "name-taken"
    retry_after_s = 60.0


_NO_ROOM = ("no space left", "disk full", "not enough", "disk quota exceeded")
_QUOTA = ("quota", "limit reached", "reached maximum", "exceeds project", "project limits", "would exceed", "maximum")
_BUSY = (
    "is busy running",
    "instance is running",
    "matching non-reusable operation",
    "already running a",
    "database is locked",
)
_MOST_CHARACTERS = 320
_TRUST_MEND = "Have it trust our certificate: `incus config trust add-certificate FILE`."


def error_of(code: int, said: str, what: str) -> EngineError:  # noqa: PLR0911 - one line a kind
    """The error that an answer means: its kind by code and words, with the mend."""
    low = said.lower()
    said = _short(said)
    where = f" ({what})" if what else ""
    if any(word in low for word in _NO_ROOM):
        return InsufficientCapacity(
            f"The server has no room: {said}{where}.", "Free space in its storage pool, or make the pool larger."
        )
    if any(word in low for word in _QUOTA):
        return InsufficientCapacity(
            f"A quota of the server is reached: {said}{where}.",
            "Raise the limits of the project (`incus project edit`), or set engine.project.",
        )
    if any(word in low for word in _BUSY):
        return Busy(f"The instance is busy: {said}{where}.", "It is tried again.")
    if "already exists" in low or "already in use" in low:
        return NameTaken(f"The name is taken: {said}{where}.", "Rename or remove what has it, if nobody needs it.")
    if "architecture" in low:
        return ImageUnsuitable(
            f"The server cannot run the image: {said}{where}.",
            "Build one for it: `ghostdesk image build --architecture`.",
        )
    if code == 404 or "not found" in low:
        return NotFound(f"The server does not know it: {said}{where}.", "It was removed, or never made.")
    if code in (401, 403):
        return NotTrusted(f"The server refuses us: {said}{where}.", _TRUST_MEND)
    if any(
        word in low
        for word in ("no online", "no suitable cluster member", "offline", "connection refused", "i/o timeout")
    ):
        return Unreachable(f"A member of the cluster does not answer: {said}{where}.", "See `incus cluster list`.")
    return EngineError(f"The server could not do it: {said}{where}.", "See the server's log.")


def _short(said: str) -> str:
    """What a server says may be a program's whole output: its beginning and its end."""
    text = " ".join(said.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:160]} … {text[-_MOST_CHARACTERS + 160 :]}"

"""Errors that say what went wrong and how to mend it.

Every error that reaches a person is a `GhostdeskError`: one sentence on the cause, one on the mend, and a stable `code`
that scripts may match.
"""


class GhostdeskError(Exception):
    """Base of all errors shown to people.

    Args:
        cause: what went wrong, in one sentence.
        mend: what the reader can do about it; empty when nothing can be done.
    """

    code = "error"

    def __init__(self, cause: str, mend: str = "") -> None:
        super().__init__(f"{cause} {mend}".strip())
        self.cause = cause
        self.mend = mend


class ConfigError(GhostdeskError):
    """A setting is missing, unknown or contradicts another."""

    code = "config"


class StoreError(GhostdeskError):
    """The database cannot be read or written."""

    code = "store"


class ImportFileError(GhostdeskError):
    """A history file cannot be read at all (single bad lines are reported, not raised)."""

    code = "import"


class EngineError(GhostdeskError):
    """An engine could not do what it was told."""

    code = "engine"
    retry_after_s: float | None = None


class NotFound(EngineError):
    """The ghost, user or application does not exist."""

    code = "not-found"


class Unsupported(EngineError):
    """This engine, or the host behind it, has no call that does this; its abilities say so."""

    code = "unsupported"


class InsufficientCapacity(EngineError):
    """The host has no room for it: memory, disk, or the pool's ceiling."""

    code = "capacity"
    retry_after_s = 30.0


class QuotaReached(GhostdeskError):
    """A quota leaves no desktop, or too little for one."""

    code = "quota"


class MissingRequirement(EngineError):
    """A program or a right that the engine needs is not there."""

    code = "missing"
    retry_after_s = 60.0


class BuildFailed(EngineError):
    """A desktop was started and did not come up."""

    code = "build"
    retry_after_s = 5.0


class AgentError(EngineError):
    """The agent inside the desktop refused, failed or did not answer in time."""

    code = "agent"


class Conflict(GhostdeskError):
    """Somebody else was first: a ghost has another owner or another generation."""

    code = "conflict"


class NotAllowed(GhostdeskError):
    """The caller may not do this."""

    code = "not-allowed"

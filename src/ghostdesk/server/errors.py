"""How errors reach a browser: one JSON shape, and nothing of the server's insides for those who do not run it."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from ghostdesk.kernel.errors import EngineError, GhostdeskError

STATUS_OF_CODE = {
    "not-allowed": 403,
    "not-found": 404,
    "conflict": 409,
    "capacity": 503,
    "quota": 403,
    "booking": 422,
    "missing": 503,
    "build": 503,
    "store": 503,
    "agent": 502,
    "engine": 502,
    "unsupported": 502,
    "no-planner": 503,
    "calendar": 422,
    "calendar-refused": 422,
    "calendar-sign-in": 422,
}
"""HTTP status of each `GhostdeskError.code`; codes that are not here are 500, but that an engine's own errors (a server
that is not reached, a certificate) are treated as the kind that they are of: "engine", "missing"."""

OPERATORS_ONLY = {
    "store": "The server's records cannot be reached at present.",
    "missing": "The server cannot make desktops at present.",
    "engine": "The desktop could not do this.",
    "agent": "The desktop did not answer.",
    "config": "The server is not set up for this.",
    "error": "Something went wrong on the server.",
    "internal": "Something went wrong on the server.",
}
"""What people who are no operators read instead of a cause that may name paths, programs or hosts."""

ASK_OPERATOR = "Try again; if it stays, give your operator the request number."


class SignInRequired(GhostdeskError):
    """The request carries no session that is still good."""

    code = "sign-in"


class TooMany(GhostdeskError):
    """The caller asks too often or holds too much; `retry_after_s` says when to come again."""

    code = "too-many"

    def __init__(self, cause: str, mend: str, retry_after_s: float) -> None:
        super().__init__(cause, mend)
        self.retry_after_s = retry_after_s


class Refused(GhostdeskError):
    """The request is not one that our own page would send (wrong host, wrong origin, too big)."""

    code = "refused"

    def __init__(self, cause: str, mend: str = "", status: int = 403) -> None:
        super().__init__(cause, mend)
        self.status = status


def status_of(error: GhostdeskError) -> int:
    """The HTTP status that an error is sent with."""
    if isinstance(error, SignInRequired):
        return 401
    if isinstance(error, TooMany):
        return 429
    if isinstance(error, Refused):
        return error.status
    return STATUS_OF_CODE.get(_known_as(error), 500)


def _known_as(error: GhostdeskError) -> str:
    """The code by which an error is treated here: of an engine's own errors that of the nearest kind that is known."""
    kinds = [kind for kind in type(error).__mro__ if issubclass(kind, EngineError)]
    return next((kind.code for kind in kinds if kind.code in STATUS_OF_CODE), error.code)


def body_of(error: GhostdeskError, request_id: str, *, operator: bool) -> dict[str, dict[str, str]]:
    """``{"error": {"code", "cause", "mend", "request_id"}}``; only operators read causes that may name insides."""
    cause, mend = error.cause, error.mend
    if not operator and (known_as := _known_as(error)) in OPERATORS_ONLY:
        cause, mend = OPERATORS_ONLY[known_as], ASK_OPERATOR
    return {"error": {"code": error.code, "cause": cause, "mend": mend, "request_id": request_id}}


def response_of(error: GhostdeskError, request_id: str, *, operator: bool = False) -> JSONResponse:
    """The answer to a request that failed."""
    headers = {}
    retry_after_s = error.retry_after_s if isinstance(error, EngineError | TooMany) else None
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return JSONResponse(body_of(error, request_id, operator=operator), status_of(error), headers)

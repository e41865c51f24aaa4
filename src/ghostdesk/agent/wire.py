"""The words that agent and control plane exchange: one JSON object a line over the ghost's private unix socket.

The agent connects, says `hello` with its credential, then answers calls and reports events:

    agent   -> {"type": "hello", "version": 1, "ghost": "g1", "token": "..."}
    control -> {"type": "welcome"}                         (or the connection is closed)
    control -> {"type": "call", "id": 7, "method": "show", "params": {"app": "mousepad"}}
    agent   -> {"type": "reply", "id": 7, "result": {"path": "shown", "duration_s": 0.004}}
    agent   -> {"type": "reply", "id": 8, "error": {"code": "unknown-app", "message": "..."}}
    agent   -> {"type": "event", "kind": "app-launch", "time_s": 1.0, "app": "mousepad", "value": 0.004,
                "detail": "shown"}

Methods (params -> result):

    ping       {}                       -> {}
    catalogue  {}                       -> {"apps": [{"id", "name", "categories", "icon", "mime_types"}]}
                                           icon: data URL or ""
    launch     {"app", "hidden": bool, "files": [path]}  -> {"path": "hidden"|"cold", "duration_s"}
               a hidden launch is answered when the application has painted and is frozen; path "shown" if somebody
               asked for it meanwhile
    show       {"app", "thaw": bool = true}  -> {"path": "shown"|"raised"|"cold", "duration_s"}
               answered when the picture is on the screen; "thaw": false leaves it frozen behind it, for measuring
    hide       {"app", "freeze": bool, "unmap": bool}    -> {"duration_s"}
    freeze     {"app"}                  -> {"duration_s"}
    thaw       {"app"}                  -> {"duration_s"}
    close      {"app"}                  -> {}
    list       {}                       -> {"apps": [{"app", "state": "hidden"|"frozen"|"shown", "pids": [int]}]}
    sources    {"enabled": ["applications", ...], "sample_every_s": 30}  -> {}    see telemetry.events.TelemetrySource
    bound      {"user": str, "files": [path]}      -> {}      the home is attached: read it, and report from now on
    sample     {}                       -> {}      report resource use now
    notify     {"text"}                 -> {}      show a short message on the desktop

The `value` of an app-launch is how long it took, in seconds.
Times in `time_s` are seconds since 1970-01-01 UTC; `duration_s` are seconds.
Standard library only: this module also runs inside the desktop.
"""

from __future__ import annotations

import json
from typing import Any

VERSION = 1
MAX_LINE_BYTES = 4 * 1024 * 1024
"""A catalogue with icons is the longest line; anything longer is hostile or broken."""

Message = dict[str, Any]


class WireError(Exception):
    """A line that is not one of ours."""


def encode(message: Message) -> bytes:
    """One line, ending in a newline."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Parse one line; raises `WireError` for anything but a JSON object with a known `type`."""
    if len(line) > MAX_LINE_BYTES:
        raise WireError(f"a line of {len(line)} bytes is longer than {MAX_LINE_BYTES}")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from None
    if not isinstance(message, dict) or message.get("type") not in {
        "hello",
        "welcome",
        "call",
        "reply",
        "event",
        "lost",
    }:
        raise WireError("not an object with a known type")
    return message

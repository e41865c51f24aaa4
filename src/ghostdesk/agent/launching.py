"""Start an application in a session and a group of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostdesk.agent import catalogue
from ghostdesk.agent.freezer import RUN_VARIABLE, Group
from ghostdesk.agent.loop import Timer
from ghostdesk.kernel.ids import AppId

LAUNCH_PROPERTY = "_GHOSTDESK_LAUNCH"
"""Property of the root window: whoever sets it to an application's id asks for that application."""
APP_VARIABLE = "GHOSTDESK_APP"
"""Environment variable that names the application: an agent that starts anew learns from it what runs."""
HIDDEN_VARIABLE = "GHOSTDESK_HIDDEN"
"""Environment variable of applications that were started hidden."""
_PRIVATE = ("GHOSTDESK_TOKEN_FILE", "GHOSTDESK_AGENT_SOCKET", "GHOSTDESK_CGROUP", "GHOSTDESK_CGROUP_KIND", "PYTHONPATH")
"""The agent's own variables: no business of applications."""


class AgentFault(Exception):
    """A call that cannot be done. `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Run:
    """One application that runs.

    Args:
        number: of its group.
        app: which application.
        group: its processes.
        hidden: whether its windows are kept from the screen.
        unmap: whether they are hidden the slow way, unmapped.
        frozen: whether its processes are stopped.
        had_window: whether it ever showed or hid a window of its own.
        process: the process that we started, to be reaped; None after a restart of the agent.
    """

    number: int
    app: AppId
    group: Group
    hidden: bool = False
    unmap: bool = False
    frozen: bool = False
    had_window: bool = False
    program: str = ""
    process: Any = None
    thaw_timer: Timer | None = None
    watched_fd: int = field(default=-1)


def start(entry: catalogue.App, group: Group, files: Iterable[str], *, hidden: bool = False) -> Any:
    """Execute the application; returns the process. Raises `AgentFault` when that fails.

    With `hidden` it is told that no key or click of the user led to this start, so that it does not take the focus.
    """
    import subprocess  # 2 MiB that a desktop in waiting does not need

    arguments = catalogue.fill(entry.command, files)
    environment = {key: value for key, value in os.environ.items() if key not in _PRIVATE}
    environment[RUN_VARIABLE] = group.mark
    environment[APP_VARIABLE] = entry.app
    if hidden:
        environment[HIDDEN_VARIABLE] = "1"
        environment["DESKTOP_STARTUP_ID"] = f"ghostdesk-{group.name}_TIME0"  # Startup Notification 0.2
    home = environment.get("HOME", "/")
    try:
        return subprocess.Popen(
            arguments,
            env=environment,
            cwd=home if Path(home).is_dir() else "/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=group.join,  # noqa: PLW1509 - one thread here, and it only opens and writes: safe between fork and exec
        )
    except (OSError, subprocess.SubprocessError) as problem:
        raise AgentFault("cannot-start", f"{entry.app} cannot be started: {problem}") from None

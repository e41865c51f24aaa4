"""A user's home in a machine's slot: a bind mount on the host, seen in the machine through its shared folder (9p)."""

from __future__ import annotations

import os
from pathlib import Path

from ghostdesk.engines.local.homes import make_home
from ghostdesk.engines.local.mounts import attach_plain, mounted_under
from ghostdesk.engines.local.sandbox import INSIDE_UID
from ghostdesk.kernel.errors import EngineError, MissingRequirement


def put_home(home: Path, place: Path) -> None:
    """Make the home if it is not there, and mount it at its place; blocks. May be repeated.

    Raises:
        MissingRequirement: only root may mount.
        EngineError: the kernel refuses.
    """
    if os.geteuid() != 0:
        raise MissingRequirement("Only root may attach homes to machines.", "Run ghostdesk as root.")
    if not home.exists():
        make_home(home, INSIDE_UID)
    home.chmod(0o700)
    if mounted_under(place):
        return
    try:
        attach_plain(home, place)
    except OSError as error:
        raise EngineError(f"The home {home.name} cannot be attached: {error.strerror or error}.") from error

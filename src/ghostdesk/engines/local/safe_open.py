"""Opening the host's files by names that are not trusted: no symbolic link on the way, no device or FIFO at the end."""

from __future__ import annotations

import os

from ghostdesk.engines.local.beneath import NotOpened, open_beneath, open_folder_beneath, open_home


def open_plain(path: str, *, folder: bool = False) -> int:
    """A descriptor for reading the regular file (or folder) of that absolute name. Raises `beneath.NotOpened`."""
    if not path.startswith("/"):
        raise NotOpened("bad-name")
    root = open_home("/")
    try:
        name = path.lstrip("/") or "."
        return open_folder_beneath(root, name) if folder else open_beneath(root, name)[0]
    finally:
        os.close(root)

"""Opening the host's files by names that are not trusted: no symbolic link on the way, no device or FIFO at the end."""

from __future__ import annotations

import os
import stat

from ghostdesk.engines.local.beneath import NotOpened, find_beneath, open_beneath, open_folder_beneath, open_home


def open_plain(path: str, *, folder: bool = False, own: bool = False) -> int:
    """A descriptor for reading the regular file (or folder) of that absolute name. Raises `beneath.NotOpened`.

    A file that not everybody may read ("private") is not opened, unless it is our `own`: it is no package's. Above all
    our database is none: whoever closes a descriptor of it drops the locks that this process has on it (fcntl(2)).
    """
    if not path.startswith("/"):
        raise NotOpened("bad-name")
    root = open_home("/")
    try:
        name = path.lstrip("/") or "."
        if folder:
            return open_folder_beneath(root, name)
        if not own:
            handle, status = find_beneath(root, name)
            os.close(handle)  # O_PATH: nothing was opened, and no lock is dropped
            if not status.st_mode & stat.S_IROTH:
                raise NotOpened("private")
        return open_beneath(root, name)[0]
    finally:
        os.close(root)

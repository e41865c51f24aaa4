"""What the engine keeps about each ghost on disk, so that a control plane that was killed finds everything again."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ghostdesk.kernel.errors import EngineError, InsufficientCapacity
from ghostdesk.kernel.ids import GhostId, UserId

SOCKET_PATH_LIMIT_BYTES = 107
"""A unix socket's path may have 108 bytes with its closing zero (unix(7))."""
LONGEST_SOCKET = f"/{'g' * 32}/agent.sock"


@dataclass(frozen=True, slots=True)
class GhostPaths:
    """Every file and folder that belongs to one ghost.

    `folder` (state) holds the record, the home slot and the generated /etc; `run` holds the sockets and is bound at
    /run/ghost inside.
    """

    folder: Path
    run: Path

    @property
    def record(self) -> Path:
        """ghost.json."""
        return self.folder / "ghost.json"

    @property
    def slot(self) -> Path:
        """Bound at /home inside; the user's home appears in it as `user`."""
        return self.folder / "slot"

    @property
    def home(self) -> Path:
        """The home as the ghost sees it: generic until a user's own is attached."""
        return self.slot / "user"

    @property
    def etc(self) -> Path:
        """Generated files of /etc."""
        return self.folder / "etc"

    @property
    def log(self) -> Path:
        """What the session printed while it came up."""
        return self.folder / "session.log"

    @property
    def rfb(self) -> Path:
        """The screen's socket, made by Xvnc."""
        return self.run / "rfb.sock"

    @property
    def agent(self) -> Path:
        """The agent's socket, made by the control plane."""
        return self.run / "agent.sock"

    @property
    def token(self) -> Path:
        """The agent's credential."""
        return self.run / "agent.token"

    @property
    def frozen(self) -> Path:
        """The processes that were stopped with SIGSTOP, where no cgroup can freeze."""
        return self.folder / "stopped.json"


@dataclass(frozen=True, slots=True)
class GhostRecord:
    """A ghost as written to ghost.json.

    Args:
        ghost: its id.
        template: its template's id.
        network: what the template asked for: "isolated" or "outbound".
        uid: the host's uid that all its processes have.
        pid: the first process of its PID namespace, as the host sees it; 0 before there is one.
        start_ticks: that process's start time in clock ticks since boot; with `boot` it tells a reused pid from ours.
        boot: the host's boot id.
        network_pid, network_start_ticks: the same for its slirp4netns; 0 without one.
        owner: whose home is attached.
        attached: how: "", "idmap" (mounted), "rename" (moved into the slot) or "remote".
        home_inode: inode of the user's home, written before it is moved, so that it is found wherever a crash left it.
        merging: whether it was started with same-page merging; while one of these has an owner, nothing is merged.
        created_s: when it was built, seconds since 1970-01-01 UTC.
        gpu: what it holds of a GPU (`gpu.grant_to_text`); "" for nothing.
        width_px, height_px: the first size of its screen.
        resting: whether it is parked as its template's image: it has no process until it is woken.
    """

    ghost: GhostId
    template: str
    network: str
    uid: int
    pid: int = 0
    start_ticks: int = 0
    boot: str = ""
    network_pid: int = 0
    network_start_ticks: int = 0
    owner: UserId | None = None
    attached: str = ""
    home_inode: int = 0
    merging: bool = False
    created_s: float = 0.0
    gpu: str = ""
    width_px: int = 1280
    height_px: int = 800
    resting: bool = False


class Records:
    """The folders of all ghosts under one state folder and one run folder."""

    def __init__(self, state_dir: Path, run_dir: Path) -> None:
        self.state_dir = state_dir
        self.run_dir = run_dir
        self.ghosts_dir = state_dir / "ghosts"
        self.homes_dir = state_dir / "homes"
        self.rescued_dir = state_dir / "rescued"

    def check_socket_paths(self) -> None:
        """Raise `EngineError` when a socket under the run folder could have a path that is too long to bind."""
        length = len(os.fsencode(self.run_dir)) + len(LONGEST_SOCKET)
        if length > SOCKET_PATH_LIMIT_BYTES:
            raise EngineError(
                f"The run folder {self.run_dir} is too long: a socket in it would have a path of {length} bytes, "
                f"and {SOCKET_PATH_LIMIT_BYTES} is the limit.",
                f"Set state.run_directory to a path of at most {SOCKET_PATH_LIMIT_BYTES - len(LONGEST_SOCKET)} bytes.",
            )

    def paths(self, ghost: GhostId) -> GhostPaths:
        """Where the ghost's things are, whether it exists or not."""
        return GhostPaths(self.ghosts_dir / ghost, self.run_dir / ghost)

    def read(self, ghost: GhostId) -> GhostRecord | None:
        """The ghost's record; None when there is none or it cannot be read (a half-built or half-destroyed ghost)."""
        try:
            table = json.loads(self.paths(ghost).record.read_text())
            known = {field.name for field in fields(GhostRecord)}
            return GhostRecord(**{key: value for key, value in table.items() if key in known})
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def write(self, record: GhostRecord) -> None:
        """Replace the record in one step; raises `InsufficientCapacity` when the disk is full."""
        write_atomically(self.paths(record.ghost).record, json.dumps(asdict(record), indent=1))

    def ghosts(self) -> Iterator[GhostId]:
        """Every ghost that has a folder, in the order of their ids."""
        names = set()
        for directory in (self.ghosts_dir, self.run_dir):
            with contextlib.suppress(FileNotFoundError):
                # What begins with a dot is not a ghost's: the doctor's own run folder is in there.
                names |= {entry.name for entry in directory.iterdir() if entry.is_dir() and entry.name[0] != "."}
        return (GhostId(name) for name in sorted(names))


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file beside its place and move it there; raises `InsufficientCapacity` when the disk is full."""
    beside = path.with_name(f".{path.name}.new")
    with clear_disk_errors(path), open_private(beside, mode) as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
        beside.replace(path)


def open_private(path: Path, mode: int):  # type: ignore[no-untyped-def]
    """Open a file anew for writing text, with these permission bits from its first moment."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "w")


@contextlib.contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn "no space" and "read-only" into errors that say where and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise InsufficientCapacity(
                f"The disk that holds {path.parent} is full.", "Free space there, or move state.directory."
            ) from error
        if error.errno == errno.EROFS:
            raise EngineError(
                f"{path.parent} is read-only.", "Remount it writable, or move state.directory."
            ) from error
        raise

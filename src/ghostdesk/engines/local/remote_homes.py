"""Homes that lie on a server: mounted into the ghost they are attached to, by sshfs or rclone.

One mechanism makes them quick: their likely files are read ahead through the mount (`home_loader`), which fills the
cache that the mount has, and the mount itself checks at every opening whether what it holds is still what the server
has. So nothing of ours can serve what is stale:

- `sshfs` (whole homes): pages stay in the page cache; at each opening time of change and size are compared with the
  server's (`auto_cache`). What is written is on the server when the file is closed.
- `rclone` (anything that it knows, such as S3): files stay in a folder of this host, bounded, the least recently used
  go first; size, time of change and digest (ETag) are compared. Servers that tell neither time nor digest are refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.local.mounts import mounted_under
from ghostdesk.kernel.errors import ConfigError, EngineError, MissingRequirement
from ghostdesk.kernel.ids import UserId, user_id
from ghostdesk.kernel.resources import GIB

KINDS = ("sshfs", "rclone")
FRESH_S = 3.0
"""What a server said of a file is believed for so long at most, as NFS does at least: one second each in the program
and in the kernel, both of which count whole seconds."""
TIMEOUT_S = 30.0
_NO_TIMES = 3_153_600_000_000_000_000
"""What rclone gives as the precision of a server that keeps no times."""
_SSHFS = (
    "auto_cache", "ac_attr_timeout=0", "attr_timeout=1", "entry_timeout=1", "dcache_timeout=1", "negative_timeout=0",
    "allow_other", "default_permissions", "nosuid", "nodev", "reconnect", "BatchMode=yes",
    "ServerAliveInterval=5", "ServerAliveCountMax=3", "ConnectTimeout=10",
)  # fmt: skip
_RCLONE = (
    "--daemon", "--vfs-cache-mode", "full", "--vfs-write-back", "0s", "--vfs-cache-poll-interval", "10s",
    "--dir-cache-time", "1s", "--attr-timeout", "1s", "--poll-interval", "0", "--allow-other",
    "--umask", "077", "--contimeout", "5s", "--timeout", "15s", "--low-level-retries", "2", "--retries", "1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """Where homes are.

    Args:
        kind: one of `KINDS`.
        place: what sshfs or rclone mounts; ``{user}`` in it becomes the user's id.
        options: more of the program's own options.
        cache_bytes: of a person's files on this host, at most (rclone).
    """

    kind: str
    place: str
    options: tuple[str, ...] = ()
    cache_bytes: float = 2.0 * GIB

    @classmethod
    def parse(cls, text: str, options: Sequence[str] = (), cache_bytes: float = 2.0 * GIB) -> RemoteSource:
        """From a setting such as ``sshfs:{user}@files.example.org:/home/{user}``; raises `ConfigError`."""
        kind, _, place = text.partition(":")
        mend = "Write sshfs:{user}@files.example.org:/home/{user}, or rclone:REMOTE:folder/{user}."
        if kind not in KINDS:
            raise ConfigError(f"homes.remote = {text!r} begins with no known kind ({', '.join(KINDS)}).", mend)
        if "{user}" not in place or place.startswith("-"):
            raise ConfigError(f"homes.remote = {text!r} names no place for each {{user}}.", mend)
        if not 0 < cache_bytes < float("inf"):
            raise ConfigError(f"homes.cache_bytes = {cache_bytes!r} is no size.", "Give bytes, such as 2e9.")
        return cls(kind, place, tuple(options), cache_bytes)

    def of(self, user: UserId) -> str:
        """The user's own place."""
        return self.place.replace("{user}", user_id(user))


class RemoteHomes:
    """Mounts and forgets homes of a source.

    Args:
        source: where they are.
        cache_dir: for files that are kept on this host; mode 0700.
    """

    def __init__(self, source: RemoteSource, cache_dir: Path) -> None:
        self.source = source
        self._cache_dir = cache_dir
        self._checked = False

    def mount(self, user: UserId, target: Path, uid: int) -> None:
        """Mount the user's home on `target`, as files of `uid`; does nothing where it is mounted.

        Raises:
            MissingRequirement: the program is not installed, or we are not root.
            EngineError: the server refuses or does not answer; or it could not be told what is stale.
        """
        if is_mounted(target):
            return
        if os.geteuid() != 0:
            raise MissingRequirement("Only root can attach remote homes to desktops.", "Run ghostdesk as root.")
        if shutil.which(self.source.kind) is None:
            raise MissingRequirement(
                f"Homes are on a server, and {self.source.kind} is not installed.",
                f"Install it: apt-get install {self.source.kind} fuse3.",
            )
        if self.source.kind == "sshfs":
            words = [*_SSHFS, f"uid={uid}", f"gid={uid}", *self.source.options]
            _run(["sshfs", self.source.of(user), str(target), *(w for one in words for w in ("-o", one))], user)
            return
        self._check_rclone(user)
        folder = self._cache(user)
        if self._marked(user).exists():
            self._remove(user)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._cache_dir.chmod(0o700)
        _run(
            ["rclone", "mount", self.source.of(user), str(target), *_RCLONE, "--cache-dir", str(folder),
             "--vfs-cache-max-size", f"{int(self.source.cache_bytes)}B", "--uid", str(uid), "--gid", str(uid),
             *self.source.options],
            user,
        )  # fmt: skip

    def forget(self, user: UserId, in_use: bool) -> None:
        """Remove what is kept of a person's files on this host; while their home is mounted, at its next mounting."""
        if not self._cache(user).exists():
            return
        self._marked(user).touch(mode=0o600)
        if not in_use:
            self._remove(user)

    def sweep(self, in_use: Sequence[UserId]) -> None:
        """Remove what was to be forgotten while it was in use, and is so no more."""
        for mark in self._cache_dir.glob("*.forget"):
            user = mark.name.removesuffix(".forget")
            if user not in in_use:
                with contextlib.suppress(ValueError):
                    self._remove(user_id(user))

    def _remove(self, user: UserId) -> None:
        shutil.rmtree(self._cache(user), ignore_errors=True)
        if not self._cache(user).exists():
            self._marked(user).unlink(missing_ok=True)

    def _check_rclone(self, user: UserId) -> None:
        """Refuse a server of which rclone cannot tell whether a kept file is stale."""
        if self._checked:
            return
        told = _run(["rclone", "backend", "features", *self.source.options, self.source.of(user)], user)
        try:
            features = json.loads(told)
            fresh = features["Precision"] != _NO_TIMES or bool(features["Hashes"])
        except (ValueError, KeyError, TypeError):
            raise EngineError("rclone does not say what the server of homes can do.", "Update rclone.") from None
        if not fresh:
            raise EngineError(
                "The server of homes tells neither times nor digests of files: stale files would pass for fresh ones.",
                "Use another protocol to it, such as sshfs or S3.",
            )
        self._checked = True

    def _cache(self, user: UserId) -> Path:
        return self._cache_dir / user_id(user)

    def _marked(self, user: UserId) -> Path:
        return self._cache_dir / f"{user_id(user)}.forget"


def is_mounted(target: Path) -> bool:
    """Whether something is mounted there; the server is not asked."""
    place = Path(os.path.realpath(target.parent)) / target.name
    return place in mounted_under(target.parent)


def _run(words: list[str], user: UserId) -> str:
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"The server of {user}'s home does not answer.", "See that it runs and can be reached from here."
        ) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        raise EngineError(
            f"The home of {user} cannot be mounted: {lines[-1].strip() if lines else f'{words[0]} failed'}.",
            "Try what homes.remote says by hand, as root.",
        )
    return done.stdout

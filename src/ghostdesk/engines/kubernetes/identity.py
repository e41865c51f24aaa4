"""The ghosts' credentials and machine identities, derived from one key, so that no secret is ever read back."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.ids import GhostId

_KEY_BYTES = 32


class Identity:
    """Makes the same credential for the same ghost, in every process that has the key.

    Args:
        key: 32 random bytes.
        pool: two pools of one key have different credentials.
    """

    def __init__(self, key: bytes, pool: str) -> None:
        self._key, self._pool = key, pool

    @classmethod
    def kept_in(cls, folder: Path, pool: str) -> Identity:
        """The key of `folder`, made there at first; raises `MissingRequirement` for one that is spoilt."""
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        path = folder / "kubernetes.key"
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
        except FileExistsError:
            pass
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise MissingRequirement(
                f"{path} is no key of ours ({len(key)} bytes).",
                "Restore it, or remove it and all ghosts: their credentials were made with it.",
            )
        return cls(key, pool)

    def token(self, ghost: GhostId) -> str:
        """The ghost's credential: 64 hexadecimal digits."""
        return self._derived("token", ghost)

    def machine_id(self, pod: str) -> str:
        """The machine id of one pod (machine-id(5)): 32 hexadecimal digits, different for each pod."""
        return self._derived("machine-id", pod)[:32]

    def _derived(self, what: str, name: str) -> str:
        return hmac.new(self._key, f"{what}\0{self._pool}\0{name}".encode(), hashlib.sha256).hexdigest()

"""Names for series that cannot be read back."""

from __future__ import annotations

import hashlib


def series_key(key: bytes, user: str | None) -> bytes:
    """The key of one person's series: the same meeting in two people's calendars has two digests."""
    return hashlib.blake2b((user or "").encode(), key=key[:64], digest_size=32).digest()


def series_digest(uid: str, key: bytes) -> str:
    """16 hexadecimal digits that stand for a UID and cannot be read back without the key; empty for no UID."""
    if not uid:
        return ""
    return hashlib.blake2b(uid.encode("utf-8", "surrogatepass"), key=key, digest_size=8).hexdigest()

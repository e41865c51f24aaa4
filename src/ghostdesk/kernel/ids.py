"""Identifiers. They are plain strings to the machine and different types to the checker."""

import re
from typing import NewType

UserId = NewType("UserId", str)
AppId = NewType("AppId", str)
"""The id of an XDG desktop file without its suffix, such as ``org.xfce.mousepad``."""
GhostId = NewType("GhostId", str)
TemplateId = NewType("TemplateId", str)
HostId = NewType("HostId", str)

_USER = re.compile(r"[a-z0-9_][a-z0-9_.@-]{0,63}")
_APP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_GHOST = re.compile(r"[a-z0-9]{1,32}")


def user_id(text: str) -> UserId:
    """Check and return a user id: 1-64 of ``a-z 0-9 _ . @ -``, not starting with a dot or dash (it names a folder)."""
    if not _USER.fullmatch(text):
        raise ValueError(f"{text!r} is no user id: use 1-64 lower-case letters, digits, or _ . @ -")
    return UserId(text)


def app_id(text: str) -> AppId:
    """Check and return an application id: the name of its desktop file without ``.desktop``."""
    cleaned = text.removesuffix(".desktop")
    if not _APP.fullmatch(cleaned):
        raise ValueError(f"{text!r} is no application id: use the name of its .desktop file")
    return AppId(cleaned)


def ghost_id(text: str) -> GhostId:
    """Check and return a ghost id: 1-32 lower-case letters and digits."""
    if not _GHOST.fullmatch(text):
        raise ValueError(f"{text!r} is no ghost id: use 1-32 lower-case letters and digits")
    return GhostId(text)

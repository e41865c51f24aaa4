"""Turns the names, times and words of foreign logs into ours, always in the same way; `ValueError` says why it cannot.

docs/reference/history-formats.md states these rules for people.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, tzinfo
from functools import lru_cache
from hashlib import blake2b

from ghostdesk.kernel.ids import AppId, UserId, app_id, user_id

_PROGRAM_SUFFIX = re.compile(r"(\.(desktop|exe|app|lnk))+$", re.IGNORECASE)
_NOT_IN_APP = re.compile(r"[^A-Za-z0-9_.+-]+")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/;=-]{0,127}")
_MIME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}/[a-z0-9][a-z0-9.+-]{0,63}")
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{0,12})?")
_DATE = re.compile(r"\d{4}-?(\d\d-?\d\d|W\d\d-?\d)")
_MAX_APP_CHARS = 128
_END_OF_TIME_S = 1e10
"""The year 2286: a log beyond it is a misread number."""


@lru_cache(maxsize=65_536)
def clean_app(text: str) -> AppId:
    """The application id for a name in a log: a desktop id stays as it is, a program or title-like name is reduced.

    The same text gives the same id on every machine, and cleaning an id gives that id. Names that differ only in
    letters that ids cannot hold stay different: a digest of the name is put behind.
    """
    name = text.strip()
    while (again := _clean_app_once(name)) != name:
        name = again
    return app_id(name)


def _clean_app_once(name: str) -> str:
    base = re.split(r"[/\\]", name.rstrip("/\\"))[-1].strip()
    base = _PROGRAM_SUFFIX.sub("", base)
    if not base or "\0" in base:
        raise ValueError("the application's name is empty")
    plain = unicodedata.normalize("NFKD", base)
    lost = any(c.isalnum() and not c.isascii() for c in plain)
    cleaned = _NOT_IN_APP.sub("_", "".join(c for c in plain if not unicodedata.combining(c)))
    cleaned = cleaned.lstrip(".+-").strip("_") if cleaned != base else cleaned.lstrip(".+-")
    if lost or not cleaned:
        tail = blake2b(base.encode("utf-8", "replace"), digest_size=4).hexdigest()
        cleaned = f"{cleaned[: _MAX_APP_CHARS - 9] or 'app'}-{tail}"
    return cleaned[:_MAX_APP_CHARS]


def clean_user(text: str, users: Mapping[str, UserId] | None = None, default: UserId | None = None) -> UserId:
    """The user id for a name in a log: `users` first, then the name in lower case; `default` where there is no name."""
    name = text.strip()
    if users and name in users:
        return users[name]
    if not name:
        if default is None:
            raise ValueError("no user is named; give one with --user")
        return default
    return user_id(name.lower())


@lru_cache(maxsize=4096)
def clean_word(text: str) -> str:
    """A detail: one word of 1-128 letters, digits and ``_ . + / ; = -``, so that no title or sentence gets in."""
    word = text.strip()
    if not _WORD.fullmatch(word):
        raise ValueError("the detail is not a single word (content is not recorded)")
    return word


def clean_mime(text: str) -> str:
    """A MIME type such as ``text/plain``; a file's name is refused."""
    mime = text.strip().lower()
    if not _MIME.fullmatch(mime):
        raise ValueError("the detail of a file-opened event must be a MIME type (file names are not recorded)")
    return mime


@lru_cache(maxsize=65_536)
def clean_desktop(text: str) -> str:
    """A desktop's name: 1-128 printable characters."""
    name = text.strip()
    if not name or len(name) > 128 or not name.isprintable():
        raise ValueError("the desktop's name must be 1-128 printable characters")
    return name


def parse_time_s(text: str, zone: tzinfo) -> float:
    """Seconds since 1970-01-01 UTC from an epoch number or an ISO 8601 date and time.

    A number below 1e11 is seconds, then milliseconds, microseconds, nanoseconds (by powers of 1000). A date and time
    without a zone is in `zone`; an hour that is there twice (the clock was put back) is taken as the first.
    """
    word = text.strip()
    time_s = _epoch_s(word) if _NUMBER.fullmatch(word) else _iso_s(word, zone)
    if not 0.0 <= time_s < _END_OF_TIME_S:
        raise ValueError(f"time {word!r} is out of range (1970 to 2286)")
    return time_s


def _epoch_s(word: str) -> float:
    if len(word) == 8 and word.isdigit() and word[:2] in ("19", "20"):
        raise ValueError(f"time {word!r} is a date without a time of day")
    number = float(word)
    while number >= 1e11:
        number /= 1000.0
    return number


def _iso_s(word: str, zone: tzinfo) -> float:
    if not word:
        raise ValueError("the time is empty")
    if _DATE.fullmatch(word):
        raise ValueError(f"time {word!r} is a date without a time of day")
    try:
        moment = datetime.fromisoformat(word)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"time {word[:40]!r} is neither an epoch number nor ISO 8601") from None

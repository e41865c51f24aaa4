"""Walks through JSON of any size in little memory: a cursor over pieces of text reads one small value at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_MAX_VALUE_CHARS = 1 << 20
_WHITE = re.compile(r"[ \t\n\r]*+")
_decode = json.JSONDecoder().raw_decode


class JsonBroken(Exception):
    """The text is no JSON from here on, or stops in the middle."""


class JsonCursor:
    """Stands before a value of a JSON text that comes in pieces."""

    def __init__(self, chunks: Iterator[str]) -> None:
        self._chunks = chunks
        self._text = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            white = _WHITE.match(self._text, self._at)
            self._at = white.end() if white else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        """Step over one character, which must be `expected`."""
        found = self.peek()
        if found != expected:
            raise JsonBroken(f"{expected!r} is missing" if found else "the text stops in the middle")
        self._at += 1

    def value(self) -> object:
        """Read the whole value that stands here; it must be small (1 Mi characters)."""
        self.peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except ValueError as error:
                if not self._more():
                    raise JsonBroken("the text stops in the middle or is not JSON") from error
            except RecursionError:
                raise JsonBroken("values are nested too deep") from None
            else:
                if end < len(self._text) or not self._more():  # a number at the end of a piece may go on
                    self._at = end
                    return value
            if len(self._text) - self._at > _MAX_VALUE_CHARS:
                raise JsonBroken(f"no value ends within {_MAX_VALUE_CHARS} characters")

    def walk_keys(self) -> Iterator[str]:
        """Walk through an object: yields each key, and the caller then reads its value from this cursor."""
        self.take("{")
        first = True
        while self.peek() != "}":
            if not first:
                self.take(",")
            first = False
            if self.peek() != '"':
                raise JsonBroken("a key is missing")
            key = str(self.value())
            self.take(":")
            yield key
        self.take("}")

    def walk_items(self) -> Iterator[None]:
        """Walk through an array: the caller reads one value from this cursor at each step."""
        self.take("[")
        first = True
        while self.peek() != "]":
            if not first:
                self.take(",")
            first = False
            yield
        self.take("]")

    def _more(self) -> bool:
        piece = "" if self._ended else next(self._chunks, "")
        if not piece:
            self._ended = True
            return False
        self._text, self._at = self._text[self._at :] + piece, 0
        return True

"""Walks through JSON of any size in little memory: a cursor over pieces of text reads one small value at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_MAX_VALUE_CHARS = 1 << 20
_WHITE = re.compile(r"[ \t\n\r]*+")
_NUMBER = re.compile(r"[-0-9][-+.0-9eE]*+")
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
            if self._number_may_go_on() and self._more():
                continue
            try:
                value, self._at = _decode(self._text, self._at)
                return value
            except RecursionError:
                raise JsonBroken("values are nested too deep") from None
            except ValueError as error:
                if len(self._text) - self._at > _MAX_VALUE_CHARS:
                    raise JsonBroken(f"no value ends within {_MAX_VALUE_CHARS} characters") from None
                if not self._more():
                    raise JsonBroken("the text stops in the middle or is not JSON") from error

    def _number_may_go_on(self) -> bool:
        """Whether a number reaches the end of what was read: its next digits may be in the next piece."""
        number = _NUMBER.match(self._text, self._at)
        return number is not None and len(self._text) == number.end() < self._at + _MAX_VALUE_CHARS

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

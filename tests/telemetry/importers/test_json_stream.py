"""The JSON cursor: the same values as the json module's, whatever the pieces."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.telemetry.importers.json_stream import JsonBroken, JsonCursor

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def pieces(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def walk(cursor: JsonCursor) -> object:
    """The whole value, by walking objects and arrays step by step."""
    match cursor.peek():
        case "{":
            return {key: walk(cursor) for key in cursor.walk_keys()}
        case "[":
            return [walk(cursor) for _ in cursor.walk_items()]
        case _:
            return cursor.value()


@given(JSON, st.integers(1, 40), st.sampled_from([None, 2]))
def test_walking_in_pieces_gives_the_value(value: object, size: int, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert walk(JsonCursor(pieces(text, size))) == value
    cursor = JsonCursor(pieces(text, size))
    assert cursor.value() == value
    assert cursor.peek() == ""


@given(st.text(alphabet='[]{}",: 0aeftnul\\"', max_size=60), st.integers(1, 10))
def test_no_text_raises_anything_else(text: str, size: int) -> None:
    try:
        walk(JsonCursor(pieces(text, size)))
    except JsonBroken as error:
        assert str(error)


def test_deep_and_endless_values_are_refused() -> None:
    for text in ("[" * 200_000, '"' + "x" * 3_000_000, '{"a": ' * 100_000):
        with pytest.raises(JsonBroken):
            JsonCursor(pieces(text, 65_536)).value()

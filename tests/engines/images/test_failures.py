"""Why a build failed, by what mmdebstrap says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.images.failures import failure_of, step_of
from ghostdesk.engines.images.recipe import Form, Recipe
from ghostdesk.kernel.errors import (
    ConfigError,
    EngineError,
    GhostdeskError,
    InsufficientCapacity,
    MissingRequirement,
)

RECIPE = Recipe(Form.INCUS, mirror="http://m.example/debian")


@pytest.mark.parametrize(
    ("said", "kind", "cause"),
    [
        ("tar: write error: No space left on device", InsufficientCapacity, "disk became full"),
        (
            "E: Unable to locate package nosuch\nE: Unable to locate package other",
            ConfigError,
            "nosuch, other for amd64",
        ),
        ("E: Package 'x' has no installation candidate", ConfigError, "no package x"),
        ("W: Temporary failure resolving 'm.example'", EngineError, "cannot be reached"),
        ("Could not connect to 127.0.0.1:9", EngineError, "http://m.example/debian cannot be reached"),
        ("NO_PUBKEY 0E98404D386FA1D9", EngineError, "not signed"),
        ("404  Not Found [IP: 127.0.0.1 80]", EngineError, "has no Debian bookworm"),
        ("E: unshare failed: newuidmap", MissingRequirement, "namespaces"),
        ("E: something else", EngineError, "something else"),
    ],
)
def test_causes_by_words(said: str, kind: type[GhostdeskError], cause: str) -> None:
    error = failure_of(["I: running apt-get update...", *said.split("\n")], RECIPE)
    assert type(error) is kind and cause in error.cause and error.mend


@given(st.lists(st.text(max_size=60), max_size=20))
def test_whatever_is_said_gives_an_error_with_a_mend(lines: list[str]) -> None:
    assert failure_of(lines, RECIPE).mend
    assert all(isinstance(step_of(line), str) for line in lines)


def test_steps_are_told_in_words() -> None:
    assert step_of("I: downloading packages with apt...") == "downloading packages"
    assert step_of("W: downloading packages") == ""

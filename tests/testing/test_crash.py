"""The crash of the conformance suite comes when it is said to, before the n-th effect or after a time."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tally_engine import FOLDERS, Tally

from ghostdesk.ghosts.commands import Build, Destroy
from ghostdesk.kernel.ids import GhostId
from ghostdesk.testing import ConformanceFailure, EngineConformance
from ghostdesk.testing.crash import Moment

SUITE = EngineConformance()
BUILD = Build(GhostId("c1"), SUITE.template, SUITE.limits)


def made(place: Path) -> int:
    return len(list(place.glob("f*")))


async def crash(make: Any, command: Any, moment: Moment) -> bool:
    return await SUITE.crash(make, command, moment)


@pytest.mark.parametrize("effect", [1, 2])
async def test_it_dies_right_before_the_nth_effect(tmp_path: Path, effect: int) -> None:
    assert await crash(partial(Tally, tmp_path), BUILD, Moment(effect=effect))
    assert made(tmp_path) == effect - 1


@pytest.mark.parametrize("effect", [1, 2])
async def test_it_dies_after_a_program_was_started(tmp_path: Path, effect: int) -> None:
    assert await crash(partial(Tally, tmp_path), BUILD, Moment(effect=effect, started=True))
    assert made(tmp_path) == 2 + effect - 1


async def test_a_crash_that_would_come_later_does_not_come(tmp_path: Path) -> None:
    assert not await crash(partial(Tally, tmp_path), BUILD, Moment(effect=99))
    assert made(tmp_path) == FOLDERS


async def test_it_dies_after_a_time(tmp_path: Path) -> None:
    assert await crash(partial(Tally, tmp_path, 600.0), BUILD, Moment(after_s=0.05))
    assert made(tmp_path) == 0


async def test_a_command_that_fails_by_itself_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(ConformanceFailure, match="It does not die"):
        await crash(partial(Tally, tmp_path), Destroy(GhostId("c1")), Moment(effect=1))


async def test_an_engine_that_cannot_be_handed_over_skips_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="cannot be pickled"):
        await crash(lambda: Tally(tmp_path), BUILD, Moment(effect=1))

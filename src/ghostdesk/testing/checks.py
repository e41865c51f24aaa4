"""What the checks are made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from itertools import count
from typing import NoReturn

from ghostdesk.engines.protocol import Engine, ObservedGhost
from ghostdesk.ghosts.commands import EngineCommand, Outcome
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import GhostdeskError, NotFound
from ghostdesk.kernel.ids import GhostId

MakeEngine = Callable[[], Engine]
"""Makes an engine that is not started yet; every call looks at the same host."""

_numbers = count(1)


class ConformanceFailure(AssertionError):
    """The engine broke a promise of `ghostdesk.engines.protocol`. The message names the promise."""


def require(condition: bool, promise: str) -> None:
    """Fail with the promise that was broken. (An assert here would say less, and ``-O`` drops it.)"""
    if not condition:
        raise ConformanceFailure(promise)


def skip(reason: str) -> NoReturn:
    """Skip the test, visibly."""
    import pytest

    pytest.skip(reason)


def need(engine: Engine, *abilities: str) -> None:
    """Skip the test where the started engine says that it lacks one of these."""
    for one in engine.abilities():
        if one.name in abilities and not one.available:
            skip(f"this engine lacks {one.name!r} here: {one.detail}")


def has(engine: Engine, ability: str) -> bool:
    """Whether the started engine does not say that it lacks it."""
    return all(one.available for one in engine.abilities() if one.name == ability)


def new_ghost() -> GhostId:
    """A ghost id that this process has not used."""
    return GhostId(f"c{next(_numbers)}")


async def done(engine: Engine, command: EngineCommand) -> Outcome:
    """Apply a command that has to succeed."""
    outcome = await engine.apply(command)
    require(outcome.ok, f"{type(command).__name__} has to succeed, but: {outcome.error}")
    require(outcome.command == command, "an outcome carries the command that it is of")
    require(outcome.duration_s >= 0.0, "a duration is not negative")
    return outcome


async def refused(engine: Engine, command: EngineCommand) -> GhostdeskError:
    """Apply a command that has to fail, and give its error, which has to have a code and a cause."""
    name = type(command).__name__
    try:
        outcome = await engine.apply(command)
    except Exception as error:
        raise ConformanceFailure(f"{name}: failures come back in the outcome, but {error!r} was raised") from error
    if outcome.error is None:
        raise ConformanceFailure(f"{name} has to be refused here")
    require(isinstance(outcome.error, GhostdeskError), f"{name}: {outcome.error!r} has to be a GhostdeskError")
    require(bool(outcome.error.code and outcome.error.cause), f"{name}: an error has a code and a cause")
    return outcome.error


async def seen(engine: Engine, ghost: GhostId) -> ObservedGhost:
    """The ghost as observed; it has to be there, once."""
    found = [one for one in await engine.observe() if one.ghost == ghost]
    require(len(found) == 1, f"observe() shows ghost {ghost} once, not {len(found)} times")
    return found[0]


def has_endpoint(engine: Engine, ghost: GhostId) -> bool:
    """Whether `endpoint` knows the ghost."""
    try:
        engine.endpoint(ghost)
    except NotFound:
        return False
    return True


def numbers_of(told: HostConditions) -> list[tuple[str, float]]:
    """Every number in a reading, with its name."""
    found = [(field.name, getattr(told, field.name)) for field in fields(told)]
    return [(name, float(value)) for name, value in found if isinstance(value, int | float)]


async def rfb_greeting(path: str) -> bytes:
    """The first 12 bytes that the desktop's screen says."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        return await asyncio.wait_for(reader.readexactly(12), 10.0)
    finally:
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def started(make_engine: MakeEngine) -> AsyncIterator[Engine]:
    """A started engine that leaves nothing behind."""
    engine = make_engine()
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(keep_ghosts=False)


@asynccontextmanager
async def beside(make_engine: MakeEngine) -> AsyncIterator[Engine]:
    """A started engine that leaves everything as it is: another control plane on the same host, or the next one."""
    engine = make_engine()
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(keep_ghosts=True)

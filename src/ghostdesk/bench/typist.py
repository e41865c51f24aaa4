"""How soon a key shows on the screen of a desktop in use: pressed again and again, each echo timed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

import numpy as np

from ghostdesk.bench.painted import GLYPH_COLUMNS, GLYPH_PIXELS
from ghostdesk.bench.rfb import RfbClient
from ghostdesk.bench.rfb_screen import Pixels, Update

_KEYS = (ord("m"), 0xFF08)
"""A letter, and Backspace, which takes it away again: the text stays where it is."""
_PAUSE_S = (0.06, 0.16)
"""Between an echo and the next key: a quick typist."""
_GIVE_UP_S = 10.0


def echo_at(before: Pixels, updates: Sequence[Update], pressed_s: float) -> float | None:
    """The time of the first update after the press that changed as much as a letter; a caret is narrower.

    Args:
        before: the whole screen as it was when the key was pressed.
        updates: in order; those from before `pressed_s` (seconds, the updates' clock) are left out.
    """
    for update in updates:
        if update.time_s < pressed_s:
            continue
        for patch in update.patches:
            height, width = patch.pixels.shape
            changed = patch.pixels != before[patch.y : patch.y + height, patch.x : patch.x + width]
            if np.count_nonzero(changed) >= GLYPH_PIXELS and np.count_nonzero(changed.any(axis=0)) >= GLYPH_COLUMNS:
                return update.time_s
    return None


async def type_until(
    screen: RfbClient, enough: Callable[[int], bool], seed: int, most_s: float = 600.0
) -> tuple[list[float], int]:
    """Type into whatever has the focus until `enough(keys so far)`, and time each echo.

    Returns:
        Seconds from each key to its echo; and how many keys had none within 10 s (they count as 10 s in the first).
    """
    chance = random.Random(seed)  # noqa: S311 - pauses, no secret
    seconds: list[float] = []
    lost, end_s = 0, time.monotonic() + most_s
    while not enough(len(seconds)) and time.monotonic() < end_s:
        recording = screen.record()
        pressed_s = time.monotonic()
        screen.press(_KEYS[len(seconds) % 2])
        found: list[float] = []

        def echoed(
            before: Pixels = recording.before,
            updates: list[Update] = recording.updates,
            since_s: float = pressed_s,
            into: list[float] = found,
        ) -> bool:
            time_s = echo_at(before, updates, since_s)
            if time_s is not None:
                into.append(time_s)
            return time_s is not None

        if await screen.wait_until(echoed, _GIVE_UP_S):
            seconds.append(found[0] - pressed_s)
        else:
            seconds.append(_GIVE_UP_S)
            lost += 1
        screen.stop_recording()
        await asyncio.sleep(chance.uniform(*_PAUSE_S))
    return seconds, lost

"""When was the whole window there? Pure functions over recorded updates, the same for every rung of the ladder.

The method: take the picture when the screen has become quiet (*settled*); the window is *painted* at the first update
after which at least 98 % of its pixels equal that picture. Carets, clocks and spinners are the other 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostdesk.bench.rfb_screen import Patch, Pixels, Update

PAINTED_SHARE = 0.98
TILE_PX = 16
GLYPH_COLUMNS, GLYPH_PIXELS = 4, 8
"""A key's echo is at least this wide and large; a blinking caret is one or two columns."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of the screen, in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area_px(self) -> int:
        """Pixels in it."""
        return self.width * self.height

    def of(self, picture: Pixels) -> Pixels:
        """Its part of a picture (a view)."""
        return picture[self.y : self.y + self.height, self.x : self.x + self.width]


def window_of(before: Pixels, settled: Pixels) -> Window | None:
    """The rectangle around the largest connected part of the screen that changed; None when nothing did.

    Connected is meant on tiles of `TILE_PX` pixels, so that a clock in the panel does not count to the window.
    Raises `ValueError` when the pictures differ in size.
    """
    if before.shape != settled.shape:
        raise ValueError(f"pictures of {before.shape} and {settled.shape} cannot be compared")
    changed = before != settled
    tiles = _largest_part(_by_tile(changed))
    if tiles is None:
        return None
    changed &= np.kron(tiles, np.ones((TILE_PX, TILE_PX), bool))[: changed.shape[0], : changed.shape[1]]
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return Window(x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1)


def equal_share(picture: Pixels, settled: Pixels, window: Window) -> float:
    """The share of the window's pixels that are as in the settled picture, 0 to 1."""
    part, wanted = window.of(picture), window.of(settled)
    if part.shape != wanted.shape or not part.size:
        return 0.0
    return float(np.count_nonzero(part == wanted)) / part.size


def painted_at(
    before: Pixels, updates: Sequence[Update], settled: Pixels, window: Window, share: float = PAINTED_SHARE
) -> float | None:
    """The time (seconds, the updates' clock) of the first update after which `share` of the window is as settled.

    None when that never comes. Raises `ValueError` when the window was painted before the first update: then the
    pictures cannot tell, and no figure is better than a wrong one.
    """
    now = window.of(before).copy()
    wanted = window.of(settled)
    if np.count_nonzero(now == wanted) >= share * window.area_px:
        raise ValueError("the window was on the screen before the recording began")
    for update in updates:
        touched = False
        for patch in update.patches:
            touched |= _paint(now, window, patch)
        if touched and np.count_nonzero(now == wanted) >= share * window.area_px:
            return update.time_s
    return None


def answered_at(
    without: Pixels, updates: Sequence[Update], after: Pixels, undone: Pixels, window: Window, pressed_s: float
) -> float | None:
    """The time of the first update after the key press that shows a part of what the key changed.

    Args:
        without: the window as it is when no key was pressed.
        updates: recorded from before the press (`pressed_s`, seconds) on.
        after: the settled picture after the press.
        undone: the settled picture after what takes the key back.

    What the key changed are the pixels that are otherwise in `after` than in both `without` and `undone`: what the
    window painted late of its own accord stays when the key is taken back. It is shown once such pixels, over at
    least `GLYPH_COLUMNS` columns (which a caret does not span), have their new value. None when nothing of it came.
    """
    wanted = window.of(after)
    changed = (window.of(without) != wanted) & (window.of(undone) != wanted)
    now = window.of(without).copy()
    for update in updates:
        if update.time_s < pressed_s:
            continue
        touched = False
        for patch in update.patches:
            touched |= _paint(now, window, patch)
        if touched and _is_glyph(changed & (now == wanted)):
            return update.time_s
    return None


def _is_glyph(shown: NDArray[np.bool_]) -> bool:
    return bool(np.count_nonzero(shown) >= GLYPH_PIXELS and np.count_nonzero(shown.any(axis=0)) >= GLYPH_COLUMNS)


def _paint(now: Pixels, window: Window, patch: Patch) -> bool:
    """Put the patch's part inside the window onto `now`, a picture of the window; whether there was any."""
    height, width = patch.pixels.shape
    left, top = max(patch.x, window.x), max(patch.y, window.y)
    right = min(patch.x + width, window.x + window.width)
    bottom = min(patch.y + height, window.y + window.height)
    if left >= right or top >= bottom:
        return False
    part = patch.pixels[top - patch.y : bottom - patch.y, left - patch.x : right - patch.x]
    now[top - window.y : bottom - window.y, left - window.x : right - window.x] = part
    return True


def _by_tile(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    height, width = changed.shape
    padded = np.pad(changed, ((0, -height % TILE_PX), (0, -width % TILE_PX)))
    tiles = padded.reshape(padded.shape[0] // TILE_PX, TILE_PX, padded.shape[1] // TILE_PX, TILE_PX)
    return np.asarray(tiles.any(axis=(1, 3)))


def _largest_part(tiles: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The largest set of tiles that touch by an edge."""
    left = {(int(row), int(column)) for row, column in np.argwhere(tiles)}
    best: list[tuple[int, int]] = []
    while left:
        part = [left.pop()]
        for row, column in part:  # grows while it is walked
            for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if near in left:
                    left.remove(near)
                    part.append(near)
        best = max(best, part, key=len)
    if not best:
        return None
    mask = np.zeros_like(tiles)
    mask[tuple(np.array(best).T)] = True
    return mask

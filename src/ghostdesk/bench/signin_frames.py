"""What a browser's page showed, frame by frame: when was the desktop painted, and when did it answer a key? Pure.

A frame is the desktop's canvas sampled on a grid, one integer a cell; times are milliseconds of the page's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAINTED_SHARE = 0.98
MENU_SHARE = 0.9
MENU_CELLS = 12
"""A menu covers at least this many cells of the grid; a clock or a caret fewer."""

Cells = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Frame:
    """The canvas as it was in one frame; `time_ms` is just after the frame had been made."""

    time_ms: float
    cells: Cells


def is_menu(menu: Cells, settled: Cells) -> bool:
    """Whether the picture taken after a key differs from the settled one by enough to be the menu."""
    return int(np.count_nonzero(menu != settled)) >= MENU_CELLS


def painted_ms(frames: Sequence[Frame], pressed_ms: float, menu: Cells, settled: Cells) -> float | None:
    """When the desktop was painted: 98 % of its cells as in the settled picture, the cells that the menu covers aside.

    Args:
        frames: in order; the desktop's layer was in front in all of them.
        pressed_ms: when the person pressed "Open desktop".
        menu, settled: the quiet desktop with and without the menu that the first key opened.
    """
    outside = menu == settled
    wanted = PAINTED_SHARE * np.count_nonzero(outside)
    for frame in frames:
        if frame.time_ms >= pressed_ms and np.count_nonzero((frame.cells == settled) & outside) >= wanted:
            return frame.time_ms
    return None


def answered_ms(frames: Sequence[Frame], first_key_ms: float, menu: Cells, settled: Cells) -> float | None:
    """When the menu that a key opens was in a frame: 90 % of the cells that it covers; None when it never was."""
    covered = menu != settled
    wanted = MENU_SHARE * np.count_nonzero(covered)
    if not is_menu(menu, settled):
        return None
    for frame in frames:
        if frame.time_ms >= first_key_ms and np.count_nonzero((frame.cells == menu) & covered) >= wanted:
            return frame.time_ms
    return None

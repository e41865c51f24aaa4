"""Synthetic frames of a page: made here, so that the right answer is known."""

import numpy as np

from ghostdesk.bench.signin_frames import Cells, Frame, answered_ms, is_menu, painted_ms


def picture(*colours: tuple[slice, int]) -> Cells:
    cells = np.zeros(400, np.uint32)
    for where, colour in colours:
        cells[where] = colour
    return cells


BLACK = picture()
SETTLED = picture((slice(0, 400), 5), (slice(380, 400), 9))
NO_PANEL = picture((slice(0, 400), 5))
MENU = picture((slice(0, 400), 5), (slice(380, 400), 9), (slice(100, 140), 7))


def frames(*pictures: tuple[float, Cells]) -> list[Frame]:
    return [Frame(time_ms, cells) for time_ms, cells in pictures]


def test_synthetic_desktop_is_painted_with_its_panel_and_answers_with_its_menu() -> None:
    seen = frames((5, SETTLED), (20, BLACK), (30, NO_PANEL), (50, SETTLED), (90, MENU), (400, SETTLED))
    assert painted_ms(seen, 10, MENU, SETTLED) == 50
    assert answered_ms(seen, 60, MENU, SETTLED) == 90


def test_synthetic_panel_that_comes_while_the_menu_is_open_still_counts() -> None:
    menu_no_panel = picture((slice(0, 400), 5), (slice(100, 140), 7))
    seen = frames((30, NO_PANEL), (60, menu_no_panel), (80, MENU), (400, SETTLED))
    assert painted_ms(seen, 10, MENU, SETTLED) == 80
    assert answered_ms(seen, 40, MENU, SETTLED) == 60


def test_synthetic_clock_is_no_menu() -> None:
    clock = SETTLED.copy()
    clock[390:393] = 1
    assert not is_menu(clock, SETTLED)
    assert answered_ms(frames((50, clock)), 0, clock, SETTLED) is None


def test_synthetic_desktop_that_never_comes_has_no_time() -> None:
    assert painted_ms(frames((30, BLACK)), 10, MENU, SETTLED) is None

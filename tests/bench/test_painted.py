"""Synthetic update streams: made here, so that the right answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.bench.painted import Window, answered_at, equal_share, painted_at, window_of
from ghostdesk.bench.rfb_screen import Patch, Pixels, Update

DESKTOP, PAPER, INK = 0x223344, 0xFFFFFF, 0x000000
WINDOW = Window(40, 20, 80, 60)


def desktop() -> Pixels:
    return np.full((120, 200), DESKTOP, np.uint32)


def patch(window: Window, colour: int) -> Patch:
    return Patch(window.x, window.y, np.full((window.height, window.width), colour, np.uint32))


def after(before: Pixels, *patches: Patch) -> Pixels:
    picture = before.copy()
    for each in patches:
        height, width = each.pixels.shape
        picture[each.y : each.y + height, each.x : each.x + width] = each.pixels
    return picture


def synthetic_stream(*steps: tuple[float, Patch]) -> list[Update]:
    return [Update(time_s, (step,)) for time_s, step in steps]


def test_synthetic_window_is_painted_with_its_last_large_part() -> None:
    top, bottom = Window(40, 20, 80, 40), Window(40, 60, 80, 20)
    settled = after(desktop(), patch(WINDOW, PAPER))
    stream = synthetic_stream((1.0, patch(top, PAPER)), (1.4, patch(bottom, PAPER)))
    assert painted_at(desktop(), stream, settled, WINDOW) == 1.4


def test_synthetic_background_first_and_content_later_counts_the_content() -> None:
    content = Window(45, 30, 70, 40)
    settled = after(desktop(), patch(WINDOW, PAPER), patch(content, INK))
    stream = synthetic_stream((1.0, patch(WINDOW, PAPER)), (2.0, patch(content, INK)))
    assert painted_at(desktop(), stream, settled, WINDOW) == 2.0


def test_synthetic_caret_blinking_later_does_not_delay_it() -> None:
    caret = Window(50, 30, 1, 12)
    settled = after(desktop(), patch(WINDOW, PAPER), patch(caret, INK))
    stream = synthetic_stream((1.0, patch(WINDOW, PAPER)), (1.5, patch(caret, INK)))
    assert painted_at(desktop(), stream, settled, WINDOW) == 1.0


def test_synthetic_window_that_never_comes_has_no_time() -> None:
    settled = after(desktop(), patch(WINDOW, PAPER))
    assert painted_at(desktop(), synthetic_stream((1.0, patch(Window(0, 0, 50, 30), PAPER))), settled, WINDOW) is None


def test_window_that_was_there_before_is_no_measurement() -> None:
    picture = after(desktop(), patch(WINDOW, PAPER))
    with pytest.raises(ValueError, match="before the recording"):
        painted_at(picture, [], picture, WINDOW)


def test_window_is_the_largest_connected_change() -> None:
    clock = Window(160, 100, 20, 10)
    settled = after(desktop(), patch(WINDOW, PAPER), patch(clock, INK))
    assert window_of(desktop(), settled) == WINDOW
    assert window_of(desktop(), desktop()) is None


def test_pictures_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="compared"):
        window_of(desktop(), desktop()[:50])
    assert equal_share(desktop()[:50], desktop(), WINDOW) == 0.0


def test_synthetic_key_is_answered_by_its_letter_not_by_the_caret() -> None:
    without = after(desktop(), patch(WINDOW, PAPER))
    caret, letter = Window(50, 30, 2, 12), Window(52, 30, 8, 12)
    settled = after(without, patch(letter, INK))
    stream = synthetic_stream(
        (0.9, patch(letter, INK)), (1.1, patch(caret, INK)), (1.2, patch(caret, PAPER)), (1.3, patch(letter, INK))
    )
    assert answered_at(without, stream, settled, without, WINDOW, pressed_s=1.0) == 1.3


def test_synthetic_repaint_of_the_same_picture_is_no_answer() -> None:
    without = after(desktop(), patch(WINDOW, PAPER))
    letter = Window(52, 30, 8, 12)
    settled = after(without, patch(letter, INK))
    stream = synthetic_stream((1.1, patch(WINDOW, PAPER)), (1.2, patch(WINDOW, DESKTOP)), (1.3, patch(WINDOW, PAPER)))
    assert answered_at(without, stream, settled, without, WINDOW, pressed_s=1.0) is None


def test_synthetic_late_paint_of_the_window_itself_is_no_answer() -> None:
    without = after(desktop(), patch(WINDOW, PAPER))
    letter, toolbar = Window(52, 40, 8, 12), Window(42, 22, 60, 8)
    undone = after(without, patch(toolbar, INK))
    settled = after(undone, patch(letter, INK))
    stream = synthetic_stream((1.1, patch(toolbar, INK)), (1.3, patch(letter, INK)))
    assert answered_at(without, stream, settled, undone, WINDOW, pressed_s=1.0) == 1.3


@given(
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 90), st.integers(1, 50), st.integers(1, 30)), max_size=12),
    st.integers(0, 12),
)
def test_synthetic_any_stream_is_painted_when_its_share_is_reached_first(
    rects: list[tuple[int, int, int, int]], place: int
) -> None:
    steps = [patch(Window(*rect), INK) for rect in rects]
    steps.insert(place, patch(WINDOW, PAPER))
    settled = after(desktop(), patch(WINDOW, PAPER))
    stream = synthetic_stream(*((float(time_s), step) for time_s, step in enumerate(steps)))
    picture, expected = desktop(), None
    for update in stream:
        picture = after(picture, *update.patches)
        if expected is None and equal_share(picture, settled, WINDOW) >= 0.98:
            expected = update.time_s
    assert painted_at(desktop(), stream, settled, WINDOW) == expected

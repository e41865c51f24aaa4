"""A key's echo is told from a caret's blink, and phases are compared with the desktop alone."""

import numpy as np
import pytest

from ghostdesk.bench.contention import ContentionReport, Phase, Typed
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.rfb_screen import Patch, Update
from ghostdesk.bench.typist import echo_at

BEFORE = np.zeros((40, 60), np.uint32)


def drawn(time_s: float, width: int, height: int) -> Update:
    return Update(time_s, (Patch(10, 10, np.full((height, width), 7, np.uint32)),))


def test_the_echo_is_the_first_update_as_wide_as_a_letter() -> None:
    caret, letter, later = drawn(1.1, 2, 16), drawn(1.2, 8, 10), drawn(1.3, 8, 10)
    assert echo_at(BEFORE, [caret, letter, later], 1.0) == 1.2
    assert echo_at(BEFORE, [letter], 1.25) is None  # from before the key
    assert echo_at(BEFORE, [caret], 1.0) is None
    same = Update(1.1, (Patch(0, 0, BEFORE[:20, :20]),))
    assert echo_at(BEFORE, [same], 1.0) is None  # sent again, unchanged


def test_phases_are_compared_with_the_desktop_alone() -> None:
    here = Provenance("cpu", 2, 1, "Linux", "2026-01-01", "bench")
    alone = Typed(Phase.ALONE, (0.010, 0.010, 0.020), 0, (0, 0))
    during = Typed(Phase.WARMING, (0.015, 0.015, 10.0), 1, (0, 2))
    report = ContentionReport(here, 20, "editor", (alone, during), (), 9.0)
    assert report.ratio(Phase.WARMING, lambda s: s.median) == pytest.approx(1.5)
    assert report.ratio(Phase.WARMING, lambda s: s.maximum) == pytest.approx(500)  # a lost key is not left out
    assert report.ratio(Phase.BESIDE, lambda s: s.median) is None

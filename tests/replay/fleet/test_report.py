"""The picture of a run: whole, escaped, and it says that it is simulated."""

import re
from dataclasses import replace

import pytest

from ghostdesk.replay.fleet.invariants import Violation
from ghostdesk.replay.fleet.report import render_fleet
from ghostdesk.replay.fleet.run import FleetRun, FleetSetup, TickRecord


def _tick(time_s: float, waiting: int = 0, *, failed: bool = False) -> TickRecord:
    return TickRecord(time_s, 0.01 * time_s, 0.001, 0.02, 5, 1, 2, 1, 0, waiting, 1, 3, 0, failed)


RUN = FleetRun(
    FleetSetup(3, 12, minutes=1.0), (_tick(5.0), _tick(10.0, 4), _tick(15.0, failed=True), _tick(20.0)), {"lost": 2},
    (), {}, 12.0, "", {"served": 7}, 0.1, 50_000_000, 1.0, 0.1,
)  # fmt: skip


def test_it_says_simulated_and_fetches_nothing() -> None:
    page = render_fleet(RUN)
    assert "<strong>Simulated:</strong>" in page and "12 virtual seconds" in page
    assert page.count("<svg") == 4 == page.count("</svg>") and page.rstrip().endswith("</html>")
    assert not re.search(r"(src|href)=|<script|url\(|nan", page)


def test_what_is_violated_is_said_and_escaped() -> None:
    bad = replace(RUN, violations=(Violation("leaked", "g1", "<b>g1</b>"),), violated={"leaked": 3}, converged_s=None,
                  odd="<i>")  # fmt: skip
    page = render_fleet(bad)
    assert "leaked 3 times" in page and "&lt;b&gt;g1" in page and "<b>g1" not in page and "did not come to rest" in page


def test_the_summary_counts_ticks_that_succeeded() -> None:
    found = RUN.summary()
    assert found["simulated"] is True and found["ticks_failed"] == 1 and found["tick_median_s"] == pytest.approx(0.1)
    assert found["leaks"] == found["double_owners"] == 0 and found["people_waiting_most"] == 4
    assert found["converged_after_virtual_s"] == 12.0

"""What the page does with the host's condition and with its own line, in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from xvnc_desktops import wait_for

from ghostdesk.kernel.ids import UserId

pytestmark = [pytest.mark.browser, pytest.mark.desktop]
ADA, OLA = UserId("ada"), UserId("ola")
SCREENSHOTS = Path(__file__).parent / "screenshots"


def sign_in(page: Any, site: Any, user: UserId) -> None:
    page.goto(site.link(user))
    page.wait_for_selector("body[data-view=home]")


def test_the_operator_sees_pressure_trends_the_gate_and_lines(page: Any, site: Any) -> None:
    sign_in(page, site, OLA)
    page.set_viewport_size({"width": 1280, "height": 1100})
    page.click("#status-link")
    page.wait_for_selector("#gauges-table meter")
    assert page.inner_text("#gate") == "paused"
    assert "memory pressure is 23 %; this begins at 20 % and ends below 10 %" in page.inner_text("#gate-text")
    assert "Waiting: 2 steps" in page.inner_text("#gate-text")
    assert page.inner_text("#context-notes") == "", "nothing is said twice"
    assert "killed a process" in page.inner_text("#context-faults")
    rows = [row.inner_text().split("\t") for row in page.query_selector_all("#gauges-table tbody tr")]
    assert [row[0] for row in rows] == ["CPU pressure", "memory pressure", "disk in use"]
    assert rows[1][2:4] == ["23 %", "↗ +4.0 % a minute"]
    assert rows[2][3] == "↗ +1.0 % a minute, short in 6 min"
    assert page.eval_on_selector("#gauges-table tr:nth-child(2) meter", "meter => [meter.value, meter.high]") == [
        0.23,
        0.2,
    ]
    lines = [row.inner_text().split("\t") for row in page.query_selector_all("#links-table tbody tr")]
    assert lines == [
        ["ada", "good", "18 ms (now 20)", "not tried", "0 %"],
        ["ben", "slow", "300 ms (now 400)", "90 kB/s", "40 %"],
    ]
    SCREENSHOTS.mkdir(exist_ok=True)
    page.locator("#context").screenshot(path=SCREENSHOTS / "status-context.png")


def test_over_a_slow_line_the_page_connects_when_the_desktop_is_opened(page: Any, site: Any) -> None:
    own = site.service._own

    def on_a_slow_line(user: UserId, *, active: bool) -> Any:
        held = own(user, active=active)
        return held if held.active else replace(held, preconnect=False)

    site.service._own = on_a_slow_line
    sign_in(page, site, ADA)
    page.wait_for_selector("#ready-text:has-text('Your line is slow')")
    assert "Your desktop is ready." in page.inner_text("#ready-text")
    page.wait_for_timeout(300)
    assert page.query_selector(".layer canvas") is None and site.service.viewers == []
    page.click("#open")
    page.wait_for_function("() => window.ghostdeskMarks.firstFrame !== null")
    assert page.evaluate("() => window.ghostdeskMarks.prepainted") is None


def test_a_real_browser_answers_pings_and_its_line_is_measured(page: Any, site: Any) -> None:
    sign_in(page, site, ADA)
    page.wait_for_function("() => window.ghostdeskMarks.prepainted !== null")
    wait_for(lambda: [link for _, _, link in site.service.links if link.relayed_bytes > 0], "a measurement")
    user, ghost, link = site.service.links[-1]
    assert (user, ghost) == (ADA, site.service.owned[ADA].ghost)
    assert 0.0 < link.rtt_best_s < 5.0

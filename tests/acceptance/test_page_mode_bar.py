"""The chosen mode and the way to one's own data on the bar of an open desktop (a real one)."""

from __future__ import annotations

from typing import Any

import pytest
from personal_fakes import FakePersonal, sample_data
from xvnc_desktops import wait_for

from ghostdesk.kernel.ids import UserId

pytestmark = [pytest.mark.browser, pytest.mark.desktop]
ADA = UserId("ada")


def test_the_bar_shows_and_changes_the_mode_and_leads_to_my_data_and_back(page: Any, site: Any) -> None:
    personal = site.service.personal = FakePersonal()
    personal.people[ADA] = sample_data()
    page.goto(site.link())
    page.wait_for_selector("#home-mode:has-text('Mode: Light browsing')")
    page.wait_for_function("() => window.ghostdeskMarks.prepainted !== null")
    page.click("#open")
    page.wait_for_selector("body[data-view=desktop]")
    page.mouse.move(550, 1)
    page.click("#mode-button:has-text('Mode: Light browsing')")
    page.click("#mode-list button:has-text('Video editing')")
    page.wait_for_selector("#mode-button:has-text('Mode: Video editing')")
    assert [mode.name for mode in personal.of(ADA).modes if mode.chosen] == ["Video editing"]
    page.click("#mode-list button:has-text('No mode')")
    wait_for(lambda: not any(mode.chosen for mode in personal.of(ADA).modes), "the mode to be left")
    page.keyboard.press("Escape")
    page.mouse.move(550, 1)
    page.click("#bar-my-data")
    page.wait_for_selector("#my-panels:not([hidden])")
    page.click("#my-data-view .title-row a")
    page.wait_for_selector("#open:has-text('Return to your desktop')")
    page.click("#open")
    page.wait_for_selector("body[data-view=desktop]")
    page.mouse.move(550, 1)
    page.click("#bar-my-data")
    page.wait_for_selector("#my-panels:not([hidden])")
    page.go_back()
    page.wait_for_selector("body[data-view=home]")
    assert [what for what, _ in site.service.viewers] == ["connecting"]  # the stream was kept all the while

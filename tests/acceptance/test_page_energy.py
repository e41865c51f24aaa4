"""What the page shows of energy, in a real browser: watts, and that they are modelled where they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ghostdesk.control.energy_view import EnergyView
from ghostdesk.kernel.ids import UserId

pytestmark = [pytest.mark.browser, pytest.mark.desktop]
OLA = UserId("ola")
ENERGY = EnergyView(
    power_w=41.6, source="model of a server, assumed", problem="RAPL: stuck", since_s=1_760_000_000.0,
    modelled_kwh=1.25, worth=3.0, worth_reason="the energy signal says 300",
)  # fmt: skip


def test_the_operator_sees_what_is_drawn_and_what_is_modelled(page: Any, site: Any) -> None:
    status = site.service.status
    site.service.status = lambda: replace(status(), energy=ENERGY)
    page.goto(site.link(OLA))
    page.wait_for_selector("body[data-view=home]")
    page.click("#status-link")
    page.wait_for_selector("#energy-now:has-text('42 W, modelled: model of a server, assumed.')")
    since = page.inner_text("#energy-since")
    assert "1.25 kWh modelled; 0.00 kWh saved by hosts that slept (one host" in since
    assert "A watt is worth 3.00 times the usual." in since
    assert page.inner_text("#energy-problem") == "RAPL: stuck"
    measured = replace(ENERGY, modelled=False, source="RAPL platform", measured_kwh=0.5, modelled_kwh=0.0, problem="")
    site.service.status = lambda: replace(status(), energy=measured)
    page.wait_for_selector("#energy-now:has-text('42 W, measured: RAPL platform.')")
    assert "0.50 kWh measured" in page.inner_text("#energy-since")
    assert page.is_hidden("#energy-problem")

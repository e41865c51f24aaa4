"""One's own data in the page: the usage curve, consents, what is stored, modes, places and calendars.

The server and the page are real, and no desktop runs. What lies stored is a fake's (`personal_fakes`), but for one test
over the real personal part with a database.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from control_world import World
from personal_fakes import HOSTILE, NOW_S, FakePersonal, sample_curve, sample_data
from server_fakes import FakeDesktops, MemoryAccounts
from xvnc_desktops import wait_for

from ghostdesk.control.personal_views import CalendarView, PreparationView, ResourceBands
from ghostdesk.control.service import AppView
from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.store.protocol import StoredUser
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

pytestmark = pytest.mark.browser
ADA, OLA = UserId("ada"), UserId("ola")
SCREENSHOTS = Path(__file__).parent / "screenshots"
CALENDAR = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:Secret\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
STOCKHOLM = {"latitude": 59.329323, "longitude": 18.068581}


@pytest.fixture
def service() -> SimpleNamespace:
    """A control plane without desktops."""

    def make(ghost: GhostId) -> str:
        raise AssertionError("no test here opens a desktop")

    fake: Any = FakeDesktops(make)
    fake.prepares = False
    fake.personal = FakePersonal()
    fake.personal.people[ADA] = sample_data()
    fake.apps = [
        AppView(AppId("org.kde.kdenlive"), "Kdenlive", (), "", "", 0.7),
        AppView(AppId("firefox"), "Firefox", (), "", "", 0.6),
        AppView(AppId("thunderbird"), "Thunderbird", (), "", "", 0.3),
        AppView(AppId("evil"), HOSTILE, (), "", "", 0.01),
    ]
    accounts = MemoryAccounts()
    accounts.put_user(StoredUser(ADA, "Ada Lovelace"))
    accounts.put_user(StoredUser(OLA, "Ola Operator", "operator"))
    return SimpleNamespace(service=fake, store=accounts, desktops=None)


def personal(site: Any) -> FakePersonal:
    fake: FakePersonal = site.service.personal
    return fake


def my_data(page: Any, site: Any) -> None:
    page.goto(site.link())
    page.wait_for_selector("body[data-view=home]")
    page.click("#my-data-link")
    page.wait_for_selector("#my-panels:not([hidden])")
    page.wait_for_selector("#curve-frame:not([hidden]) .presence")


def shot(page: Any, name: str) -> None:
    """A picture of the whole view, not of the window alone."""
    SCREENSHOTS.mkdir(exist_ok=True)
    size = page.viewport_size
    page.set_viewport_size({**size, "height": page.evaluate("() => document.querySelector('#door').scrollHeight")})
    page.wait_for_timeout(100)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
    page.set_viewport_size(size)


def test_the_curve_has_every_slot_that_was_sent_and_no_other(page: Any, site: Any) -> None:
    my_data(page, site)
    assert page.locator("#curve-picture .presence").count() == 24
    assert page.locator("#curve-picture .arrival").count() == 24
    assert page.locator("#curve-picture .lane").count() == 3 * 24
    assert page.locator("#curve-picture .band-80").count() == 3 * 24
    page.hover("#curve-picture", position={"x": 460, "y": 40})
    shot(page, "my-data")
    page.get_by_text("48 hours").click()
    page.wait_for_function("() => document.querySelectorAll('#curve-picture .presence').length === 192")
    shot(page, "my-data-48-hours")
    page.emulate_media(color_scheme="dark")
    shot(page, "my-data-dark")


def test_what_was_not_sent_is_not_drawn(page: Any, site: Any) -> None:
    full = sample_curve(7200)
    ends = ResourceBands((0.1, 0.9), ((1.0, 2.0), (1.0, 3.0)))
    personal(site).curves[7200] = replace(
        full, arrival=(), presence=full.presence[:2], apps=(replace(full.apps[0], in_use=()),), resources={"odd": ends}
    )
    my_data(page, site)
    assert page.locator("#curve-picture .presence").count() == 2
    assert page.locator("#curve-picture .arrival, #curve-picture .lane, #curve-picture .median").count() == 0
    assert page.locator("#curve-picture .band-80").count() == 2
    assert page.locator("#curve-picture .band-95, #curve-picture .band-50").count() == 0
    assert "Thunderbird: 50 %" in page.inner_text("#curve-next")


def test_without_a_forecast_the_page_says_so(page: Any, site: Any) -> None:
    empty = replace(sample_curve(7200), arrival=(), presence=(), apps=(), resources={}, reasons=())
    personal(site).curves[7200] = empty
    page.goto(site.link())
    page.wait_for_selector("body[data-view=home]")
    page.click("#my-data-link")
    page.wait_for_selector("#curve-none:has-text('no forecast yet')")
    assert page.is_hidden("#curve-frame")


def test_the_curve_is_read_with_keys_and_as_a_table(page: Any, site: Any) -> None:
    my_data(page, site)
    page.focus("#curve-picture")
    first = page.get_attribute("#curve-picture", "aria-valuetext")
    page.keyboard.press("ArrowRight")
    second = page.get_attribute("#curve-picture", "aria-valuetext")
    assert first != second and "there " in second and "MiB" in second and "cores" in second
    page.keyboard.press("End")
    assert page.get_attribute("#curve-picture", "aria-valuenow") == "23"
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#curve-picture", "aria-valuenow") == "23"
    reading = page.inner_text("#curve-reading")
    page.click("#curve-details summary")
    page.wait_for_selector("#curve-table tbody tr")
    rows = page.locator("#curve-table tbody tr")
    assert rows.count() == 24
    assert reading.split("\n")[0].startswith(rows.nth(23).locator("th").inner_text())
    page.hover("#curve-picture", position={"x": 12, "y": 40})
    assert page.get_attribute("#curve-picture", "aria-valuenow") == "0"


def test_a_switch_is_kept_and_keeps_the_focus(page: Any, site: Any) -> None:
    my_data(page, site)
    assert page.is_checked("#consent-applications")
    assert not page.is_checked("#consent-place") and not page.is_checked("#consent-calendar")
    assert page.is_disabled("#consent-camera")
    assert "operator does not record" in page.inner_text(".consent:has(#consent-camera)")
    page.focus("#consent-applications")
    page.keyboard.press("Space")
    page.wait_for_selector("#consents-done:has-text('Applications: off')")
    consents = {c.source: c.allowed for c in personal(site).of(ADA).consents}
    assert not consents["applications"] and consents["focus"]
    assert page.evaluate("() => document.activeElement.id") == "consent-applications"
    assert {user for _, user in personal(site).calls} == {ADA}


def test_a_switch_that_the_server_did_not_take_goes_back(page: Any, site: Any) -> None:
    my_data(page, site)
    personal(site).fail = StoreError("The database cannot be written.", "Tell your operator.")
    page.click("#consent-focus")
    page.wait_for_selector(
        "#consents-error:has-text('records cannot be reached at present. Try again'):has-text('(request ')"
    )
    assert page.is_checked("#consent-focus")
    personal(site).fail = None
    site.stop()
    page.click("#consent-focus")
    page.wait_for_selector("#consents-error:has-text('cannot be reached. Check your connection.')")
    assert page.is_checked("#consent-focus")
    site.start()


def test_deleting_asks_and_says_exactly_what_goes(page: Any, site: Any) -> None:
    my_data(page, site)
    events = {c.source: c.events for c in personal(site).of(ADA).consents}
    page.click("#delete-all")
    text = page.inner_text("#confirm-dialog")
    assert f"{sum(events.values()):,} events" in text and "Video editing" in text and "log of sign-ins" in text
    shot(page, "my-data-delete")
    page.keyboard.press("Enter")  # the focus is on keeping it
    assert page.is_hidden("#confirm-dialog") and ("delete", ADA) not in personal(site).calls
    page.click("[data-key=consent-focus-delete]")
    page.keyboard.press("Escape")
    assert ("delete", ADA) not in personal(site).calls
    page.click("[data-key=consent-focus-delete]")
    page.click("#confirm-yes")
    page.wait_for_selector(f"#consents-done:has-text('{events['focus']:,} events were deleted')")
    left = {c.source: c.events for c in personal(site).of(ADA).consents}
    assert left == {**events, "focus": 0}
    page.click("#delete-all")
    page.click("#confirm-yes")
    page.wait_for_selector("#stored-done:has-text('Deleted')")
    assert "No events are stored" in page.inner_text("#stored-summary")
    assert personal(site).of(ADA).modes == () and page.query_selector("#modes-list .item") is None


def test_the_export_is_saved_as_a_file(page: Any, site: Any) -> None:
    my_data(page, site)
    with page.expect_download() as download:
        page.click("#export")
    assert download.value.suggested_filename == "ghostdesk-my-data.json"
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved["user"] == ADA and len(saved["modes"]) == 2
    personal(site).fail = StoreError("The database cannot be read.", "Tell your operator.")
    page.click("#export")
    page.wait_for_selector("#stored-error:has-text('cannot be reached at present')")


def test_hostile_texts_stay_text(page: Any, site: Any) -> None:
    data = sample_data()
    fake = personal(site)
    fake.people[ADA] = replace(
        data,
        consents=tuple(replace(c, label=HOSTILE, what=HOSTILE, allowed=True) for c in data.consents),
        modes=(replace(data.modes[0], name=HOSTILE, apps=(AppId("evil"),), file_types=(HOSTILE,)),),
        calendars=(CalendarView(HOSTILE, HOSTILE, NOW_S, HOSTILE, 2),),
        prepared=(PreparationView(NOW_S, HOSTILE, "<b>it</b> was likely"),),
        habits=(HOSTILE,),
    )
    fake.curves[7200] = replace(sample_curve(7200, {"evil": HOSTILE}), reasons=(HOSTILE,))
    dialogs: list[str] = []

    def dismiss(dialog: Any) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    my_data(page, site)
    page.click(f'[data-key="mode-edit-{HOSTILE}"]')
    page.wait_for_selector("#mode-form:not([hidden])")
    page.click(f'[data-key="mode-delete-{HOSTILE}"]')
    for part in ("#curve-next", "#curve-reasons", "#habits", "#modes-list", "#calendars-list", "#confirm-title"):
        assert HOSTILE in page.inner_text(part), part
    assert "<b>it</b>" in page.inner_text("#prepared").lower()
    assert page.locator("#my-data-view img, #confirm-dialog img, #my-data-view b").count() == 0
    assert dialogs == []


def test_a_place_is_rounded_before_it_leaves_the_page(page: Any, site: Any) -> None:
    context = page.context
    context.grant_permissions(["geolocation"], origin=site.url)
    context.set_geolocation(STOCKHOLM)
    bodies: list[str] = []
    page.on("request", lambda request: bodies.append(request.post_data or ""))
    my_data(page, site)
    assert page.is_hidden("#places-use") and "until you switch it on" in page.inner_text("#places-off")
    page.click("#places-on")
    page.wait_for_selector("#places-use:not([hidden])")
    page.fill("#place-name", "The library")
    page.select_option("#place-kind", "office")
    page.check("#place-locate")
    page.keyboard.press("Enter")
    page.wait_for_selector("#places-done:has-text('59.32, 18.06')")
    assert personal(site).positions == {"The library": (59.32, 18.06)}
    page.click("#place-find")
    page.wait_for_selector("#places-done:has-text('You are at The library')")
    context.set_geolocation({"latitude": 48.85837, "longitude": 2.294481})
    page.click("#place-find")
    page.wait_for_selector("#places-done:has-text('None of your places is near')")
    sent = [float(n) for body in bodies for n in re.findall(r'"(?:lat|long)itude":(-?[\d.]+)', body)]
    assert sent == [59.32, 18.06, 59.32, 18.06, 48.86, 2.3]
    page.click("[data-key='here-The library']")
    page.wait_for_selector("#places-list:has-text('You are here')")
    page.click("[data-key='place-delete-The library']")
    page.click("#confirm-yes")
    page.wait_for_selector("#places-list:has-text('You have named no place')")


def test_without_leave_to_locate_places_are_chosen_by_hand(page: Any, site: Any) -> None:
    my_data(page, site)
    page.click("#places-on")
    page.fill("#place-name", "Home")
    page.check("#place-locate")
    page.click("#place-form button")
    page.wait_for_selector("#places-error:has-text('not allowed to tell where you are')")
    assert "by hand" in page.inner_text("#places-error")
    assert personal(site).of(ADA).places == () and page.input_value("#place-name") == "Home"
    page.uncheck("#place-locate")
    page.click("#place-form button")
    page.wait_for_selector("#places-done:has-text('without a position')")
    assert personal(site).positions == {"Home": None}


def test_a_mode_is_defined_chosen_changed_left_and_deleted(page: Any, site: Any) -> None:
    my_data(page, site)
    expected = "Editing is likely at this hour (62%): its applications are prepared ahead."
    page.wait_for_selector(f"#modes-list:has-text('{expected}')")
    page.click("#mode-new")
    page.click("#mode-form [type=submit]")
    assert page.get_attribute("#mode-name", "aria-invalid") == "true"
    page.fill("#mode-name", "Writing")
    page.get_by_label("Thunderbird", exact=True).check()
    page.get_by_label("PDF", exact=True).check()
    page.fill("#mode-memory", "-1")
    page.click("#mode-form [type=submit]")
    page.wait_for_selector("#modes-error:has-text('Memory')")
    page.fill("#mode-memory", "1.5")
    page.click("#mode-form [type=submit]")
    page.wait_for_selector("#modes-done:has-text('Writing is kept')")
    made = next(m for m in personal(site).of(ADA).modes if m.name == "Writing")
    assert (made.apps, made.file_types) == (("thunderbird",), ("application/pdf",))
    assert made.resources["memory_bytes"] == 1.5 * 1024**3
    page.click("[data-key='mode-pick-Writing']")
    page.wait_for_selector("#modes-list .item:has-text('Writing'):has-text('Chosen')")
    assert page.text_content("#mode-button") == "Mode: Writing"
    page.click("[data-key='mode-edit-Video editing']")
    page.wait_for_selector("#mode-form:not([hidden])")
    assert page.input_value("#mode-cpu") == "4" and page.input_value("#mode-memory") == "6"
    page.fill("#mode-cpu", "8")
    page.click("#mode-form [type=submit]")
    page.wait_for_selector("#modes-done:has-text('Video editing is kept')")
    changed = next(m for m in personal(site).of(ADA).modes if m.name == "Video editing")
    assert changed.resources["cpu_cores"] == 8
    assert (changed.apps, changed.file_types) == (("org.kde.kdenlive",), ("video/mp4",))  # nothing was lost
    page.click("[data-key='mode-pick-Writing']")
    page.wait_for_selector("#modes-done:has-text('You left Writing')")
    page.click("[data-key='mode-delete-Writing']")
    page.click("#confirm-yes")
    page.wait_for_selector("#modes-done:has-text('Writing is deleted')")
    assert page.text_content("#mode-button") == "Mode"


def test_a_calendar_is_uploaded_and_removed(page: Any, site: Any, tmp_path: Path) -> None:
    file, wrong, big = tmp_path / "work.ics", tmp_path / "photo.ics", tmp_path / "big.ics"
    file.write_text(CALENDAR * 20_000, newline="")  # 1.4 MB: far more than other requests may have
    wrong.write_bytes(b"\x89PNG\r\n")
    big.write_bytes(b"x" * (5 * 1024 * 1024 + 1))
    my_data(page, site)
    page.click("#calendars-on")
    page.wait_for_selector("#calendar-form:not([hidden])")
    page.click("#calendar-form button")
    page.wait_for_selector("#calendars-error:has-text('No file is chosen')")
    page.set_input_files("#calendar-file", big)
    page.click("#calendar-form button")
    page.wait_for_selector("#calendars-error:has-text('5 MiB is the most')")
    page.fill("#calendar-name", "")
    page.set_input_files("#calendar-file", wrong)
    page.click("#calendar-form button")
    page.wait_for_selector("#calendars-error:has-text('no calendar')")
    page.fill("#calendar-name", "")
    page.set_input_files("#calendar-file", file)
    assert page.input_value("#calendar-name") == "work"
    page.click("#calendar-form button")
    page.wait_for_selector("#calendars-list:has-text('20,000 entries')")
    fake = personal(site)
    fake.people[ADA] = replace(fake.of(ADA), calendars=(replace(fake.of(ADA).calendars[0], problem="It is too old."),))
    page.reload()
    page.wait_for_selector("#calendars-list:has-text('It is too old.')")
    page.click("[data-key='calendar-delete-work']")
    page.click("#confirm-yes")
    page.wait_for_selector("#calendars-done:has-text('work is removed')")
    assert fake.of(ADA).calendars == ()


def test_an_unreachable_server_is_said_and_tried_again(page: Any, site: Any) -> None:
    page.goto(site.link())
    page.wait_for_selector("body[data-view=home]")
    wait_for(lambda: ("data", ADA) in personal(site).calls, "the bar's modes")
    personal(site).fail = StoreError("The database cannot be read.", "Tell your operator.")
    page.click("#my-data-link")
    page.wait_for_selector("#my-error:has-text('cannot be reached at present. Try again')")
    page.wait_for_selector("#curve-error:has-text('cannot be reached at present')")
    assert page.is_hidden("#my-panels")
    personal(site).fail = None
    page.click("#my-again")
    page.wait_for_selector("#my-panels:not([hidden])")
    assert page.is_hidden("#my-error") and page.is_hidden("#curve-error")


def test_the_next_person_sees_nothing_of_the_last(page: Any, site: Any) -> None:
    my_data(page, site)
    page.click("#sign-out")
    page.wait_for_selector("body[data-view=sign-in]")
    assert page.locator("#curve-picture > *").count() == 0 and page.is_hidden("#my-panels")
    page.goto("about:blank")
    page.goto(site.link(OLA))
    page.wait_for_selector("body[data-view=home]")
    page.click("#my-data-link")
    page.wait_for_selector("#my-panels:not([hidden])")
    assert "No events are stored" in page.inner_text("#stored-summary")
    assert page.is_hidden("#mode-button") and "Video" not in page.inner_text("#my-data-view")


def test_it_fits_a_telephone_and_every_control_has_a_name(page: Any, site: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    my_data(page, site)
    page.click("#mode-new")
    assert page.evaluate("() => document.querySelector('#door').scrollWidth") <= 360
    shot(page, "my-data-360")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("#my-data-view :is(button, input, select, svg[role], a)")]
          .filter((e) => e.checkVisibility())
          .filter((e) => ![e.ariaLabel, e.textContent, ...[...(e.labels ?? [])].map((l) => l.textContent)]
            .some((text) => text?.trim()))
          .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    repeated = page.evaluate(
        """() => { const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
          return ids.filter((id, at) => ids.indexOf(id) !== at); }"""
    )
    assert repeated == []


def test_the_page_and_the_real_personal_part_understand_each_other(page: Any, site: Any, tmp_path: Path) -> None:
    real = site.background.call(World, tmp_path)
    real.forecast.arrival[ADA] = 0.25
    real.forecast.apps[ADA] = ("firefox",)
    site.service.personal = real.plane.personal
    event = UsageEvent(real.clock.now_s(), EventKind.APP_FOCUS, ADA, AppId("firefox"))
    site.background.call(real.plane.on_user_event, event)
    page.goto(site.link())
    page.wait_for_selector("body[data-view=home]")
    page.click("#my-data-link")
    page.wait_for_selector(".consent:has(#consent-focus):has-text('1 event stored')")
    page.wait_for_selector("#curve-picture .arrival")
    assert not page.is_checked("#consent-place") and not page.is_checked("#consent-calendar")
    page.click("#places-on")
    page.fill("#place-name", "Büro 2")
    page.click("#place-form button")
    page.click("[data-key='here-Büro 2']")
    page.wait_for_selector("#places-list:has-text('You are here')")
    page.click("#mode-new")
    page.fill("#mode-name", "Writing")
    for words in ("Texts", "Tables", "Slides", "Pictures", "Video", "Sound", "Web pages"):
        page.get_by_label(words, exact=True).check()
    page.click("#mode-form [type=submit]")
    page.click("[data-key='mode-pick-Writing']")
    page.wait_for_selector("#modes-list:has-text('Chosen')")
    with page.expect_download() as download:
        page.click("#export")
    assert "Writing" in Path(download.value.path()).read_text()
    page.click("#consent-focus")
    page.wait_for_selector("#consents-done:has-text('Focus: off')")
    assert TelemetrySource.FOCUS not in real.plane.personal.sources_of(ADA)
    page.click("#delete-all")
    page.click("#confirm-yes")
    page.wait_for_selector("#stored-done:has-text('Deleted: 3 events')")
    assert real.store.modes(ADA) == [] and real.store.places(ADA) == [] and not list(real.store.events(user=ADA))
    assert ADA in real.forecast.forgotten
    site.background.call(real.close)

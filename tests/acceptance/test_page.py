"""The page in a real browser, against real desktops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from xvnc_desktops import wait_for

from ghostdesk.control.service import Notice
from ghostdesk.kernel.errors import InsufficientCapacity
from ghostdesk.kernel.ids import UserId

pytestmark = [pytest.mark.browser, pytest.mark.desktop]
ADA, OLA = UserId("ada"), UserId("ola")
SCREENSHOTS = Path(__file__).parent / "screenshots"
CANVAS = ".layer canvas:not(.still)"
PIXELS = """() => {
  const canvas = document.querySelector(".layer canvas:not(.still)");
  if (!canvas || !canvas.width) return "";
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0;
  for (let i = 0; i < data.length; i += 4) sum = (sum * 31 + data[i] * 7 + data[i + 1] * 3 + data[i + 2]) % 2147483647;
  return canvas.width + "x" + canvas.height + ":" + sum;
}"""


def shot(page: Any, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def sign_in(page: Any, site: Any, user: UserId = ADA, query: str = "") -> None:
    address = site.link(user)
    page.goto(address.replace("/#", f"/{query}#") if query else address)
    page.wait_for_selector("body[data-view=home]")


def preconnected(page: Any) -> None:
    page.wait_for_function("() => window.ghostdeskMarks.prepainted !== null")


def open_desktop(page: Any) -> None:
    page.click("#open")
    page.wait_for_function("() => window.ghostdeskMarks.firstFrame !== null && window.ghostdeskMarks.claimed !== null")


def desktop_of(site: Any, user: UserId = ADA) -> Any:
    return site.desktops.desktops[site.service.owned[user].ghost]


def focus_editor(page: Any, site: Any) -> Any:
    """Wait for the editor's window and click into it, as a person would."""
    desktop = desktop_of(site)
    wait_for(lambda: desktop.xdotool("search", "--onlyvisible", "--name", "Mousepad"), "the editor's window")
    window = desktop.xdotool("search", "--onlyvisible", "--name", "Mousepad").split()[0]
    place = desktop.xdotool("getwindowgeometry", "--shell", window)
    values = dict(line.split("=") for line in place.splitlines())
    page.mouse.click(int(values["X"]) + 200, int(values["Y"]) + 200)
    return desktop


def test_a_link_signs_in_once_and_leaves_the_address_bar(page: Any, site: Any) -> None:
    link = site.link()
    page.goto(link)
    page.wait_for_selector("body[data-view=home]")
    assert "sign-in" not in page.url
    assert "Ada Lovelace" in page.inner_text("#greeting")
    preconnected(page)
    shot(page, "home")
    page.emulate_media(color_scheme="dark")
    shot(page, "home-dark")
    page.click("#sign-out")
    page.wait_for_selector("body[data-view=sign-in]")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("#sign-in-error:not([hidden])")
    assert "used already" in page.inner_text("#sign-in-error")
    assert "ghostdesk sign-in-link" in page.inner_text("#sign-in-error")


def test_a_second_link_is_not_used_without_asking(page: Any, site: Any) -> None:
    sign_in(page, site)
    page.goto("about:blank")
    page.goto(site.link(OLA))
    page.wait_for_selector("body[data-view=switch]")
    page.click("#switch-yes")
    page.wait_for_selector("body[data-view=home]")
    assert "Ola" in page.inner_text("#greeting")


def test_the_desktop_is_painted_before_it_is_opened_and_takes_keys_at_once(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    assert not site.service.owned[ADA].active
    open_desktop(page)
    assert page.evaluate("() => document.activeElement.matches('#layers canvas')")
    marks = page.evaluate("() => window.ghostdeskMarks")
    assert marks["preconnected"] and marks["firstFrame"] == marks["swapped"] >= marks["press"]
    assert site.service.owned[ADA].active
    focus_editor(page, site)
    before = page.evaluate(PIXELS)
    page.keyboard.type("Hello from the browser, Ada!")
    page.wait_for_function(f"(before) => ({PIXELS})() !== before", arg=before)
    page.wait_for_timeout(400)
    shot(page, "desktop")
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+c")
    page.mouse.move(550, 1)
    page.click("#clipboard-button")
    page.wait_for_function("() => document.querySelector('#clipboard-text').value.includes('Hello from')")
    shot(page, "clipboard")


def test_without_preconnection_the_same_desktop_opens_too(page: Any, site: Any) -> None:
    sign_in(page, site, query="?preconnect=off")
    page.wait_for_selector("#tiles .tile")
    assert page.query_selector(".layer") is None
    open_desktop(page)
    assert not page.evaluate("() => window.ghostdeskMarks.preconnected")


def test_the_clipboard_goes_to_the_desktop(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    open_desktop(page)
    focus_editor(page, site)
    page.keyboard.type("typed, ")
    page.mouse.move(550, 1)
    page.click("#clipboard-button")
    page.fill("#clipboard-text", "pasted: äöü €")
    page.wait_for_selector("#clipboard-state:not([hidden])")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    before = page.evaluate(PIXELS)
    page.keyboard.press("Control+v")
    page.wait_for_function(f"(before) => ({PIXELS})() !== before", arg=before)
    page.wait_for_timeout(300)
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+x")
    page.wait_for_function("() => document.querySelector('#clipboard-text').value === 'typed, pasted: äöü €'")


def test_the_desktop_follows_the_size_of_the_window(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    assert desktop_of(site).xdotool("getdisplaygeometry") == "1100 700"
    page.set_viewport_size({"width": 900, "height": 620})
    wait_for(lambda: desktop_of(site).xdotool("getdisplaygeometry") == "900 620", "the hidden desktop's new size")
    open_desktop(page)
    page.set_viewport_size({"width": 1200, "height": 760})
    wait_for(lambda: desktop_of(site).xdotool("getdisplaygeometry") == "1200 760", "the open desktop's new size")


def test_a_dropped_line_comes_back_by_itself(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    open_desktop(page)
    focus_editor(page, site)
    site.stop()
    page.wait_for_selector("#bar.open #line-text:has-text('Connection lost')")
    page.wait_for_selector(".layer .still")
    shot(page, "connection-lost")
    site.start()
    page.wait_for_selector("#line-text:has-text('Connected')", state="attached", timeout=30_000)
    assert page.query_selector(".layer .still") is None
    focus_editor(page, site)
    before = page.evaluate(PIXELS)
    page.keyboard.type("still here")
    page.wait_for_function(f"(before) => ({PIXELS})() !== before", arg=before)


def test_a_desktop_that_ends_is_told_with_its_reason(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    open_desktop(page)
    site.background.call(site.service.end, ADA, "Its host ran out of memory.")
    page.wait_for_selector("body[data-view=ended]")
    assert "ran out of memory" in page.inner_text("#ended-why")
    shot(page, "ended")
    page.click("#open-new")
    page.wait_for_function("() => window.ghostdeskMarks.firstFrame !== null")
    assert page.get_attribute("body", "data-view") == "desktop"


def test_a_desktop_that_dies_without_a_word_is_told_too(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    open_desktop(page)
    ghost = site.service.owned[ADA].ghost
    site.desktops.desktops[ghost].stop()
    page.wait_for_selector("body[data-view=ended]")


def test_ending_the_session_asks_first(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    open_desktop(page)
    page.mouse.move(550, 1)
    page.click("#end")
    page.click("#end-no")
    page.mouse.move(550, 1)
    page.click("#end")
    shot(page, "end-dialog")
    page.click("#end-yes")
    page.wait_for_selector("body[data-view=ended]")
    assert ADA not in site.service.owned


def test_a_claim_that_fails_is_shown_honestly(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    site.service.fail_open = InsufficientCapacity("The host has no room for another desktop.", "Try again in a minute.")
    page.click("#open")
    page.wait_for_selector("#home-error:not([hidden])")
    assert "no room" in page.inner_text("#home-error")
    shot(page, "claim-failed")
    site.service.fail_open = None
    open_desktop(page)


def test_applications_start_from_the_door_and_from_the_bar(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    page.click(".tile[data-app='org.xfce.mousepad']")
    wait_for(lambda: site.service.launched, "the launch")
    assert page.get_attribute("body", "data-view") == "desktop"
    page.mouse.move(550, 1)
    page.click("#apps-button")
    page.keyboard.type("event")
    shot(page, "apps-menu")
    page.keyboard.press("Enter")
    wait_for(lambda: len(site.service.launched) == 2, "the second launch")
    assert site.service.launched[1] == (ADA, "xev")


def test_names_from_the_server_are_text_never_markup(page: Any, site: Any) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    sign_in(page, site)
    page.wait_for_selector("#tiles .tile")
    assert "<img src=x onerror=alert(1)>" in page.inner_text("#tiles")
    assert page.query_selector("#tiles img[src='x'], #tiles img[src^='javascript']") is None
    site.background.call(site.service.tell, ADA, Notice("message", "<b onclick=alert(2)>hi</b>"))
    page.wait_for_selector("#home-message:not([hidden])")
    assert page.inner_text("#home-message") == "<b onclick=alert(2)>hi</b>"
    assert dialogs == []


def test_a_desktop_prepared_later_is_preconnected_on_its_notice(page: Any, site: Any) -> None:
    site.service.prepares = False
    sign_in(page, site)
    page.wait_for_selector("#ready-text:has-text('made when you open')")
    site.service.prepares = True
    handle = site.background.run(site.service.prepare_desktop(ADA))
    wait_for(lambda: site.service.subscribers.get(ADA), "the page's event stream")
    site.background.call(site.service.tell, ADA, Notice("prepared", "", handle))
    preconnected(page)
    assert "ready" in page.inner_text("#ready-text")


def test_the_hidden_desktop_gets_no_keys_and_no_clipboard(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    desktop = desktop_of(site)
    wait_for(lambda: desktop.xdotool("search", "--onlyvisible", "--name", "Mousepad"), "the editor's window")
    page.keyboard.type("not for the desktop")
    desktop.xdotool("type", "secret")
    desktop.xdotool("key", "ctrl+a")
    desktop.xdotool("key", "ctrl+c")
    page.wait_for_timeout(500)
    assert page.evaluate("() => document.querySelector('#clipboard-text').value") == ""
    assert page.evaluate("() => document.activeElement.closest('#layers')") is None
    open_desktop(page)
    desktop.xdotool("key", "ctrl+x")  # now it is open, what it cuts is offered
    page.wait_for_function("() => document.querySelector('#clipboard-text').value === 'secret'")


def test_held_keys_are_released_when_the_focus_leaves(page: Any, site: Any) -> None:
    display_module = pytest.importorskip("Xlib.display")
    sign_in(page, site)
    preconnected(page)
    open_desktop(page)
    display = display_module.Display(desktop_of(site).display)
    try:
        page.keyboard.down("Shift")
        wait_for(lambda: any(display.query_keymap()), "the held key")
        page.mouse.move(550, 1)
        page.focus("#apps-button")
        wait_for(lambda: not any(display.query_keymap()), "its release")
        page.keyboard.up("Shift")
    finally:
        display.close()


def test_the_keyboard_finds_its_way_to_the_bar_and_back(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    open_desktop(page)
    for key in ("Control", "Alt", "Shift"):
        page.keyboard.down(key)
    for key in ("Control", "Alt", "Shift"):
        page.keyboard.up(key)
    assert page.evaluate("() => document.activeElement.id") == "apps-button"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "app-search"
    page.keyboard.press("Escape")
    assert page.evaluate("() => document.activeElement.matches('#layers canvas')")


def test_home_and_back_keeps_the_stream(page: Any, site: Any) -> None:
    sign_in(page, site)
    preconnected(page)
    open_desktop(page)
    page.mouse.move(550, 1)
    page.click("#leave")
    page.wait_for_selector("#open:has-text('Return to your desktop')")
    page.click("#open")
    page.wait_for_selector("body[data-view=desktop]")
    assert [what for what, _ in site.service.viewers] == ["connecting"]


def test_the_operator_sees_the_status(page: Any, site: Any) -> None:
    sign_in(page, site, OLA)
    preconnected(page)
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.click("#status-link")
    page.wait_for_selector("#ghosts-table td:has-text('spare0')")
    refused = page.inner_text("#infeasible-table")
    assert "No room" in refused and "Memory" in refused and "1.4 GiB asked" in refused
    capacity = page.inner_text("#capacity-table")
    assert "not counted" in capacity and "11.2 GiB" in capacity
    assert "5 of 40 desktops, 2 of them ghosts. 18 more are to be made" in page.inner_text("#capacity-words")
    bookings = page.inner_text("#bookings-table")
    assert "2 of 20 taken" in bookings and "<b>Chess</b>" in bookings
    page.evaluate("document.querySelector('#capacity-title').closest('section').scrollIntoView()")
    shot(page, "status-capacity")
    page.evaluate("window.scrollTo(0, 0)")
    assert "modprobe zram" in page.inner_text("#abilities-table")
    told = page.inner_text("#forecast-problem")
    assert "forecast worse than before" in told and "Train again" in told
    assert "Model 0003. First choice right 40 %, 1.90 nats a step." in page.inner_text("#forecast-model")
    shot(page, "status")
    page.emulate_media(color_scheme="dark")
    shot(page, "status-dark")


def test_others_do_not_see_the_status(page: Any, site: Any) -> None:
    sign_in(page, site)
    assert page.is_hidden("#status-link")
    assert page.evaluate("() => fetch('/api/status').then((r) => r.status)") == 403

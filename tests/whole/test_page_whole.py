"""The main job whole: a real ghostdesk, a real Chromium, real desktops and applications. Screenshots are kept."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Running, missing_programs, running, wait_for

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = Path(__file__).parents[1] / "acceptance" / "screenshots"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.desktop,
    pytest.mark.browser,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]


@pytest.fixture(scope="module")
def desk() -> Iterator[Running]:
    with running(floor=2, ceiling=5) as made:
        history = made.root / "history.csv"
        history.write_text(_history_of("alice"))
        assert made.command("import", str(history)).returncode == 0
        assert made.command("user", "add", "alice").returncode == 0
        made.start()
        yield made
        assert made.stop() == 0
        assert made.remains() == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    made = context.new_page()
    yield made
    context.close()


def _history_of(user: str) -> str:
    """Ten weeks of a habit around this very hour: sign in, then the editor, then the terminal."""
    rows, now_s = ["user,time,event,app"], time.time()
    for day in range(1, 71):
        start_s = now_s - day * 86_400
        rows += [
            f"{user},{start_s + 120:.0f},sign-in,",
            f"{user},{start_s + 130:.0f},app-launch,org.xfce.mousepad",
            f"{user},{start_s + 400:.0f},app-launch,lxterminal",
            f"{user},{start_s + 3600:.0f},sign-out,",
        ]
    return "\n".join(rows) + "\n"


def _link(desk: Running, user: str) -> str:
    if user not in ("operator", "alice"):
        assert desk.command("user", "add", user).returncode == 0
    return str(json.loads(desk.command("sign-in-link", user, "--json").stdout)["url"])


def _shot(page: Any, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"whole-{name}.png")


def _marks(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("() => window.ghostdeskMarks")
    return found


def _api(page: Any, method: str, path: str) -> Any:
    return page.evaluate(
        "([method, path]) => fetch(path, {method}).then(async r => ({status: r.status, body: await r.json()}))",
        [method, path],
    )


def _colours(page: Any) -> int:
    """How many different colours the desktop's canvas shows: a blank one shows one."""
    found: int = page.evaluate(
        """() => { const c = document.querySelector('canvas'); if (!c) return 0;
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const seen = new Set();
        for (let i = 0; i < d.length; i += 404) seen.add((d[i] << 16) | (d[i+1] << 8) | d[i+2]); return seen.size; }"""
    )
    return found


def test_a_user_whose_habit_is_known_finds_a_warm_desktop_and_it_takes_keys(desk: Running, page: Any) -> None:
    warm = wait_for(
        lambda: [g for g in desk.ghosts().values() if g["owner"] == "alice" and g["state"] == "warm"], 60, "warming"
    )
    assert "org.xfce.mousepad" in warm[0]["apps"]
    assert "likely to sign in" in warm[0]["reason"]
    page.goto(_link(desk, "alice"))
    page.get_by_role("button", name="Open desktop").wait_for()
    page.wait_for_function("() => window.ghostdeskMarks && window.ghostdeskMarks.prepainted")
    _shot(page, "1-home")
    page.get_by_role("button", name="Open desktop").click()
    page.wait_for_function("() => window.ghostdeskMarks.swapped")
    assert _marks(page)["preconnected"] is True
    assert _colours(page) > 3
    _shot(page, "2-desktop")
    shown = _api(page, "POST", "/api/apps/org.xfce.mousepad/launch")
    assert shown["status"] == 200, shown
    assert shown["body"]["path"] == "shown", "it waited hidden and was shown"
    page.wait_for_timeout(500)
    before = page.evaluate("() => document.querySelector('canvas').toDataURL()")
    page.keyboard.type("The desktop was ready before its user.", delay=10)
    page.wait_for_timeout(700)
    assert page.evaluate("() => document.querySelector('canvas').toDataURL()") != before
    _shot(page, "3-typed")
    ghost = next(g for g in desk.ghosts().values() if g["owner"] == "alice" and g["state"] == "active")
    assert ghost["ghost"] == warm[0]["ghost"]
    assert page.evaluate("() => fetch('/api/desktop', {method: 'DELETE'}).then(r => r.status)") == 204
    wait_for(lambda: ghost["ghost"] not in desk.ghosts(), 20, "the end of the used desktop")


def test_the_desktops_own_menu_takes_the_fast_path_too(desk: Running, page: Any) -> None:
    page.goto(_link(desk, "alice"))
    wait_for(
        lambda: [g for g in desk.ghosts().values() if g["owner"] == "alice" and "org.xfce.mousepad" in g["apps"]],
        30,
        "warming at the door",
    )
    page.get_by_role("button", name="Open desktop").click()
    page.wait_for_function("() => window.ghostdeskMarks && window.ghostdeskMarks.swapped")
    page.wait_for_timeout(1000)
    page.mouse.move(300, 300)
    page.mouse.click(36, 782, delay=60)
    page.wait_for_timeout(700)
    _shot(page, "4-menu-open")
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
        page.wait_for_timeout(300)
    told = wait_for(
        lambda: [r for r in desk.status()["launches"] if r["reason"] == "from the desktop's menu"], 20, "the record"
    )
    assert (told[0]["user"], told[0]["path"]) == ("alice", "shown")
    _shot(page, "5-from-the-menu")


def test_a_dropped_control_plane_is_survived_by_the_page(desk: Running, page: Any) -> None:
    page.goto(_link(desk, "bob"))
    page.wait_for_function("() => window.ghostdeskMarks && window.ghostdeskMarks.prepainted")
    page.get_by_role("button", name="Open desktop").click()
    page.wait_for_function("() => window.ghostdeskMarks.swapped")
    page.wait_for_function("() => window.ghostdeskMarks.claimed")
    ghost = next(g["ghost"] for g in desk.ghosts().values() if g["owner"] == "bob")
    desk.kill()
    page.wait_for_timeout(1000)
    _shot(page, "6-control-plane-killed")
    desk.start()
    page.wait_for_function("() => !document.body.innerText.includes('econnecting')", timeout=60_000)
    wait_for(lambda: _colours(page) > 3, 30, "the picture")
    assert desk.ghosts()[ghost]["owner"] == "bob"
    assert not page.get_by_role("button", name="Open desktop").is_visible(), "the desktop is in front, as before"
    page.wait_for_timeout(2000)
    before = page.evaluate("() => document.querySelector('canvas').toDataURL()")
    page.keyboard.press("Control+Escape")
    page.wait_for_function(  # it takes keys again
        "before => document.querySelector('canvas').toDataURL() !== before", arg=before, timeout=20_000
    )
    _shot(page, "7-back-again")


def test_a_ghost_that_dies_is_told_on_the_page(desk: Running, page: Any) -> None:
    page.goto(_link(desk, "carol"))
    page.wait_for_function("() => window.ghostdeskMarks && window.ghostdeskMarks.prepainted")
    page.get_by_role("button", name="Open desktop").click()
    page.wait_for_function("() => window.ghostdeskMarks.claimed")  # before it, another one is claimed and all is well
    ghost = next(g["ghost"] for g in desk.ghosts().values() if g["owner"] == "carol")
    os.kill(desk.record(ghost)["pid"], 9)
    page.get_by_text("ended").first.wait_for(timeout=30_000)
    _shot(page, "8-ended")
    page.get_by_role("button", name="Open a new").first.click()
    page.wait_for_timeout(3000)
    _shot(page, "9-new-one")
    wait_for(lambda: [g for g in desk.ghosts().values() if g["owner"] == "carol" and g["state"] == "active"], 30, "it")


def test_the_operator_sees_ghosts_plan_reasons_and_launches(desk: Running, page: Any) -> None:
    page.goto(_link(desk, "operator"))
    page.get_by_role("link", name="Status").click()
    page.get_by_text("floor 2").first.wait_for(timeout=15_000)
    _shot(page, "10-status")
    text = page.inner_text("body")
    for word in ("alice", "active", "ready", "org.xfce.mousepad"):
        assert word in text

"""Fixtures for tests that drive the page in a real browser.

The chain is `background` (an event loop in a thread) -> `service` (a control plane and its store) -> `site` (the
server) -> `page`. To run the same tests against another control plane, replace `service` alone.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from server_fakes import BackgroundLoop, FakeDesktops, MemoryAccounts, built_page, free_port, served
from xvnc_desktops import XvncDesktops, missing_programs

from ghostdesk.control.service import AppView
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.server.app import create_app
from ghostdesk.server.auth import make_sign_in_link
from ghostdesk.server.guard import local_origins
from ghostdesk.store.protocol import StoredUser

ADA, OLA = UserId("ada"), UserId("ola")
SCREENSHOTS = Path(__file__).parent / "screenshots"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SVG = (
    "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHZpZXdCb3g9IjAgMCAyNCAyNCI+PHJlY3Qgd2lk"
    "dGg9IjI0IiBoZWlnaHQ9IjI0IiByeD0iNSIgZmlsbD0iIzNiODJmNiIvPjxwYXRoIGQ9Ik03IDdoMTBNNyAxMmgxME03IDE3aDYiIHN0cm9rZT0iI2Zm"
    "ZiIgc3Ryb2tlLXdpZHRoPSIyIi8+PC9zdmc+"
)


@dataclass
class Service:
    """A control plane under test, with its store, and `desktops` to look inside (None where one cannot)."""

    service: Any
    store: Any
    desktops: XvncDesktops


@dataclass
class Site:
    """A server that runs, and the way in."""

    url: str
    service: Any
    store: Any
    desktops: XvncDesktops
    background: BackgroundLoop
    port: int
    stop: Any = None
    start: Any = None

    def link(self, user: UserId = ADA) -> str:
        """A one-time sign-in link."""
        return make_sign_in_link(self.store, user, self.url, 60.0, SystemClock().now_s())


@pytest.fixture
def background() -> Iterator[BackgroundLoop]:
    loop = BackgroundLoop()
    yield loop
    loop.close()


@pytest.fixture
def service(background: BackgroundLoop) -> Iterator[Service]:
    """The control plane: a fake one over real desktops."""
    if missing := missing_programs("mousepad", "dbus-run-session"):
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = Path(tempfile.mkdtemp(prefix="gd-page-"))
    desktops = XvncDesktops(folder, apps=("org.xfce.mousepad",))
    fake = FakeDesktops(desktops.make, desktops.destroy, desktops.start)
    fake.apps = [
        AppView(AppId("org.xfce.mousepad"), "Mousepad", ("Utility", "TextEditor"), SVG, "frozen", 0.9),
        AppView(AppId("xev"), "Event viewer", ("Utility",), "", "", 0.1),
        AppView(AppId("evil"), "<img src=x onerror=alert(1)>", (), "javascript:alert(1)", "", 0.01),
    ]
    accounts = MemoryAccounts()
    accounts.put_user(StoredUser(ADA, "Ada Lovelace"))
    accounts.put_user(StoredUser(OLA, "Ola Operator", "operator"))
    try:
        yield Service(fake, accounts, desktops)
    finally:
        desktops.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def site(background: BackgroundLoop, service: Service) -> Iterator[Site]:
    if built_page() is None:
        pytest.skip("the page is not built: npm ci && npm run build, in web/")
    port = free_port()

    def start() -> None:
        app = create_app(
            service.service,
            service.store,
            origins=local_origins("127.0.0.1", port, tls=False),
            web_session_life_s=3600.0,
            ticket_life_s=20.0,
            clock=SystemClock(),
        )
        ready, stop = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            async with served(app, port):
                ready.set()
                await stop.wait()

        done = background.start(work())
        background.run(asyncio.wait_for(ready.wait(), 20))

        def end() -> None:
            background.call(stop.set)
            done.result(20)

        site.stop = end

    site = Site(f"http://127.0.0.1:{port}", service.service, service.store, service.desktops, background, port)
    site.start = start
    start()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium a module; not a session, as the driver keeps an event loop running in the tests' thread."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("not installed: chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A fresh browser profile's page; fails the test when the page breaks its own content policy or throws."""
    context = browser.new_context(viewport={"width": 1100, "height": 700}, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(15_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
    page.on("console", lambda m: problems.append(m.text) if "Content Security Policy" in m.text else None)
    yield page
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    SCREENSHOTS.mkdir(exist_ok=True)
    if not page.is_closed():
        page.screenshot(path=SCREENSHOTS / f"{name}.png")
    context.close()
    assert problems == []

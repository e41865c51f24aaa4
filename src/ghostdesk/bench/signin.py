"""`ghostdesk bench signin`: a real Chromium presses "Open desktop"; when is the desktop painted, and takes a key?"""

from __future__ import annotations

import asyncio
import base64
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ghostdesk.bench.desk import BenchError
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.signin_frames import Cells, Frame, answered_ms, is_menu, painted_ms
from ghostdesk.bench.stats import Summary, summarise

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

SCHEMA = "ghostdesk.bench.signin/1"
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MENU_KEY, MENU_CLOSE_KEY = "Control+Escape", "Escape"
"""The desktop's window manager opens the root menu on this key, whatever has the focus."""
_KEY_EVERY_S = 0.25
_QUIET_MS = 500
_TIMEOUT_S = 60.0


class SignInCondition(StrEnum):
    """What was prepared before the person pressed."""

    NO_POOL = "no-pool"
    """No ghost exists: the press builds one."""
    READY = "ready"
    """One generic ghost is booted and runs; it is nobody's until the press."""
    WARM = "warm"
    """A ghost is bound to the user, its applications launched, hidden, frozen; the browser is not connected to it."""
    PRECONNECTED = "preconnected"
    """As warm, and the page has connected to it, hidden, and painted it."""


class PoolControl(Protocol):
    """Sets the pool as a condition wants it, for the user whom the benchmark signs in."""

    async def arrange(self, condition: SignInCondition) -> None:
        """Return once the pool is exactly so, and stays so until the press; nothing else may build or bind meanwhile.

        - `NO_POOL`: the user's session is ended and every ghost is destroyed; none is built until the user presses.
        - `READY`: as that, and then exactly one generic ghost is ready, unbound; the page is open already, and nothing
          that it asks may bind it before the press.
        - `WARM` and `PRECONNECTED`: as that, and then one ghost is warm, bound to the user; `prepare_desktop` gives it.

        It is called with `NO_POOL` first, then the page is opened and signed in, then it is called with the condition.
        """
        ...


@dataclass(frozen=True, slots=True)
class SignInSample:
    """One press, in seconds after it.

    Args:
        condition: what was prepared.
        round: from 1.
        painted_s: until the desktop's canvas, in front, was painted; seen from outside the page's own code.
        takes_key_s: until it was painted and a key pressed on it had opened the desktop's menu.
        key_s: from the key that opened the menu (the first is pressed once the page says that the desktop is there).
        swapped_s: until the page's own mark "swapped".
        first_frame_s: until the page's own mark "first frame".
        preconnected: whether the page says that it was connected and painted before the press.
    """

    condition: SignInCondition
    round: int
    painted_s: float
    takes_key_s: float
    key_s: float
    swapped_s: float | None
    first_frame_s: float | None
    preconnected: bool


@dataclass(frozen=True, slots=True)
class SignInMissing:
    """A press that gave no figure, and why."""

    condition: SignInCondition
    round: int
    reason: str


@dataclass(frozen=True)
class SignInReport:
    """Everything that one run of the sign-in benchmark found."""

    provenance: Provenance
    browser: str
    rounds: int
    samples: tuple[SignInSample, ...]
    missing: tuple[SignInMissing, ...] = ()
    schema: str = SCHEMA

    def of(self, condition: SignInCondition, value: Callable[[SignInSample], float | None]) -> Summary | None:
        """A figure of each press in a condition, summed up."""
        found = (value(sample) for sample in self.samples if sample.condition is condition)
        return summarise(each for each in found if each is not None)


async def run_sign_in_bench(
    make_link: Callable[[], str] | Callable[[], Awaitable[str]],
    pool: PoolControl,
    provenance: Provenance,
    *,
    rounds: int = 10,
    conditions: Sequence[SignInCondition] = tuple(SignInCondition),
    chromium: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> SignInReport:
    """Press "Open desktop" in a real Chromium, `rounds` times in each condition, interleaved.

    Args:
        make_link: gives a new one-time sign-in link for the benchmark's user, as printed (`http://...#sign-in=...`).
        pool: arranges the condition before each press.
        chromium: the browser's program; by default the one on the PATH.

    A press that fails is reported in `missing`. Raises `BenchError` where browser or Playwright are missing, or nothing
    could be measured.
    """
    program = chromium or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise BenchError("Chromium is not installed.", "apt-get install chromium")
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        raise BenchError("Playwright is not installed.", "pip install 'ghostdesk[bench]'") from None
    samples: list[SignInSample] = []
    missing: list[SignInMissing] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(CHROMIUM_ARGS), headless=True)
        name = f"Chromium {browser.version}, headless"
        try:
            for number in range(1, rounds + 1):
                for condition in conditions:
                    progress(f"round {number} of {rounds}: {condition}")
                    try:
                        samples.append(await _press(browser, make_link, pool, condition, number))
                    except (Error, BenchError) as error:
                        reason = str(error).splitlines()[0]
                        missing.append(SignInMissing(condition, number, reason))
                        progress(f"round {number}, {condition}: {reason}")
        finally:
            await pool.arrange(SignInCondition.NO_POOL)
            await browser.close()
    if not samples:
        raise BenchError(f"No press gave a figure: {missing[-1].reason if missing else 'no rounds'}.")
    return SignInReport(provenance, name, rounds, tuple(samples), tuple(missing))


def page_address(link: str, *, preconnect: bool) -> str:
    """The sign-in link with preconnecting switched off, if it is not wanted; the token after # stays the last part."""
    if preconnect:
        return link
    address, mark, token = link.partition("#")
    return f"{address}{'&' if '?' in address else '?'}preconnect=off{mark}{token}"


async def _press(
    browser: Browser,
    make_link: Callable[[], str] | Callable[[], Awaitable[str]],
    pool: PoolControl,
    condition: SignInCondition,
    number: int,
) -> SignInSample:
    await pool.arrange(SignInCondition.NO_POOL)
    preconnect = condition is SignInCondition.PRECONNECTED
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        await context.add_init_script(resources.files("ghostdesk.bench").joinpath("signin_probe.js").read_text())
        page = await context.new_page()
        page.set_default_timeout(1000 * _TIMEOUT_S)
        link = make_link()
        if not isinstance(link, str):
            link = await link
        await page.goto(page_address(link, preconnect=preconnect))
        await page.wait_for_selector("body[data-view=home]")
        if condition is not SignInCondition.NO_POOL:
            await pool.arrange(condition)
        if preconnect:
            # A prepared desktop may have been announced to the page or not: loaded anew, it asks in any case.
            await page.reload()
            await _until(
                page, "window.ghostdeskMarks?.prepainted != null", "did not preconnect to the prepared desktop"
            )
        await asyncio.sleep(0.5)
        await page.click("#open")
        return await _watch(page, condition, number)
    finally:
        await context.close()


async def _watch(page: Page, condition: SignInCondition, number: int) -> SignInSample:
    await _until(page, "window.ghostdeskMarks?.firstFrame != null", "showed no desktop")
    menu, settled = await _open_menu(page)
    marks = await page.evaluate("window.ghostdeskMarks")
    frames, keys_ms, full = _decoded(await page.evaluate("window.ghostdeskProbe.read()"))
    pressed_ms = float(marks["press"])
    painted = painted_ms(frames, pressed_ms, menu, settled)
    answered = answered_ms(frames, keys_ms[0], menu, settled)
    if full or painted is None or answered is None:
        raise BenchError("The page's frames do not show when the desktop was painted and answered.")
    last_key_ms = max(at for at in keys_ms if at <= answered)
    return SignInSample(
        condition,
        number,
        painted_s=(painted - pressed_ms) / 1e3,
        takes_key_s=(max(painted, answered) - pressed_ms) / 1e3,
        key_s=(answered - last_key_ms) / 1e3,
        swapped_s=_after(marks.get("swapped"), pressed_ms),
        first_frame_s=_after(marks.get("firstFrame"), pressed_ms),
        preconnected=bool(marks.get("preconnected")),
    )


async def _open_menu(page: Page, tries: int = 80) -> tuple[Cells, Cells]:
    """Press the menu's key until the desktop shows a menu; gives the quiet pictures with it and without."""
    for _ in range(tries):
        before = await page.evaluate("window.ghostdeskProbe.frames.length")
        await page.keyboard.press(MENU_KEY)
        await asyncio.sleep(_KEY_EVERY_S)
        if await page.evaluate("window.ghostdeskProbe.frames.length") == before:
            continue
        menu = await _quiet(page)
        await page.keyboard.press(MENU_CLOSE_KEY)
        await asyncio.sleep(_KEY_EVERY_S)
        settled = await _quiet(page)
        if is_menu(menu, settled):
            return menu, settled
    raise BenchError("The desktop did not open its menu: it takes no keys.")


async def _until(page: Page, true: str, problem: str) -> None:
    """Ask the page again and again: its security policy forbids Playwright's own waiting, which needs `eval`."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while not await page.evaluate(true):
        if time.monotonic() > deadline_s:
            raise BenchError(f"The page {problem} within {_TIMEOUT_S:.0f} s.")
        await asyncio.sleep(0.003)


async def _quiet(page: Page) -> Cells:
    await _until(page, f"window.ghostdeskProbe.quiet({_QUIET_MS})", "never became quiet")
    frames, _, _ = _decoded(await page.evaluate("window.ghostdeskProbe.read()"))
    return frames[-1].cells


def _decoded(read: dict[str, Any]) -> tuple[list[Frame], list[float], bool]:
    """Frames, the times at which the menu's key went down, and whether frames were left out."""
    frames = [
        Frame(float(each["time_ms"]), np.frombuffer(base64.b64decode(each["cells"]), np.uint32))
        for each in read["frames"]
    ]
    held, keys_ms = False, []
    for event in read["keys"]:
        if event["key"] == "Escape" and held:
            keys_ms.append(float(event["time_ms"]))
        held = event["key"] == "Control"
    return frames, keys_ms, bool(read["full"])


def _after(mark_ms: float | None, pressed_ms: float) -> float | None:
    return None if mark_ms is None else (mark_ms - pressed_ms) / 1e3

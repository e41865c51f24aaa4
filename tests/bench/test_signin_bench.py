"""The sign-in benchmark drives a real Chromium; here against a made-up page that stands in for ghostdesk's own."""

import asyncio
import shutil
from collections.abc import AsyncIterator

import pytest

from ghostdesk.bench.host import Provenance
from ghostdesk.bench.signin import SignInCondition, page_address, run_sign_in_bench

MADE_UP = Provenance("Some CPU", 2, 4 << 30, "Linux 6", "2026-01-02", "pytest", synthetic=True)
POLICY = "default-src 'none'; script-src 'unsafe-inline'"  # no eval, as in ghostdesk's own page
PAGE = """<!doctype html><body data-view="home"><div id="layers"><canvas width="1280" height="800"></canvas></div>
<button id="open">Open desktop</button><script>
const marks = window.ghostdeskMarks = { press: null, swapped: null, firstFrame: null, preconnected: false,
  prepainted: location.search.includes("preconnect=off") ? null : performance.now() };
const pen = document.querySelector("canvas").getContext("2d");
const draw = (colour, ...box) => { pen.fillStyle = colour; pen.fillRect(...box); };
document.querySelector("#open").onclick = (event) => {
  marks.press = event.timeStamp;
  document.querySelector("#open").remove();
  setTimeout(() => {
    document.body.dataset.view = "desktop";
    draw("#224466", 0, 0, 1280, 800);
    requestAnimationFrame(() => { marks.swapped = marks.firstFrame = performance.now(); });
  }, 120);
};
addEventListener("keydown", (event) => {
  if (event.key === "Escape") draw(event.ctrlKey ? "#ffffff" : "#224466", 400, 300, 200, 250);
});
</script></body>"""


class FakePool:
    """Remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[SignInCondition] = []

    async def arrange(self, condition: SignInCondition) -> None:
        self.asked.append(condition)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = PAGE.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: {POLICY}\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/#sign-in=token"
    server.close()


@pytest.mark.browser
async def test_a_real_browser_sees_when_the_made_up_desktop_is_painted_and_answers(address: str) -> None:
    if not shutil.which("chromium"):
        pytest.skip("chromium is not installed")
    pytest.importorskip("playwright")
    pool = FakePool()
    wanted = (SignInCondition.NO_POOL, SignInCondition.PRECONNECTED)
    report = await run_sign_in_bench(lambda: address, pool, MADE_UP, rounds=1, conditions=wanted)
    assert report.missing == ()
    assert [sample.condition for sample in report.samples] == list(wanted)
    for sample in report.samples:
        assert 0.1 <= sample.painted_s <= sample.takes_key_s
        assert sample.key_s > 0
        assert sample.first_frame_s is not None
    no_pool, preconnected = SignInCondition.NO_POOL, SignInCondition.PRECONNECTED
    assert pool.asked == [no_pool, no_pool, preconnected, no_pool]


def test_preconnecting_is_switched_off_before_the_token() -> None:
    assert page_address("http://h/#sign-in=t", preconnect=False) == "http://h/?preconnect=off#sign-in=t"
    assert page_address("http://h/?a=b#sign-in=t", preconnect=False) == "http://h/?a=b&preconnect=off#sign-in=t"
    assert page_address("http://h/#sign-in=t", preconnect=True) == "http://h/#sign-in=t"

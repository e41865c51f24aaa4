"""`ghostdesk status` shows how the host fares and what is done otherwise because of it."""

from dataclasses import asdict, replace

from rich.console import Console
from server_fakes import PRESSED

from ghostdesk.cli.show_context import render_context
from ghostdesk.control.context_view import ContextView


def shown(view: ContextView) -> str:
    console = Console(width=140)
    with console.capture() as capture:
        console.print(render_context(asdict(view)))
    return capture.get()


def test_pressure_trends_gate_and_lines_are_shown() -> None:
    text = shown(PRESSED)
    assert text.count("Warming is paused: memory pressure is 23 %; this begins at 20 %") == 1
    assert "Waiting: 2 steps." in text
    assert "↗ +4.0 % a minute" in text and "short in 6 min" in text
    assert "load 1.50" in text and "1.0 of" not in text.split("load")[0]
    assert "the kernel killed a process for want of memory" in text
    assert "heat cannot be read" in text
    assert "300 ms (now 400)" in text and "0.09 MB/s" in text and "not tried" in text


def test_a_host_that_cannot_be_read_is_named() -> None:
    assert "conditions cannot be read" in shown(replace(PRESSED, conditions=None, links=()))
    assert "Lines to browsers" not in shown(replace(PRESSED, links=()))

"""A real ghostdesk on a host under real pressure: warming pauses and says why, and people get their desktops."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import GATE_OPEN, Running, missing_programs, running, wait_for

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
    pytest.mark.skipif(not Path("/proc/pressure/cpu").exists(), reason="this kernel tells no pressure"),
]
BAND = "[context]\ncpu_pressure = [0.05, 0.1, 0.15]"


@pytest.fixture
def desk() -> Iterator[Running]:
    with running(floor=3, ceiling=6) as made:
        made.config.write_text(made.config.read_text().replace(GATE_OPEN, BAND))
        yield made


@pytest.fixture
def load() -> Iterator[None]:
    """A little more work than processors; it waits for everything else, and its waiting is pressure."""
    burning = [
        subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", "while True: pass"])
        for _ in range(len(os.sched_getaffinity(0)) + 1)
    ]
    yield
    for process in burning:
        process.kill()
        process.wait()


def test_real_pressure_pauses_warming_and_somebody_who_comes_gets_a_desktop(desk: Running, load: None) -> None:
    wait_for(lambda: pressure() > 0.2, 60, "pressure")
    desk.start()
    assert "the pool is not full yet: Warming is paused" in desk.said(), "the page is served all the same"
    wait_for(lambda: desk.status()["context"]["gate"] == "paused", 30, "the pause")
    told = desk.status()["context"]
    assert "Warming is paused: CPU pressure is" in told["gate_text"] and "ends below 10 %" in told["gate_text"]
    assert told["conditions"]["cpu_pressure"] > 0.15 and told["conditions"]["memory_bytes"] > 0
    assert any("Waiting:" in note for note in told["notes"])
    built = len(desk.ghosts())
    assert built < 3, "the floor waits"
    alice = desk.sign_in("alice")
    opened = alice.post("/api/desktop/open", timeout=60).json()
    assert opened["active"], opened
    assert desk.rfb_greeting(opened["ghost"]).startswith(b"RFB 003")
    shown = desk.command("status", "--json")
    assert '"gate": "paused"' in shown.stdout
    assert "CPU pressure" in desk.command("status").stdout


def pressure() -> float:
    """Share of the last ten seconds in which some task waited for a processor."""
    return float(Path("/proc/pressure/cpu").read_text().split("avg10=")[1].split()[0]) / 100

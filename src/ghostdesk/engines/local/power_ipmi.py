"""The host's own management controller, through `ipmitool dcmi power reading` (DCMI 1.5, "Get Power Reading")."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ghostdesk.engines.local.power import Covers, Sample

DEVICES = ("/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0")
COMMAND = ("ipmitool", "dcmi", "power", "reading")
TIMEOUT_S = 8.0


def run_ipmitool(command: Sequence[str]) -> str:
    """What it prints; raises `OSError`, `ValueError` (its complaint) or `subprocess.TimeoutExpired`."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise ValueError((done.stderr or done.stdout).strip()[:200] or f"exit {done.returncode}")
    return done.stdout


class Ipmi:
    """Asks the controller; takes up to some seconds: ask it in the background.

    Args:
        root: where /dev is, for tests.
        run: runs the program.
    """

    name = "IPMI"

    def __init__(self, root: Path = Path("/"), run: Callable[[Sequence[str]], str] = run_ipmitool) -> None:
        self._root = root
        self._run = run
        self._had = False

    def sample(self) -> Sample | None:
        """None on a host without a controller."""
        if not any((self._root / path.lstrip("/")).exists() for path in DEVICES):
            return Sample(self.name, Covers.HOST, None, "/dev/ipmi0 is gone") if self._had else None
        self._had = True
        if self._run is run_ipmitool and shutil.which(COMMAND[0]) is None:
            return Sample(self.name, Covers.HOST, None, "ipmitool is not installed (apt-get install ipmitool)")
        try:
            return parse_reading(self._run(COMMAND))
        except subprocess.TimeoutExpired:
            return Sample(self.name, Covers.HOST, None, f"no answer within {TIMEOUT_S:g} s")
        except (OSError, ValueError) as error:
            return Sample(self.name, Covers.HOST, None, str(error)[:200])


def parse_reading(text: str) -> Sample:
    """The instantaneous watts out of what ipmitool prints."""
    watts = re.search(r"^\s*Instantaneous power reading:\s*(\d{1,6}) Watts", text, re.MULTILINE)
    state = re.search(r"^\s*Power reading state is:\s*(\S+)", text, re.MULTILINE)
    if state is not None and state[1] != "activated":
        return Sample(Ipmi.name, Covers.HOST, None, f"power readings are {state[1][:40]}: ipmitool dcmi power activate")
    if watts is None:
        return Sample(Ipmi.name, Covers.HOST, None, "its answer holds no instantaneous reading")
    return Sample(Ipmi.name, Covers.HOST, float(watts[1]))

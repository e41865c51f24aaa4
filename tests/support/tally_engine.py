"""Not an engine, but what the crash tests need of one: builds that make folders one by one, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from ghostdesk.ghosts.commands import Destroy, EngineCommand, Outcome
from ghostdesk.kernel.errors import EngineError

FOLDERS = 5


class Tally:
    """Each build makes `FOLDERS` folders in `place`, waiting `pause_s` before each; after two it starts a program."""

    def __init__(self, place: Path, pause_s: float = 0.0) -> None:
        self.place, self.pause_s = place, pause_s

    async def start(self) -> None:
        """Makes one folder, which is not counted."""
        (self.place / "started").mkdir(exist_ok=True)

    async def apply(self, command: EngineCommand) -> Outcome:
        """Builds; any destroy fails."""
        if isinstance(command, Destroy):
            return Outcome(command, EngineError("It does not die.", "Wait."))
        for number in range(FOLDERS):
            await asyncio.sleep(self.pause_s)
            if number == 2:
                await asyncio.to_thread(subprocess.run, ["true"], check=True)
            (self.place / f"f{number}").mkdir()
        return Outcome(command)

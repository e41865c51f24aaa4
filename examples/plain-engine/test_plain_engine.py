"""The engine passes the suite that every engine passes."""

import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from plain_engine import PlainEngine

from ghostdesk.testing import EngineConformance, MakeEngine


class TestPlainEngine(EngineConformance):
    @pytest.fixture
    def make_engine(self) -> Iterator[MakeEngine]:
        if shutil.which("Xvnc") is None:
            pytest.skip("Xvnc is not installed here")
        with tempfile.TemporaryDirectory(prefix="pe-", dir="/tmp") as folder:  # short: sockets have 107 bytes
            self.folder = Path(folder)
            yield partial(PlainEngine, self.folder / "state", self.folder / "run")

    # What the protocol does not tell. Without these, the tests that need them skip and say so.

    def screens(self) -> list[psutil.Process]:
        run = str(self.folder / "run")
        processes = psutil.process_iter(["cmdline", "name"])
        return [one for one in processes if one.info["name"] == "Xvnc" and run in " ".join(one.info["cmdline"] or ())]

    async def kill(self, engine: PlainEngine, ghost: str) -> None:
        (screen,) = [one for one in self.screens() if engine.endpoint(ghost).rfb_path in one.info["cmdline"]]
        screen.kill()

    def leftovers(self) -> list[str]:
        return [str(screen) for screen in self.screens()] + [str(path) for path in (self.folder / "run").iterdir()]

    def broken(self) -> dict[str, MakeEngine]:
        (self.folder / "file").write_text("")
        return {"the state folder is a file": partial(PlainEngine, self.folder / "file", self.folder / "run")}

    def make_agents(self, engine: PlainEngine) -> None:
        pytest.skip("these desktops hold nothing but a screen: no agent, no applications")

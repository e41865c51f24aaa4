"""The engine of the how-to passes the suite as a third party would run it, and the how-to shows it as it is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ghostdesk

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plain-engine"
HOW_TO = ROOT / "docs" / "how-to" / "test-your-engine.md"
SOME = "answers or new_engine or another_engine or crash_while_it_is_destroyed or given_up or lacks or start or hidden"
"""A part of the suite, which is enough here: all of it takes some 20 s of processor time."""


@pytest.mark.desktop
@pytest.mark.skipif(shutil.which("Xvnc") is None, reason="Xvnc is not installed")
def test_the_example_passes_in_a_project_of_its_own(tmp_path: Path) -> None:
    package = tmp_path / "plain-engine"
    shutil.copytree(EXAMPLE, package, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-k", SOME],
        cwd=package, capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(ghostdesk.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 7, done.stdout
    assert "no agent, no applications" in done.stdout, "what cannot be tested is skipped, and says why"


@pytest.mark.parametrize("name", ["plain_engine.py", "test_plain_engine.py", "pyproject.toml"])
def test_the_how_to_shows_it_as_it_is(name: str) -> None:
    kind = "toml" if name.endswith("toml") else "python"
    text = (EXAMPLE / name).read_text()
    assert f"```{kind}\n{text}```\n" in HOW_TO.read_text(), f"docs/how-to/test-your-engine.md: copy {name} anew"

"""`ghostdesk image`: what it says before it builds, and what it refuses."""

import json
from pathlib import Path

from typer.testing import CliRunner

from ghostdesk.cli import made
from ghostdesk.kernel.errors import ConfigError

_RUNNER = CliRunner()


def test_the_plan_is_json_for_scripts() -> None:
    words = ["image", "build", "--for", "incus", "--app", "editor", "--app", "htop", "--plan", "--json"]
    done = _RUNNER.invoke(made("image"), words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert {"mousepad", "htop", "tigervnc-standalone-server"} <= set(told["packages"])
    assert "chromium" not in told["packages"] and told["makes"] == ["metadata.tar", "rootfs.tar"]


def test_what_it_refuses(tmp_path: Path) -> None:
    for words in (
        ["build", "--for", "vm", "--import"],
        ["build", "--for", "incus", "--name", "A B"],
        ["import", str(tmp_path)],
    ):
        done = _RUNNER.invoke(made("image"), ["image", *words])
        assert isinstance(done.exception, ConfigError) and done.exception.mend

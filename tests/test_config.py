"""Settings: defaults are safe, mistakes are named, every setting is documented."""

from dataclasses import fields
from pathlib import Path

import pytest

from ghostdesk.config import Settings, load_settings
from ghostdesk.kernel.errors import ConfigError


def _write(folder: Path, text: str) -> Path:
    path = folder / "ghostdesk.toml"
    path.write_text(text)
    return path


def test_defaults_listen_on_loopback_only() -> None:
    assert load_settings(None).server.host == "127.0.0.1"


def test_settings_are_read(tmp_path: Path) -> None:
    found = load_settings(_write(tmp_path, '[pool]\nfloor = 4\n[telemetry]\nsources = ["applications"]\n'))
    assert found.pool.floor == 4
    assert [s.value for s in found.telemetry.sources] == ["applications"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[pol]\nfloor = 1", r"unknown part \[pol\]"),
        ("[pool]\nflor = 1", "pool.flor"),
        ('[pool]\nfloor = "many"', "pool.floor"),
        ("[pool", "not TOML"),
        ("[parking]\nzram_bytes = -1", "zram_bytes must be 0 or more"),
        ("[parking]\nswap_file_bytes = inf", "swap_file_bytes must be 0 or more"),
        ("[parking]\nzram_priority = 99999", "zram_priority must be between"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_settings(_write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml cannot be read"):
        load_settings(tmp_path / "nothing.toml")


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "settings.md").read_text()
    for part in fields(Settings):
        for setting in fields(type(getattr(Settings(), part.name))):
            assert f"`{part.name}.{setting.name}`" in page

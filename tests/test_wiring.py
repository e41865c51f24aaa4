"""What the settings name is what runs."""

from pathlib import Path

import pytest

from ghostdesk.config import load_settings
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.wiring import chosen_policy


def _settings(folder: Path, policy: str) -> Path:
    path = folder / "ghostdesk.toml"
    path.write_text(f'[pool]\npolicy = "{policy}"\n[forecast]\ntimezone = "Europe/Berlin"\n')
    return path


def test_the_policy_of_the_settings_is_made(tmp_path: Path) -> None:
    feed = chosen_policy(load_settings(_settings(tmp_path, "static:5")), VirtualClock(0.0))
    assert feed is not None
    assert feed.due(0.0)


def test_without_one_the_forecast_decides() -> None:
    assert chosen_policy(load_settings(None), VirtualClock(0.0)) is None


@pytest.mark.parametrize("policy", ["tarot", "static", "static:many"])
def test_an_unknown_policy_is_refused_by_the_settings_name(tmp_path: Path, policy: str) -> None:
    with pytest.raises(ConfigError, match=r"pool\.policy: "):
        chosen_policy(load_settings(_settings(tmp_path, policy)), VirtualClock(0.0))

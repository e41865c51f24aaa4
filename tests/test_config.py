"""Settings: defaults are safe, mistakes are named, every setting is documented."""

from dataclasses import fields
from pathlib import Path

import pytest

from ghostdesk.config import Settings, load_settings
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.kernel.resources import Resources


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
        ("[pool]\ngpu_share = 2", "pool.gpu_share"),
        ("[pool]\ngpu_share = nan", "pool.gpu_share"),
        ('[engine]\nclones = "always"', "engine.clones"),
        ('[engine]\nclone_apps = ["a b"]', "clone_apps"),
        ("[parking]\nzram_bytes = -1", "zram_bytes must be 0 or more"),
        ("[parking]\nswap_file_bytes = inf", "swap_file_bytes must be 0 or more"),
        ("[parking]\nzram_priority = 99999", "zram_priority must be between"),
        ("[capacity]\ncpu_factor = 0", "capacity.cpu_factor"),
        ("[capacity]\nmemory_factor = nan", "capacity.memory_factor"),
        ("[quotas.person]\ndesktops = -1", "quotas.person.desktops"),
        ("[quotas.departments.physics]\ndesktops = 10000000", "quotas.departments.physics.desktops"),
        ("[quotas.departments.physics]\ncpu_cores = inf", "quotas.departments.physics.cpu_cores"),
        ("[quotas.people.ada]\nmemory_bytes = -5", "quotas.people.ada.memory_bytes"),
        ("[quotas.ghosts]\nmemory_share = 1.5", "quotas.ghosts.memory_share"),
        ("[quotas.ghosts]\nfloor = 1", "quotas.ghosts.floor"),
        ("[bookings]\nlead_s = -1", "bookings.lead_s"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_settings(_write(tmp_path, text))


def test_quotas_are_what_was_written(tmp_path: Path) -> None:
    text = "[quotas.person]\ncpu_cores = 2\n[quotas.departments.physics]\ndesktops = 3\n"
    text += "[quotas.ghosts]\ncpu_share = 0.5\n"
    quotas = load_settings(_write(tmp_path, text)).quotas.quotas()
    assert quotas.of(UserId("ada")).most.cpu_cores == 2.0
    assert quotas.of_department("physics").desktops == 3
    assert quotas.of_department("").desktops is None
    assert quotas.ghosts.amounts(Resources(cpu_cores=8.0)).cpu_cores == 4.0


def test_a_quota_for_a_user_id_that_is_none_is_named(tmp_path: Path) -> None:
    settings = load_settings(_write(tmp_path, '[quotas.people."No One"]\ndesktops = 1'))
    with pytest.raises(ConfigError, match=r"quotas\.people: 'No One' is no user id"):
        settings.quotas.quotas()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml cannot be read"):
        load_settings(tmp_path / "nothing.toml")


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "settings.md").read_text()
    for part in fields(Settings):
        for setting in fields(type(getattr(Settings(), part.name))):
            assert f"`{part.name}.{setting.name}`" in page

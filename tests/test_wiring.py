"""What the settings name is what runs."""

from pathlib import Path

import pytest

from ghostdesk.allocator.conditions_gate import Band, GateRules
from ghostdesk.allocator.links import LinkRules
from ghostdesk.config import EngineSettings, load_settings
from ghostdesk.engines.local.clones import CloneOptions
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.wiring import chosen_policy, gate_rules, host_power_model, link_rules
from ghostdesk.wiring.host import clone_options


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


def test_the_warming_gate_goes_by_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "ghostdesk.toml"
    path.write_text("[context]\nwarming_gate = false\ncpu_pressure = [0.3, 2, 3]\npreconnect_picture_bytes = 1e6\n")
    settings = load_settings(path)
    rules = gate_rules(settings)
    assert (rules.watch, rules.cpu, rules.memory) == (False, Band(0.3, 2.0, 3.0), GateRules().memory)
    assert link_rules(settings).least_bytes_per_s == 0.5e6
    assert gate_rules(load_settings(None)) == GateRules() and link_rules(load_settings(None)) == LinkRules()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cpu_pressure = [0.3, 0.2, 0.9]", r"context\.cpu_pressure: .*do not rise"),
        ("disk_in_use = [nan, 0.2, 0.9]", r"context\.disk_in_use"),
        ("io_pressure = [0.1, 0.2]", r"context\.io_pressure"),
        ("dwell_s = -1", r"context\.dwell_s"),
        ("fault_hold_s = inf", r"context\.fault_hold_s"),
        ("preconnect_budget_s = 0", r"context\.preconnect_budget_s"),
        ("preconnect_picture_bytes = nan", r"context\.preconnect_picture_bytes"),
    ],
)
def test_levels_that_make_no_sense_are_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "ghostdesk.toml"
    path.write_text(f"[context]\n{text}\n")
    with pytest.raises(ConfigError, match=named):
        settings = load_settings(path)
        gate_rules(settings)
        link_rules(settings)


def test_a_hosts_watts_go_by_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "ghostdesk.toml"
    path.write_text('[power]\nidle_w = 8\nbusy_w = 30\n[energy]\nhost_type = "desktop PC"\nwake_time_s = 4\n')
    model = host_power_model(load_settings(path))
    assert (model.idle_w, model.busy_w, model.wake_time_s) == (8.0, 30.0, 4.0)
    assert model.suspended_w <= model.idle_w
    assert host_power_model(load_settings(None)).source.startswith("assumed")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[energy]\nhost_type = "toaster"\n', r"energy\.host_type"),
        ("[power]\nidle_w = 90\nbusy_w = 20\n", "idle <= busy"),
    ],
)
def test_watts_that_cannot_be_are_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "ghostdesk.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        host_power_model(load_settings(path))


def test_clones_are_off_unless_asked_for_and_parked_as_asked() -> None:
    assert clone_options(EngineSettings()) is None
    assert clone_options(EngineSettings(clones="auto")) == CloneOptions(rest=None)
    build = EngineSettings(clones="build", criu=Path("/opt/criu"), clone_apps=("gimp",))
    assert clone_options(build) == CloneOptions("/opt/criu", ("gimp",), rest=False)
    park = clone_options(EngineSettings(clones="park"))
    assert park is not None and park.rest is True

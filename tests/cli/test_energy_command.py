"""`ghostdesk energy`: calibration by a meter, waking over the network, and refusals that say what helps."""

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ghostdesk.cli import app
from ghostdesk.cli.energy import energy_lines
from ghostdesk.kernel.errors import ConfigError


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["energy", *words])


def test_readings_of_a_meter_become_settings(tmp_path: Path) -> None:
    file = tmp_path / "meter.csv"
    rows = [f"{k / 20},{70 + 2.5 * k}" for k in range(21)]
    file.write_text("use,power_w\n" + "\n".join([*rows, "0.5,9999", "x,80"]) + "\n")
    done = run("calibrate", "--readings", str(file))
    assert done.exit_code == 0, done.output
    assert "idle_w = 70.0" in done.output
    assert "busy_w = 120.0" in done.output
    told = json.loads(run("calibrate", "--readings", str(file), "--json").output)
    assert (told["kept"], told["dropped"]) == (21, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n1,2\n", "no columns"),
        ("use,power_w\n0.1,80\n", "are needed"),
        ("use,power_w\n" + "0.5,80\n" * 20, "moved"),
    ],
)
def test_readings_that_say_nothing_are_refused(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "meter.csv"
    file.write_text(text)
    done = run("calibrate", "--readings", str(file))
    assert isinstance(done.exception, ConfigError)
    assert why in str(done.exception)


def test_a_host_is_woken_from_the_command_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as card:
        card.bind(("127.0.0.1", 0))
        card.settimeout(5)
        done = run("wake", "52:54:00:12:34:56", "--address", "127.0.0.1", "--port", str(card.getsockname()[1]))
        assert done.exit_code == 0, done.output
        assert len(card.recv(200)) == 102
    assert "Nothing tells" in done.output


def test_this_machine_is_not_suspended_unless_the_settings_say_so() -> None:
    done = run("suspend")
    assert "did not switch it on" in str(done.exception)


def test_the_status_says_what_is_modelled() -> None:
    energy = {
        "power_w": 83.2, "modelled": True, "source": "model of a server, assumed", "since_s": 0.0, "measured_kwh": 0.0,
        "modelled_kwh": 1.25, "unknown_s": 120.0, "saved_kwh": 0.0, "hosts": "one host", "worth": 1.0, "held_w": 0.2,
        "worth_reason": "no signal", "problem": "the sensor is stuck",
    }  # fmt: skip
    lines = "\n".join(energy_lines(energy, 7_200.0))
    assert "83 W, modelled (model of a server, assumed)" in lines
    assert "1.250 kWh modelled" in lines
    assert "the sensor is stuck" in lines
    assert "unknown" in energy_lines({**energy, "power_w": None}, 0.0)[0]

"""Sensors as files, as a program's output, as a real HTTPS server; those that hang, vanish or are hostile."""

import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from redfish_server import PASSWORD, USER, Controller, controller, make_certificate

from ghostdesk.engines.local import gpu_tree
from ghostdesk.engines.local.gpu import GpuReading
from ghostdesk.engines.local.gpus import Gpus
from ghostdesk.engines.local.power import Covers, PowerLine, Sample
from ghostdesk.engines.local.power_ipmi import Ipmi, parse_reading
from ghostdesk.engines.local.power_meter import (
    ASK_EVERY_S,
    STALE_AFTER_S,
    Background,
    GpuPower,
    PowerMeter,
    PowerOptions,
    ability,
    make_meter,
    power_options,
)
from ghostdesk.engines.local.power_rapl import Rapl
from ghostdesk.engines.local.power_redfish import Redfish, RedfishAddress
from ghostdesk.engines.protocol import Ability
from ghostdesk.kernel.errors import ConfigError


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def zone(folder: Path, name: str, called: str, energy: str, span: str = "262143328850") -> None:
    (folder / name).mkdir(exist_ok=True)
    for file, text in (("name", called), ("energy_uj", energy), ("max_energy_range_uj", span)):
        (folder / name / file).write_text(f"{text}\n")


def test_rapl_reads_packages_and_memory_once(tmp_path: Path) -> None:
    clock = Clock()
    rapl = Rapl(500.0, tmp_path, clock)
    assert rapl.sample() is None
    for name, called in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram")):
        zone(tmp_path, name, called, "1000000")
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", "1000000")
    (tmp_path / "dtpm").mkdir()
    first = rapl.sample()
    assert first is not None and first.power_w is None and "first reading" in first.problem
    clock.now_s += 0.05
    assert "too soon" in (rapl.sample() or first).problem
    clock.now_s += 1.95
    for name, energy in (("intel-rapl:0", "121000000"), ("intel-rapl:0:0", "91000000"), ("intel-rapl:0:1", "11000000")):
        (tmp_path / name / "energy_uj").write_text(energy)
    second = rapl.sample()
    assert second is not None
    assert (second.power_w, second.problem) == (pytest.approx(65.0), "")


@pytest.mark.parametrize("lie", ["", "-5", "nan", "9" * 40, "12 34"])
def test_rapl_that_lies_or_vanishes_gives_a_reason(tmp_path: Path, lie: str) -> None:
    clock = Clock()
    rapl = Rapl(500.0, tmp_path, clock)
    zone(tmp_path, "intel-rapl:0", "package-0", "1000000")
    rapl.sample()
    clock.now_s += 2
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text(lie)
    sample = rapl.sample()
    assert sample is not None and sample.power_w is None and sample.problem
    shutil.rmtree(tmp_path / "intel-rapl:0")
    assert Rapl(500.0, tmp_path, clock).sample() is None


DCMI = """
    Instantaneous power reading:                   {watts} Watts
    Minimum during sampling period:                  8 Watts
    IPMI timestamp:                           Thu Nov 26 10:00:00 2026
    Power reading state is:                   {state}
"""


def test_ipmi_answers() -> None:
    assert parse_reading(DCMI.format(watts="    220", state="activated")).power_w == 220.0
    off = parse_reading(DCMI.format(watts="      0", state="deactivated"))
    assert off.power_w is None and "ipmitool dcmi power activate" in off.problem
    assert parse_reading("rubbish").power_w is None


def test_ipmi_without_a_device_is_no_sensor_and_one_that_goes_is_told(tmp_path: Path) -> None:
    def runs(command: Sequence[str]) -> str:
        assert list(command) == ["ipmitool", "dcmi", "power", "reading"]
        return DCMI.format(watts="220", state="activated")

    ipmi = Ipmi(tmp_path, runs)
    assert ipmi.sample() is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/ipmi0").touch()
    assert ipmi.sample() == Sample("IPMI", Covers.HOST, 220.0)
    (tmp_path / "dev/ipmi0").unlink()
    assert "gone" in (ipmi.sample() or Sample("", Covers.HOST)).problem


def test_ipmi_that_hangs_or_fails_gives_a_reason(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/ipmi0").touch()

    def hangs(command: Sequence[str]) -> str:
        raise subprocess.TimeoutExpired(command, 8.0)

    def fails(command: Sequence[str]) -> str:
        raise ValueError("DCMI request failed because: Invalid command (c1)")

    assert "no answer within" in (Ipmi(tmp_path, hangs).sample() or Sample("", Covers.HOST)).problem
    assert "Invalid command" in (Ipmi(tmp_path, fails).sample() or Sample("", Covers.HOST)).problem


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Controller]:
    if shutil.which("openssl") is None:
        pytest.skip("not installed: openssl")
    with controller(tmp_path) as running:
        yield running


@pytest.fixture
def address(bmc: Controller, tmp_path: Path) -> RedfishAddress:
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_text(PASSWORD + "\n")
    return RedfishAddress(bmc.url, USER, secret, bmc.certificate)


def test_redfish_reads_the_chassis(bmc: Controller, address: RedfishAddress) -> None:
    assert Redfish(address).sample() == Sample("Redfish", Covers.HOST, 231.5)
    assert bmc.asked == ["/redfish/v1/Chassis", "/redfish/v1/Chassis/1", "/redfish/v1/Chassis/1/Power"]
    bmc.answers["/redfish/v1/Chassis/1"] = {"EnvironmentMetrics": {"@odata.id": "/redfish/v1/Chassis/1/Env"}}
    bmc.answers["/redfish/v1/Chassis/1/Env"] = {"PowerWatts": {"Reading": 99}}
    assert Redfish(address).sample().power_w == 99.0


def test_redfish_asks_which_of_several_chassis(bmc: Controller, address: RedfishAddress) -> None:
    links = [{"@odata.id": "/redfish/v1/Chassis/1"}, {"@odata.id": "/redfish/v1/Chassis/Blade2"}]
    bmc.answers["/redfish/v1/Chassis"] = {"Members": links}
    bmc.answers["/redfish/v1/Chassis/Blade2"] = {"Power": {"@odata.id": "/redfish/v1/Chassis/1/Power"}}
    assert "set power.redfish_chassis to one of 1, Blade2" in Redfish(address).sample().problem
    assert Redfish(replace(address, chassis="Blade2")).sample().power_w == 231.5
    assert Redfish(replace(address, chassis="3")).sample().problem == "no chassis 3 tells its power"


def test_redfish_trusts_no_other_certificate(address: RedfishAddress, tmp_path: Path, bmc: Controller) -> None:
    assert "its certificate is not trusted" in Redfish(replace(address, ca_file=None)).sample().problem
    (tmp_path / "other").mkdir()
    other, _ = make_certificate(tmp_path / "other")
    assert "its certificate is not trusted" in Redfish(replace(address, ca_file=other)).sample().problem
    by_number = replace(address, url=bmc.url.replace("localhost", "127.0.0.1"))
    assert "its certificate is not trusted" in Redfish(by_number).sample().problem
    assert bmc.asked == []
    assert "cannot be used" in Redfish(replace(address, ca_file=tmp_path / "none")).sample().problem


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/redfish/v1/Chassis", 500, "status 500"),
        ("/redfish/v1/Chassis", 301, "status 301"),
        ("/redfish/v1/Chassis", b"<html>", "no JSON"),
        ("/redfish/v1/Chassis", b"[" * 200_000, "no JSON"),
        ("/redfish/v1/Chassis", b"[]", "no object"),
        ("/redfish/v1/Chassis", b" " * 1_000_001, "larger than 1000000 bytes"),
        ("/redfish/v1/Chassis", {"Members": [{"@odata.id": "https://evil.example/redfish/v1/x"}]}, "no chassis tells"),
        ("/redfish/v1/Chassis", {"Members": [{"@odata.id": "/redfish/v1/../x"}, 7, {}]}, "no chassis tells"),
        ("/redfish/v1/Chassis", {"Members": 7}, "no chassis tells"),
        ("/redfish/v1/Chassis/1", {}, "no chassis tells"),
        ("/redfish/v1/Chassis/1/Power", {"PowerControl": [{"PowerConsumedWatts": None}]}, "no chassis tells"),
        ("/redfish/v1/Chassis/1/Power", {"PowerControl": "many"}, "no chassis tells"),
    ],
)
def test_redfish_answers_that_are_wrong(
    bmc: Controller, address: RedfishAddress, path: str, answer: object, said: str
) -> None:
    bmc.answers[path] = answer
    sample = Redfish(address).sample()
    assert sample.power_w is None
    assert said in sample.problem


def test_redfish_never_shows_the_password(address: RedfishAddress, tmp_path: Path, bmc: Controller) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("Sesame-9931\n")
    refused = Redfish(replace(address, password_file=wrong))
    said = [refused.sample().problem, repr(refused), repr(address)]
    assert "it refuses power.redfish_user" in said[0]
    wrong.chmod(0o640)
    said.append(Redfish(replace(address, password_file=wrong)).sample().problem)
    assert "others can read" in said[-1]
    said.append(Redfish(replace(address, password_file=tmp_path / "none")).sample().problem)
    assert "cannot be read" in said[-1]
    assert not [text for text in said if "Sesame" in text or PASSWORD in text or "Basic" in text]


@pytest.mark.parametrize(
    "url", ["http://bmc.example", "https://", "bmc.example", "https://u:p@bmc.example", "https://b:x", "https://b/path"]
)
def test_addresses_that_are_none_are_refused_without_showing_them(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"power\.redfish_url") as caught:
        RedfishAddress(url, "reader", tmp_path / "x")
    assert "u:p" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"power\.redfish_user"):
        RedfishAddress("https://bmc.example", "", tmp_path / "x")


def test_a_slow_sensor_never_holds_up_the_reading() -> None:
    clock, release, asked = Clock(), threading.Event(), []

    class Slow:
        name = "IPMI"

        def sample(self) -> Sample:
            asked.append(clock.now_s)
            release.wait(20)
            return Sample("IPMI", Covers.HOST, 200.0)

    slow = Background(Slow(), Covers.HOST, clock)
    meter = PowerMeter([slow], PowerLine(40.0, 120.0, "given"), lambda: 500.0)
    assert meter.read(0.0).modelled
    clock.now_s += STALE_AFTER_S + 1
    assert meter.read(0.0).problem == "IPMI: no answer for 45 s"
    assert len(asked) == 1  # it still hangs: not asked a second time
    release.set()
    slow.wait(20)
    reading = meter.read(0.0)
    assert (reading.power_w, reading.source, reading.modelled) == (200.0, "IPMI", False)
    slow.wait(20)
    clock.now_s += ASK_EVERY_S
    meter.read(0.0)
    slow.wait(20)
    assert asked == [100.0, 146.0, 156.0]


def test_a_command_that_reads_once_waits_for_slow_sensors(tmp_path: Path) -> None:
    class Quick:
        name = "IPMI"

        def sample(self) -> Sample:
            return Sample("IPMI", Covers.HOST, 200.0)

    meter = PowerMeter([Background(Quick(), Covers.HOST)], PowerLine(40.0, 120.0, "given"), lambda: 500.0)
    reading = meter.read_once(0.0, 5.0)
    assert reading.power_w == 200.0
    assert ability(reading) == Ability("power", True, "200 W by IPMI", "")
    modelled = ability(PowerMeter([], PowerLine(40.0, 120.0, "given"), lambda: 500.0).read_once(0.0, 0.0))
    assert not modelled.available
    assert modelled.detail == "40 W by model (given: 40 W idle, 120 W busy)"
    assert modelled.mend


def options(**given: object) -> PowerOptions:
    plain = {"idle_w": 0.0, "busy_w": 0.0, "most_w": 0.0, "ipmi": True}
    redfish = {f"redfish_{name}": None for name in ("password_file", "ca_file")}
    texts = {f"redfish_{name}": "" for name in ("url", "user", "chassis")}
    return power_options(**{**plain, **redfish, **texts, **given})  # type: ignore[arg-type]


def test_the_settings_make_the_meter(tmp_path: Path) -> None:
    assert options() == PowerOptions()
    host = Gpus(gpu_tree.Tree(tmp_path))
    assert "assumed for 4 cores" in make_meter(options(ipmi=False), host, 4).read(0.5).source
    given = make_meter(options(idle_w=48.0, busy_w=132.0, ipmi=False), host, 4).read(0.5)
    assert (given.power_w, given.source, given.modelled) == (90.0, "model (as set: 48 W idle, 132 W busy)", True)
    with pytest.raises(ConfigError, match=r"power\.redfish_password_file is missing"):
        options(redfish_url="https://bmc.example", redfish_user="reader")
    with_one = options(redfish_url="https://bmc.example", redfish_user="reader", redfish_password_file=tmp_path / "x")
    assert with_one.redfish is not None


def test_gpus_are_summed_and_their_lies_are_told() -> None:
    told = [GpuReading("a", 70.0), GpuReading("b", 30.0), GpuReading("c", None, problem="power: nan cannot be true")]
    sample = GpuPower(lambda: told).sample()
    assert sample == Sample("2 GPU(s)", Covers.GPUS, 100.0, "power: nan cannot be true")
    assert GpuPower(list).sample() is None
    assert GpuPower(lambda: [GpuReading("a", problem="i915 tells neither power nor use")]).sample() is None

"""The account of energy while the service runs, and the signal: measured and modelled apart, nothing guessed."""

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.allocator.energy_model import SERVER
from ghostdesk.allocator.energy_signal import EnergySignal
from ghostdesk.control.energy_account import LONGEST_GAP_S, EnergyAccount
from ghostdesk.control.energy_feed import EnergyFeed
from ghostdesk.control.energy_signal_source import SignalAddress, SignalFile, signal_source
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.conditions import HostConditions, PowerReading
from ghostdesk.kernel.errors import ConfigError


class Clock:
    def __init__(self) -> None:
        self.at_s = 1_000_000.0

    def now_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds


def watts(power_w: float, *, modelled: bool = False) -> PowerReading:
    return PowerReading(power_w, "a sensor", modelled)


def test_watts_over_time_are_joules_measured_and_modelled_apart() -> None:
    account = EnergyAccount(0.0).add(0.0, watts(100.0)).add(10.0, watts(200.0)).add(20.0, watts(200.0, modelled=True))
    assert account.measured_j == 1_500.0
    assert account.modelled_j == 2_000.0
    assert account.known_s == 20.0


def test_time_without_readings_is_unknown_not_guessed() -> None:
    account = EnergyAccount(0.0).add(0.0, watts(100.0)).add(LONGEST_GAP_S + 1.0, watts(100.0))
    assert account.measured_j == 0.0
    assert account.unknown_s == LONGEST_GAP_S + 1.0
    account = account.add(account.unknown_s + 10.0, None)
    assert account.unknown_s == LONGEST_GAP_S + 11.0


def test_what_sleeping_hosts_save_is_counted_less_their_wakes() -> None:
    account = EnergyAccount(0.0).add(0.0, watts(100.0)).add(100.0, watts(100.0), saved_w=108.0).spend(800.0)
    assert account.saved_j == 10_000.0


@given(st.lists(st.tuples(st.floats(-1e3, 1e6), st.floats(allow_nan=True), st.booleans()), max_size=30))
def test_lying_sensors_and_clocks_never_take_energy_away(told: list[tuple[float, float, bool]]) -> None:
    account, before = EnergyAccount(0.0), 0.0
    for now_s, power_w, modelled in told:
        account = account.add(now_s, PowerReading(power_w, "x", modelled))
        drawn = account.measured_j + account.modelled_j
        assert drawn >= before
        assert math.isfinite(drawn)
        before = drawn


def conditions(clock: Clock, use: float, power: PowerReading | None = None) -> HostConditions:
    return HostConditions(clock.now_s(), cpu_share=use, power=power)


async def test_without_a_sensor_the_model_answers_and_says_so() -> None:
    clock = Clock()
    feed = EnergyFeed(SERVER, lambda: conditions(clock, 0.5), clock)
    feed.note()
    await clock.sleep(60.0)
    feed.note()
    view = feed.view()
    assert view.modelled
    assert view.power_w == SERVER.power_w(0.5)
    assert "assumed" in view.source
    assert view.modelled_kwh == pytest.approx(180.0 * 60.0 / 3.6e6)
    assert view.measured_kwh == 0.0
    assert "no sensor" in view.fitted_problem


async def test_readings_of_a_sensor_calibrate_the_model() -> None:
    clock = Clock()
    at = {"use": 0.0}
    feed = EnergyFeed(SERVER, lambda: conditions(clock, at["use"], watts(80.0 + 60.0 * at["use"])), clock)
    for step in range(120):
        at["use"] = (step % 11) / 10.0
        feed.note()
        await clock.sleep(10.0)
    view = feed.view()
    assert not view.modelled
    assert view.fitted_problem == ""
    assert view.fitted_idle_w == pytest.approx(80.0, abs=0.5)
    assert view.fitted_busy_w == pytest.approx(140.0, abs=0.5)
    assert view.measured_kwh > 0.0


async def test_what_waiting_ghosts_add_is_told() -> None:
    held = [(GhostState.READY, 1024.0**3), (GhostState.CACHED, 5e9)]
    feed = EnergyFeed(SERVER, lambda: None, Clock(), held=lambda: held)
    assert feed.view().held_w == pytest.approx(SERVER.memory_w_per_gib)


async def test_nothing_read_is_nothing_drawn() -> None:
    feed = EnergyFeed(SERVER, lambda: None, Clock())
    feed.note()
    assert feed.view().power_w is None


class Source:
    def __init__(self, *answers: EnergySignal | ConfigError) -> None:
        self.answers = list(answers)

    def read(self) -> EnergySignal:
        answer = self.answers.pop(0)
        if isinstance(answer, ConfigError):
            raise answer
        return answer


async def test_a_signal_that_fails_leaves_the_last_one_until_it_is_stale() -> None:
    clock = Clock()
    hours = tuple(clock.at_s + 3_600.0 * h for h in range(-3, 3))
    source = Source(EnergySignal(hours, (10.0, 10.0, 10.0, 30.0, 10.0, 10.0)), ConfigError("It is gone."))
    feed = EnergyFeed(SERVER, lambda: None, clock, source)
    await feed.renew_signal()
    assert feed.worth().factor == 3.0
    await feed.renew_signal()  # too soon: not asked again
    assert len(source.answers) == 1
    await clock.sleep(1_000.0)
    await feed.renew_signal()
    assert feed.worth().factor == 3.0
    assert "It is gone" in feed.view().problem
    await clock.sleep(86_400.0)
    assert feed.worth().factor == 1.0
    assert feed.worth().reason.code == "stale"


async def test_a_signal_that_was_never_read_changes_nothing_and_says_why() -> None:
    feed = EnergyFeed(SERVER, lambda: None, Clock(), Source(ConfigError("It is rubbish.")))
    await feed.renew_signal()
    assert feed.worth().factor == 1.0
    assert "rubbish" in feed.view().worth_reason


def test_signals_are_read_from_files_and_odd_ones_refused(tmp_path: Path) -> None:
    good, bad, pipe = tmp_path / "good.csv", tmp_path / "bad.csv", tmp_path / "pipe"
    good.write_text("time,value\n2026-01-01T00:00Z,5\n")
    bad.write_bytes(b"\xff\xfe\x00rubbish")
    os.mkfifo(pipe)
    assert SignalFile(good).read().values == (5.0,)
    for path, why in (
        (bad, "no signal"),
        (pipe, "no file"),
        (tmp_path / "none", "cannot be read"),
        (tmp_path, "no file"),
    ):
        with pytest.raises(ConfigError, match=why):
            SignalFile(path).read()


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://example.org/", "https://user:secret@example.org/", "https://127.0.0.1:1/x"]
)
def test_addresses_that_are_not_to_be_trusted_are_refused_without_their_secrets(url: str) -> None:
    source = signal_source(url)
    assert isinstance(source, SignalAddress)
    with pytest.raises(ConfigError) as told:
        source.read()
    assert "secret" not in str(told.value)


def test_no_setting_is_no_signal() -> None:
    assert signal_source("") is None
    assert isinstance(signal_source("/somewhere/file.csv"), SignalFile)

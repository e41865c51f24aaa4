"""Parsers of the kernel's files: what they read, and that rubbish is refused, never believed."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local.condition_files import (
    host_cards,
    parse_counter,
    parse_pressure,
    parse_zram_memory,
    throttle_counters,
    zram_memory_bytes,
)
from ghostdesk.kernel.conditions import Pressure

RUBBISH = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(
            [
                "some ",
                "full ",
                "avg10=",
                "avg60=",
                "total=",
                "nan",
                "-1",
                "101",
                "inf",
                "7.5",
                "9" * 400,
                "\n",
                " ",
                "=",
            ]
        ),
        max_size=30,
    ).map("".join),
)


def test_pressure_of_a_real_file() -> None:
    text = "some avg10=12.50 avg60=3.00 avg300=0.67 total=5383006\nfull avg10=1.00 avg60=0.50 avg300=0.00 total=70\n"
    found = parse_pressure("io", text)
    assert found == Pressure("io", 0.125, 0.03, 5.383006, 0.01, 0.005, 70e-6)


def test_irq_pressure_has_full_alone_and_kinds_to_come_are_passed_over() -> None:
    found = parse_pressure("irq", "full avg10=2.00 avg60=1.00 avg300=0.0 total=9\nmany avg10=x\n")
    assert (found.some_10s, found.full_10s) == (0.0, 0.02)


@pytest.mark.parametrize("text", ["", "some", "some avg10=nan avg60=0 total=0", "full avg10=5 avg60=5"])
def test_what_is_no_pressure_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_pressure("cpu", text)


@given(RUBBISH)
def test_rubbish_is_refused_or_gives_shares(text: str) -> None:
    try:
        found = parse_pressure("cpu", text)
    except ValueError:
        return
    assert all(0.0 <= value <= 1.0 for value in (found.some_10s, found.some_60s, found.full_10s, found.full_60s))
    assert math.isfinite(found.some_total_s) and found.some_total_s >= 0.0


@given(RUBBISH)
def test_rubbish_for_counters(text: str) -> None:
    for parse in (lambda: parse_counter(text, "some"), lambda: parse_zram_memory(text)):
        try:
            assert parse() >= 0
        except ValueError:
            continue


def test_counters() -> None:
    assert parse_counter("pswpin 3\noom_kill 7\n", "oom_kill") == 7
    assert parse_zram_memory("  4096 70 12288 0 12288 0 0 0 0\n") == 12288


def test_zram_devices_are_added_up_and_one_without_figures_takes_none(tmp_path: Path) -> None:
    for name, text in (("zram0", "1 1 100 0 0"), ("zram1", "1 1 50 0 0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mm_stat").write_text(text)
    (tmp_path / "zram2").mkdir()
    assert zram_memory_bytes(tmp_path) == 150


def test_cards_with_a_device_behind_them_lead_out(tmp_path: Path) -> None:
    for name in ("lo", "veth1", "eth0", "ifb0"):
        (tmp_path / name).mkdir()
    assert host_cards(tmp_path) == ("eth0",)  # a container's cards are all virtual
    (tmp_path / "eno1/device").mkdir(parents=True)
    assert host_cards(tmp_path) == ("eno1",)


def test_one_heat_counter_a_package(tmp_path: Path) -> None:
    for cpu, package in ((0, 0), (1, 0), (2, 1)):
        for folder, name, text in (
            ("thermal_throttle", "package_throttle_count", "1"),
            ("topology", "physical_package_id", f"{package}\n"),
        ):
            (tmp_path / f"cpu{cpu}/{folder}").mkdir(parents=True)
            (tmp_path / f"cpu{cpu}/{folder}/{name}").write_text(text)
    assert [path.parts[-3] for path in throttle_counters(tmp_path)] == ["cpu0", "cpu2"]

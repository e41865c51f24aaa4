"""New usage curves: judged on held-out hours by resource, kept, live, rolled back, and served."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ghostdesk.config import Settings, StateSettings
from ghostdesk.kernel.errors import Conflict, ImportFileError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.training import curves as curves_module
from ghostdesk.training.curve_hours import CurveHours
from ghostdesk.training.curves import CurveTrainReport, curves_folder, train_curves_on
from ghostdesk.training.registry import CurveRegistry, load_current_curves
from ghostdesk.training.sources import HistorySource
from ghostdesk.wiring import make_profiles

HOUR = 3600.0
START_S = 473_352 * HOUR  # Monday, midnight
DAYS = 15
NOW_S = START_S + DAYS * 24 * HOUR


def desktops(people: int = 12, days: int = DAYS) -> list[UsageEvent]:
    """Synthetic: CPU is low, and high for two hours a day, later for some; memory never changes."""
    rng = np.random.default_rng(5)
    events = []
    for hour in range(days * 24):
        for person in range(people):
            user, time_s = UserId(f"synthetic{person}"), START_S + hour * HOUR + 60.0 * person
            high = 3.0 if 9 <= hour % 24 - person % 3 < 11 else 0.2
            events.append(UsageEvent(time_s, EventKind.CPU, user, value=high * float(rng.gamma(16.0, 1 / 16.0))))
            events.append(UsageEvent(time_s, EventKind.MEMORY, user, value=1e9))
    return events


@pytest.fixture(scope="module")
def events() -> list[UsageEvent]:
    return desktops()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less training than an operator's, for the time that tests may take."""
    quick = replace(curves_module._OPTIONS, rows=600, members=1, batch=64)
    monkeypatch.setattr(curves_module, "_OPTIONS", quick)
    monkeypatch.setattr(curves_module, "_ROWS_JUDGED", 400)


def trained(folder: Path, events: list[UsageEvent], **options: object) -> CurveTrainReport:
    source = HistorySource("a list", lambda: "same", lambda _notes: iter(events))
    given = {"identity": "same", **options}
    return train_curves_on(source, CurveHours(NOW_S), folder, **given)  # type: ignore[arg-type]


def test_a_better_model_goes_live_by_resource_and_the_service_serves_it(
    tmp_path: Path, events: list[UsageEvent]
) -> None:
    shares: list[float] = []
    report = trained(tmp_path, events, told=lambda _what, share: shares.append(share))
    by_name = {one.resource: one for one in report.resources}
    cpu = by_name["cpu_cores"]
    assert report.live and report.model is not None and report.model.live
    assert cpu.better and cpu.high is not None and cpu.high < 0.0
    assert cpu.challenger is not None and cpu.champion is not None and cpu.challenger < cpu.champion
    assert not by_name["memory_bytes"].better, "what never changes is forecast rightly by anybody"
    assert by_name["gpu_share"].reason == "never measured"
    assert shares[-1] == 1.0 and shares == sorted(shares)
    models, problem = load_current_curves(curves_folder(tmp_path))
    assert set(models) == {"cpu_cores"} and not problem
    engine = make_profiles(Settings(state=StateSettings(directory=tmp_path)))
    assert set(engine._curve_models) == {"cpu_cores"}


def test_the_same_history_again_is_no_better_and_a_rollback_leads_back(
    tmp_path: Path, events: list[UsageEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(tmp_path, events).model
    again = trained(tmp_path, events)
    assert first is not None and again.model is not None
    assert not again.live
    assert {one.against for one in again.resources if one.resource == "cpu_cores"} == {"the present model"}
    registry = CurveRegistry(curves_folder(tmp_path))
    registry.promote(again.model, "by hand", NOW_S)
    assert registry.rollback(NOW_S).after == first.name
    assert load_current_curves(curves_folder(tmp_path))[0].keys() == {"cpu_cores"}


def test_equal_hours_and_seeds_give_equal_files(tmp_path: Path, events: list[UsageEvent]) -> None:
    one, other = (trained(tmp_path / place, events).model for place in "ab")
    assert one is not None and other is not None
    assert one.digest == other.digest


def test_no_promote_keeps_it_aside(tmp_path: Path, events: list[UsageEvent]) -> None:
    report = trained(tmp_path, events, promote=False)
    assert not report.live and "--no-promote" in report.reason
    assert load_current_curves(curves_folder(tmp_path)) == ({}, "")


@pytest.mark.parametrize(
    ("some", "reason"),
    [
        (lambda events: [UsageEvent(START_S, EventKind.SIGN_IN, UserId("ada"))], "no samples of whole desktops"),
        (lambda events: events[:600], "no resource has enough history"),
    ],
)
def test_histories_that_teach_nothing_are_said_and_keep_nothing(
    tmp_path: Path, events: list[UsageEvent], some: object, reason: str
) -> None:
    report = trained(tmp_path, some(events))  # type: ignore[operator]
    assert report.model is None and not report.live
    assert reason in report.reason
    assert CurveRegistry(curves_folder(tmp_path)).versions() == []


def test_an_empty_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="no events"):
        trained(tmp_path, [])


def test_one_person_has_no_interval_but_a_model(tmp_path: Path, events: list[UsageEvent]) -> None:
    report = trained(tmp_path, [event for event in events if event.user == UserId("synthetic0")])
    cpu = next(one for one in report.resources if one.resource == "cpu_cores")
    assert cpu.people == 1 and cpu.low is None
    assert cpu.challenger is not None


def test_a_deletion_meanwhile_throws_the_curves_away(tmp_path: Path, events: list[UsageEvent]) -> None:
    with pytest.raises(Conflict, match="deleted"):
        trained(tmp_path, events, identity="as it was before")
    assert CurveRegistry(curves_folder(tmp_path)).versions() == []


def test_what_was_taken_in_already_is_not_read_again(tmp_path: Path, events: list[UsageEvent]) -> None:
    def read_again(_notes: object) -> Iterator[UsageEvent]:
        raise AssertionError("read again")

    hours = CurveHours(NOW_S)
    for event in events[:100]:
        hours.add(event)
    source = HistorySource("a list", lambda: "same", read_again)
    assert train_curves_on(source, hours, tmp_path, identity="same").samples == 100


@pytest.mark.parametrize("damage", ["half", "empty", "foreign", "flipped"])
def test_a_damaged_file_is_told_and_forecasts_stay_sane(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    registry = CurveRegistry(curves_folder(tmp_path))
    header = curves_module.CurveHeader(NOW_S, "data", {"cpu_cores_quantile_loss": 0.4})
    version = registry.add(header, {"cpu_cores": CurveModel.untrained(2.0)}, "fine")
    registry.promote(version, "first", NOW_S)
    assert load_current_curves(curves_folder(tmp_path))[0]["cpu_cores"].pool_scale == 2.0
    data = bytearray(version.path.read_bytes())
    bad = {"half": data[: len(data) // 2], "empty": b"", "foreign": b"PK\x03\x04" * 50, "flipped": data[:-1] + b"!"}
    version.path.write_bytes(bad[damage])
    models, problem = load_current_curves(curves_folder(tmp_path))
    assert models == {}
    assert "usage curves are not used" in problem and "ghostdesk model rollback --curves" in problem
    with caplog.at_level(logging.WARNING):
        engine = make_profiles(Settings(state=StateSettings(directory=tmp_path)))
    assert "usage curves are not used" in caplog.text
    for event in desktops(people=2, days=2):
        engine.observe(event)
    found = engine.usage_curve(UserId("synthetic0"), START_S + 48 * HOUR, 24 * HOUR, HOUR).quantiles
    assert found is not None and 0.0 < found.amounts["cpu_cores"][0][6] < 10.0

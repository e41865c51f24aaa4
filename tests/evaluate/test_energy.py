"""Energy of a fleet against always on: exact on small logs, and never better than somebody who knows the future."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ghostdesk.allocator.energy_hosts import FleetRules
from ghostdesk.allocator.energy_model import DESKTOP_PC, SERVER
from ghostdesk.cli import app
from ghostdesk.evaluate.energy import evaluate_energy
from ghostdesk.evaluate.energy_lives import EnergyAssumptions
from ghostdesk.evaluate.energy_log import DesktopTimes, count_at, desktop_times, forgotten, merged, overlap
from ghostdesk.evaluate.energy_seats import SeatWorld, pooled, sleeping_after
from ghostdesk.evaluate.energy_world import FleetNeeds, FleetWorld, live_through, uses_in_order
from ghostdesk.evaluate.pool_world import PoolCost
from ghostdesk.evaluate.readers import read_states
from ghostdesk.kernel.errors import ImportFileError

HOUR = 3_600.0
DAY = 24 * HOUR


def desktop(name: str, *uses: tuple[float, float], on: tuple[float, float] = (0.0, 10 * DAY)) -> DesktopTimes:
    starts, ends = (np.array([use[k] for use in uses]) for k in (0, 1))
    return DesktopTimes(name, np.array([on]), starts, ends)


def working_days(desktops: int, days: int) -> list[DesktopTimes]:
    """Everybody comes between 9 and 10 and works for 4 hours."""
    return [
        desktop(
            f"d{k}",
            *((d * DAY + 9 * HOUR + 3_500.0 * k / desktops, d * DAY + 13 * HOUR + 60.0 * k) for d in range(days)),
            on=(0.0, days * DAY),
        )
        for k in range(desktops)
    ]


spans = st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)).map(lambda p: (min(p), max(p))), max_size=12)


@given(spans, spans)
@settings(max_examples=40)
def test_unions_and_overlaps_are_those_of_the_moments_in_them(
    one: list[tuple[float, float]], other: list[tuple[float, float]]
) -> None:
    a, b = (merged(np.array(x).reshape(-1, 2)) for x in (one, other))
    at_s = np.linspace(-1.0, 10_001.0, 120)
    for told, union in ((one, a), (other, b)):
        inside = np.array([any(s <= t < e for s, e in told) for t in at_s])
        assert np.array_equal(count_at(union, at_s) > 0, inside)
        assert np.all(union[1:, 0] > union[:-1, 1])
    both = count_at(overlap(a, b), at_s)
    assert np.array_equal(both > 0, (count_at(a, at_s) > 0) & (count_at(b, at_s) > 0))


def test_a_log_tells_when_desktops_are_on(tmp_path: Path) -> None:
    log = tmp_path / "states.csv"
    log.write_text(
        "desktop,state,time\n"
        "a,available,2015-01-01 08:00:00\na,in-use,2015-01-01 09:00:00\na,available,2015-01-01 10:00:00\n"
        "a,offline,2015-01-01 12:00:00\na,restarted,2015-01-01 15:00:00\nb,in-use,2015-01-01 16:00:00\n"
        "b,offline,2015-01-01 17:00:00\n"
    )
    times, _ = desktop_times(read_states(log))
    hours = {one.name: ((one.on_s - one.on_s[0, 0]) / HOUR).tolist() for one in times}
    assert hours == {"a": [[0.0, 4.0], [7.0, 9.0]], "b": [[0.0, 1.0]]}


def test_a_use_that_lasts_too_long_is_cut_and_its_rest_is_told() -> None:
    cut, parts = forgotten([desktop("a", (0.0, 20 * HOUR), (30 * HOUR, 31 * HOUR))], 12 * HOUR)
    assert cut[0].end_s.tolist() == [12 * HOUR, 31 * HOUR]
    assert parts.tolist() == [[12 * HOUR, 20 * HOUR]]


def test_a_seat_that_sleeps_after_an_hour_counts_to_the_joule() -> None:
    one = desktop("a", (1 * HOUR, 2 * HOUR), (2.5 * HOUR, 3 * HOUR), (10 * HOUR, 11 * HOUR), on=(0.0, 24 * HOUR))
    world = SeatWorld(0.0, 24 * HOUR, DESKTOP_PC, SERVER, 0.1, 0.0, 100)
    always = sleeping_after([one], world, math.inf)
    assert (always.late, always.wakes, always.starts) == (0, 0, 3)
    assert always.energy_j == pytest.approx((50.0 * 24 + 40.0 * 0.1 * 2.5) * HOUR)
    timed = sleeping_after([one], world, HOUR)
    assert (timed.late, timed.wakes) == (1, 2)  # asleep from 4 to 10, and from 12 on
    assert timed.asleep_s == 18 * HOUR
    cycles_j = 2 * (60.0 - 2.0) * 15.0
    assert timed.energy_j == pytest.approx((50.0 * 6 + 2.0 * 18 + 40.0 * 0.1 * 2.5) * HOUR + cycles_j)
    foreseen = sleeping_after([one], world, 0.0, foreseen=True)
    assert foreseen.late == 0
    assert foreseen.energy_j < timed.energy_j
    assert sleeping_after([one], world, HOUR, consolidated=True).server_j == pytest.approx(120.0 * 24 * HOUR)


def test_seats_that_a_pool_keeps_awake_count_to_the_joule() -> None:
    times = [desktop(f"d{k}", (HOUR, 3 * HOUR), on=(0.0, 24 * HOUR)) for k in range(3)]
    world = SeatWorld(0.0, 24 * HOUR, DESKTOP_PC, SERVER, 0.1, 0.0, 100)
    pool = PoolCost(3, 1, 5 * HOUR, 4, 0.0, 0, (1, 1), {})
    cost = pooled(times, world, pool, np.zeros((0, 2)))
    assert cost.asleep_s == (72 - 6 - 5) * HOUR
    wakes_j = 4 * ((60.0 - 50.0) * 5.0 + (60.0 - 2.0) * 10.0)
    assert cost.energy_j == pytest.approx((50.0 * 11 + 2.0 * 61 + 40.0 * 0.1 * 6) * HOUR + wakes_j)
    assert cost.late_share == pytest.approx(1 / 3)
    parked = pooled(times, world, pool, np.array([[HOUR, 2 * HOUR]]))
    assert parked.server_j == pytest.approx(120.0 * 24 * HOUR)


def test_a_seat_that_was_off_until_its_start_counts_for_nobody() -> None:
    one = DesktopTimes("a", np.array([[0.0, HOUR], [5 * HOUR, 9 * HOUR]]), np.array([5 * HOUR]), np.array([6 * HOUR]))
    world = SeatWorld(0.0, 24 * HOUR, DESKTOP_PC, SERVER, 0.1, 0.0, 100)
    assert sleeping_after([one], world, 60.0).starts == 0


def fleet(times: list[DesktopTimes], *, days: int, ghosts: int, room: int, moves: bool = True) -> tuple[object, int]:
    start_s, end_s = (np.concatenate([getattr(one, name) for one in times]) for name in ("start_s", "end_s"))
    row = np.repeat(np.arange(len(times)), [len(one.start_s) for one in times])
    world = FleetWorld(
        0.0, days * DAY, 4, 8, 120.0, SERVER, 0.3, 0.02, 4_000.0, FleetRules(settle_s=600.0, moves=moves)
    )
    minutes = np.ones(days * 1_440, dtype=np.int64)
    needs = FleetNeeds(ghosts * minutes, room * minutes, 0 * minutes, 4 * minutes)
    return live_through(world, *uses_in_order(start_s, end_s, row, len(times)), needs), len(start_s)


def test_hosts_sleep_at_night_and_wake_for_the_morning() -> None:
    cost, starts = fleet(working_days(20, 5), days=5, ghosts=3, room=4)
    assert cost.starts == starts  # type: ignore[attr-defined]
    assert cost.active_s == pytest.approx(sum(float((d.end_s - d.start_s).sum()) for d in working_days(20, 5)))  # type: ignore[attr-defined]
    hosts = cost.awake_s / (5 * DAY)  # type: ignore[attr-defined]
    assert 1.0 <= hosts < 2.5  # of 4
    assert cost.crowded == 0  # type: ignore[attr-defined]
    assert cost.miss_share < 0.05  # type: ignore[attr-defined]


def test_without_ghosts_every_start_misses_and_is_served_all_the_same() -> None:
    cost, starts = fleet(working_days(20, 3), days=3, ghosts=0, room=0)
    assert cost.misses == starts  # type: ignore[attr-defined]
    assert cost.ghost_s == 0.0  # type: ignore[attr-defined]
    assert cost.active_s > 0.0  # type: ignore[attr-defined]


@given(
    st.lists(st.tuples(st.floats(0.0, DAY), st.floats(60.0, 8 * HOUR)), min_size=1, max_size=40),
    st.integers(0, 5), st.integers(0, 12), st.booleans(),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_whatever_people_do_time_is_conserved(
    uses: list[tuple[float, float]], ghosts: int, room: int, moves: bool
) -> None:
    times = [desktop(f"d{k}", (start, start + length)) for k, (start, length) in enumerate(uses)]
    cost, starts = fleet(times, days=2, ghosts=ghosts, room=room, moves=moves)
    used_s = sum(min(s + length, 2 * DAY) - s for s, length in uses)
    assert cost.active_s == pytest.approx(used_s)  # type: ignore[attr-defined]
    assert DAY * 2 - 1.0 <= cost.awake_s <= 4 * 2 * DAY + 1.0  # type: ignore[attr-defined]
    assert 0 <= cost.misses <= starts  # type: ignore[attr-defined]
    assert cost.energy_j > 0.0  # type: ignore[attr-defined]


ASSUMED = EnergyAssumptions(slots=4, pool_policy="static:3", room_policy="static:5", seat_policy="static:1")


def test_the_report_ranks_as_it_must() -> None:
    report = evaluate_energy(working_days(12, 12), ASSUMED, train_until_s=7 * DAY, sensitivity=False)
    assert report.modelled
    assert report.starts == 12 * 5
    assert report.on_hours == pytest.approx(12 * 24 * 5, rel=0.01)
    for lines in (report.hosted, report.seats):
        assert lines[0].saved == 0.0
        bound = lines[-1]
        assert bound.miss_share == 0.0
        told = [one for one in lines[1:-1] if "left open" not in one.name]
        assert all(one.saved < bound.saved for one in told)
    ours = next(one for one in report.hosted if one.name.startswith("ghostdesk: desktops are moved"))
    assert ours.saved > 0.2


def test_other_assumptions_are_tried() -> None:
    few = replace(ASSUMED, pool_policy="static:1", room_policy="static:1")
    report = evaluate_energy(working_days(8, 9), few, train_until_s=7 * DAY, sensitivity=True)
    told = {one.what: one for one in report.sensitivity}
    assert told["2 W asleep"].saved_moving > told["30 W asleep"].saved_moving
    assert told["5 s to wake"].saved is None
    seats = {one.what: one for one in report.seat_sensitivity}
    assert seats["1 W asleep"].saved > seats["5 W asleep"].saved
    base = next(one for one in report.seats if "a seat that is awake" in one.name)
    assert seats["2 W asleep"].saved == pytest.approx(base.saved)


def test_a_patient_expectation_forgives_a_seat_that_wakes_soon() -> None:
    times = working_days(4, 10)
    strict = evaluate_energy(times, ASSUMED, train_until_s=7 * DAY, sensitivity=False).seats[1]
    lax = evaluate_energy(times, replace(ASSUMED, expectation_s=10.0), train_until_s=7 * DAY, sensitivity=False).seats[
        1
    ]
    assert strict.miss_share > 0.0
    assert (lax.miss_share, strict.beyond_patience) == (0.0, 0.0)


def test_nothing_left_to_judge_is_said() -> None:
    with pytest.raises(ImportFileError, match="No start is left"):
        evaluate_energy(working_days(2, 3), ASSUMED, train_until_s=50 * DAY)
    with pytest.raises(ImportFileError, match="ever in use"):
        evaluate_energy([desktop("a")], ASSUMED)


def test_the_command_prints_its_assumptions_and_writes_json(tmp_path: Path) -> None:
    log, told = tmp_path / "states.csv", tmp_path / "energy.json"
    rows = ["desktop,state,time"]
    for day in range(1, 15):
        for k in range(6):
            rows += [
                f"d{k},in-use,2015-01-{day:02d} 09:{k * 3:02d}:00",
                f"d{k},available,2015-01-{day:02d} 12:{k:02d}:00",
            ]
    log.write_text("\n".join(rows) + "\n")
    options = ["--train-until", "2015-01-08", "--slots", "2", "--no-sensitivity", "--jobs", "1", "--json", str(told)]
    done = CliRunner().invoke(app, ["evaluate", "energy", str(log), *options])
    assert done.exit_code == 0, done.output
    assert "Assumed, not measured" in done.output
    report = json.loads(told.read_text())["report"]
    assert report["modelled"] is True
    assert report["assumptions"]["server"]["idle_w"] == 120.0
    assert report["hosted"][0]["name"] == "always on"
    refused = CliRunner().invoke(app, ["evaluate", "energy", str(log), "--idle-w", "300"])
    assert refused.exit_code != 0

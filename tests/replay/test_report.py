"""The report: advice, and the page as a golden file of a tiny history."""

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.evaluate.json_out import plain
from ghostdesk.replay.history import Window, sessions_of
from ghostdesk.replay.metrics import CostModel
from ghostdesk.replay.report import ReplayReport, advise, build_report
from ghostdesk.replay.report_html import render_html
from ghostdesk.replay.run import Point, ReplayJob, replay_all
from ghostdesk.replay.world import ReplayFigures

MONDAY_S = 1_735_516_800.0
HOUR_S = 3_600.0
GOLDEN = Path(__file__).parent / "golden" / "tiny.html"


def _job(names: tuple[str, ...] = ("d1", "d2", "d3"), model: CostModel | None = None) -> ReplayJob:
    """Two days; every hour from 8 to 17 one person, and three at once at noon."""
    rows = []
    for place, name in enumerate(names):
        hours = [h for day in (0, 24) for h in range(day + 8, day + 18) if h % 3 == place or h % 24 == 12]
        start_s = MONDAY_S + HOUR_S * np.array(hours, dtype=np.float64)
        rows.append(RowUse(name, start_s, start_s + 1800.0, np.zeros(len(hours)), float(start_s[-1])))
    sessions = sessions_of(rows, named=False, notes=("1 row was mended.",))
    window = Window(MONDAY_S, MONDAY_S + 48 * HOUR_S)
    return ReplayJob(sessions, window, ReplayFigures(hand_over_s=1.0, ceiling=9), model or CostModel(), "UTC")


def _points(job: ReplayJob) -> list[Point]:
    found = replay_all(job, ["static:1", "static:2", "static:3"], 1)
    return [replace(point, wall_s=0.0, cpu_s=0.0) for point in found]


def _report(job: ReplayJob, target: float = 0.99, source: str = "tiny.csv") -> ReplayReport:
    return build_report(job, _points(job), source=source, figures_from="assumed", target_hit_rate=target)


def test_the_page_is_as_it_was_looked_at() -> None:
    """After a wanted change: GHOSTDESK_GOLDEN=write, then look at the page in a browser."""
    page = render_html(_report(_job()))
    if os.environ.get("GHOSTDESK_GOLDEN") == "write":
        GOLDEN.write_text(page, encoding="utf-8")
    assert page == GOLDEN.read_text(encoding="utf-8")


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    page = render_html(_report(_job()))
    assert not re.search(r"<(script|link|img|iframe|object)\b|url\(|@import|\bon\w+=", page)
    assert not re.search(r"""(src|href)\s*=|https?://""", page)
    assert "default-src 'none'" in page


class _Balance(HTMLParser):
    """Raises when a tag is closed that is not open."""

    void = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Opened and closed in one."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ['<script>alert("1")</script>', '"><svg onload=x>', "a & b < c", "\u202e;]]>"])
def test_hostile_names_are_only_text(name: str) -> None:
    job = _job()
    job = replace(job, sessions=replace(job.sessions, notes=(f"{name} is odd.",)))
    page = render_html(_report(job, source=f"{name}.csv"))
    assert "<script" not in page
    assert "<svg onload" not in page
    balance = _Balance()
    balance.feed(page)
    assert balance.open == []


def test_the_cheapest_setting_that_serves_the_target_is_advised() -> None:
    job = _job()
    points = _points(job)
    assert [point.figures.hit_rate for point in points] == sorted(point.figures.hit_rate for point in points)
    assert points[-1].figures.hit_rate == 1.0
    assert points[1].figures.hit_rate < 0.99
    found = advise(points, job.model, 0.99, job.figures)
    assert (found.setting, found.met) == ("static:3", True)
    assert "100.00% of 24 starts" in found.sentence
    assert found.settings_lines == '[pool]\npolicy = "static:3"\nfloor = 0\nceiling = 9\n'
    assert advise(points, job.model, 0.5, job.figures).setting == "static:1"


def test_where_none_serves_the_target_the_nearest_is_named_and_said_not_to_serve_it() -> None:
    job = _job()
    found = advise(_points(job)[:2], job.model, 0.99, job.figures)
    assert (found.setting, found.met) == ("static:2", False)
    assert "No setting tried serves 99.00%" in found.sentence
    nearest = build_report(job, _points(job)[:2], source="x", figures_from="assumed", target_hit_rate=0.99)
    assert 'class="box advice unmet"' in render_html(nearest)


def test_a_policy_is_compared_with_the_static_pool_that_serves_as_many() -> None:
    job = _job()
    points = _points(job)
    half = replace(points[2].figures, idle_ghost_hours=points[2].figures.idle_ghost_hours / 2)
    better = replace(points[2], policy="other", title="other policy", setting="other:x", label="x", figures=half)
    found = advise([*points, better], job.model, 0.99, job.figures)
    assert found.setting == "other:x"
    assert "50% less than the static pool that serves as many (3)" in found.sentence


def test_prices_make_money_the_cost() -> None:
    report = _report(_job(model=CostModel(price_per_ghost_hour=0.1)))
    assert report.cost_name == "money"
    assert report.points[0].figures.money == pytest.approx(0.1 * report.points[0].figures.idle_ghost_hours)
    assert "at your prices" in report.advice.sentence
    assert "<th>money</th>" in render_html(report)


def test_json_says_what_it_is_and_keeps_one_week() -> None:
    report = _report(_job())
    told = json.loads(json.dumps(plain(report), allow_nan=False))
    assert told["simulated"] is True
    assert told["statement"].startswith("Simulated")
    assert told["notes"] == ["1 row was mended."]
    assert [point["setting"] for point in told["points"] if point["week"]] == [told["advice"]["setting"]]
    assert sum(map(sum, told["points"][0]["figures"]["heat_starts"])) == 24


def test_synthetic_people_are_said_to_be_synthetic() -> None:
    report = _report(_job(("synthetic-1", "synthetic-2", "synthetic-3")))
    assert "synthetic" in report.notes[0]
    assert "nobody in it exists" in render_html(report)


def test_processes_give_what_one_process_gives() -> None:
    job, shares = _job(), []
    one = replay_all(job, ["static:1", "static:3"], 1)
    two = replay_all(job, ["static:1", "static:3"], 2, shares.append)
    assert [plain(point.figures) for point in two] == [plain(point.figures) for point in one]
    assert shares[-1] == 1.0

"""The whole evaluation: folds, processes, reports, and the published floors where the data is at hand."""

import json
import math
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ghostdesk.cli import app as cli
from ghostdesk.evaluate.json_out import check_folder, write_json
from ghostdesk.evaluate.next_app import Outcome, evaluate_next_app
from ghostdesk.evaluate.next_app_methods import methods
from ghostdesk.evaluate.next_app_report import (
    NextAppReport,
    limit_sentence,
    next_app_report,
    save_reliability_diagram,
    tables,
)
from ghostdesk.evaluate.sequences import AppHistory, AppSequence, read_app_history
from ghostdesk.evaluate.tables import DataKind, ReadNotes
from ghostdesk.kernel.errors import ConfigError, GhostdeskError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.next_app.expert import ExpertFactory, Shares
from ghostdesk.profiles.next_app.most_frequent import MostFrequent
from ghostdesk.profiles.situation import UNKNOWN, Situation

DATA = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "next-app"


def people(count: int, steps: int = 60, draws: int = 2) -> list[AppSequence]:
    generator = random.Random(5)
    return [
        AppSequence(
            UserId(f"u{user}"),
            str(draw),
            tuple(AppId(generator.choices("abcde", weights=(5, 3, 2, 1, 1))[0]) for _ in range(steps)),
            steps * 4 // 5,
        )
        for user in range(count)
        for draw in range(draws)
    ]


class Lender:
    """A pooled method that lends how often others use what, and remembers whom it was fitted on."""

    def __init__(self) -> None:
        self.fitted: list[list[AppSequence]] = []

    def fit(self, others: Sequence[AppSequence]) -> ExpertFactory:
        self.fitted.append(list(others))
        apps = [app for one in others for app in one.apps]

        def make() -> MostFrequent:
            expert = MostFrequent()
            for app in apps[:50]:
                expert.learn(app)
            return expert

        return make

    def alone(self) -> ExpertFactory:
        return MostFrequent


def test_pooled_methods_never_see_those_they_are_scored_on_nor_a_test_step() -> None:
    sequences, lender = people(10), Lender()
    outcome = evaluate_next_app(sequences, {}, {"lender": lender}, jobs=1)
    assert len(lender.fitted) == 4
    everyone = {one.user for one in sequences}
    for others in lender.fitted:
        assert all(one.test_from == len(one.apps) == 48 for one in others)
    left_out = [everyone - {one.user for one in others} for others in lender.fitted]
    assert sorted(user for fold in left_out for user in fold) == sorted(everyone)
    assert {user for user, sums in outcome.methods["lender"].users.items() if sums.steps == 24} == everyone


def test_one_user_is_scored_with_nothing_lent() -> None:
    lender = Lender()
    outcome = evaluate_next_app(people(1), {}, {"lender": lender}, jobs=1)
    assert lender.fitted == [[]]
    assert outcome.methods["lender"].users[UserId("u0")].steps == 24


def test_processes_score_what_one_process_does() -> None:
    sequences, seen = people(5), []
    alone = evaluate_next_app(sequences, methods(), {}, jobs=1)
    spread = evaluate_next_app(sequences, methods(), {}, jobs=2, progress=lambda *step: seen.append(step))
    assert report_of(sequences, alone).methods == report_of(sequences, spread).methods
    assert seen[0] == (0, seen[-1][0])
    assert seen[-1] == (5 * 2 * 60 * len(methods()),) * 2


class Broken:
    """Breaks the rule that shares sum to 1 at most."""

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        return {AppId("a"): 2.0}

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        pass


def test_a_method_that_cheats_is_named() -> None:
    with pytest.raises(ValueError, match="method broken: the shares sum to 2"):
        evaluate_next_app(people(1), {"broken": Broken}, {}, jobs=1)


def report_of(sequences: list[AppSequence], outcome: Outcome, pooled: Sequence[str] = ()) -> NextAppReport:
    history = AppHistory(DataKind.SPLIT_APPS, tuple(sequences), ReadNotes(len(sequences)), users_left_out=1)
    return next_app_report(history, sequences, outcome, pooled, source="made up")


def test_the_report_has_every_figure_and_becomes_json(tmp_path: Path) -> None:
    sequences = people(12, steps=150)
    outcome = evaluate_next_app(
        sequences, {"most-frequent": MostFrequent}, {"lender": Lender()}, new_users=True, jobs=1
    )
    report = report_of(sequences, outcome, ["lender"])
    frequent, lender = report.methods
    assert 0.2 < frequent.macro["hr1"].value < 0.6
    low, high = frequent.macro["hr1"].low, frequent.macro["hr1"].high
    assert low is not None
    assert high is not None
    assert low < frequent.macro["hr1"].value < high
    assert frequent.better_log_loss_by is None  # it is the only one that knows one person alone
    assert lender.better_log_loss_by is not None
    assert lender.better_log_loss_by.value == pytest.approx(
        frequent.macro["log_loss_nats"].value - lender.macro["log_loss_nats"].value
    )
    assert [(one.first_steps, one.name, one.prior) for one in report.new_users[:3]] == [
        (20, "most-frequent", "none"),
        (20, "lender", "none"),
        (20, "lender", "other people"),
    ]
    gained = report.new_users[2].gain
    assert gained is not None
    assert gained["hr1"].value > 0.0, "the first choice of everybody is known from others"
    assert report.limit is not None
    assert "at most" in limit_sentence(report.limit)
    assert [table.row_count for table in tables(report)] == [2, 2, 9]
    write_json(report, tmp_path / "out.json", None)  # type: ignore[arg-type]
    read = json.loads((tmp_path / "out.json").read_text())
    assert read["methods"][0]["users"]["u0"]["steps"] == 60
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_report_on_one_user_has_no_interval_and_says_so() -> None:
    sequences = people(1)
    report = report_of(sequences, evaluate_next_app(sequences, methods(), {}, jobs=1))
    assert report.methods[0].macro["hr1"].low is None
    assert any("1 user: intervals" in note for note in report.notes)
    assert any("too few steps" in note for note in report.notes)


def test_a_reliability_diagram_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sequences = people(2)
    report = report_of(sequences, evaluate_next_app(sequences, methods(), {}, jobs=1))
    drawn = save_reliability_diagram(report, tmp_path / "diagram")
    assert [path.suffix for path in drawn] == [".png", ".svg"]
    assert all(path.stat().st_size > 1000 for path in drawn)


def test_json_goes_nowhere_without_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "out.json", tmp_path):
        with pytest.raises(ConfigError, match="cannot be written"):
            check_folder(path)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_json({}, tmp_path / "none" / "out.json", None)  # type: ignore[arg-type]
    check_folder(Path("-"))


def history_file(tmp_path: Path) -> Path:
    rows = [f"u{n % 3},{1000 + n},{'abcab'[n // 3 % 5]}" for n in range(150)]
    path = tmp_path / "history.csv"
    path.write_text("\n".join(["user,time,app", *rows]))
    return path


def test_the_command_prints_tables_and_pure_json(tmp_path: Path) -> None:
    path = history_file(tmp_path)
    some = ["evaluate", "next-app", str(path), "--methods", "ipam,markov-1", "--jobs", "1"]
    result = CliRunner().invoke(cli, [*some, "--json", "-"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["users"], report["test_steps"]) == (3, 30)
    assert [one["name"] for one in report["methods"]] == ["markov-1", "ipam"]
    assert all(math.isfinite(one["macro"]["log_loss_nats"]["value"]) for one in report["methods"])
    only = ["evaluate", "next-app", str(path), "--methods", "ipam", "--users-limit", "2", "--jobs", "1"]
    shown = CliRunner().invoke(cli, only)
    assert "ipam" in shown.stdout
    assert "markov" not in shown.stdout
    assert "Only 2 of 3 users were scored." in shown.stdout


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (["--methods", "oracle"], "There is no method oracle"),
        (["--timezone", "Mars/Base"], "There is no time zone"),
        (["--json", "/no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_wrong_options_are_told_before_the_work(tmp_path: Path, options: list[str], cause: str) -> None:
    result = CliRunner().invoke(cli, ["evaluate", "next-app", str(history_file(tmp_path)), *options])
    assert isinstance(result.exception, GhostdeskError)
    assert cause in result.exception.cause


FLOORS = {
    "most-frequent": (0.336, 0.694, 0.819),
    "most-recent-current-last": (0.611, 0.826, 0.873),
    "markov-1": (0.457, 0.730, 0.852),
    "markov-2": (0.605, 0.811, 0.889),
    "ipam": (0.576, 0.841, 0.909),
    "ppm-3-recency": (0.617, 0.834, 0.913),
}
"""HR@1, HR@3 and HR@5 measured by others on more users of the same set."""


@pytest.mark.skipif(not (DATA / "macos-desktops.csv.xz").exists(), reason="recorded data is not at hand: macOS")
def test_the_simple_methods_are_near_the_floors_measured_by_others() -> None:
    history = read_app_history(DATA / "macos-desktops.csv.xz")
    single = {name: make for name, make in methods().items() if name in FLOORS}
    outcome = evaluate_next_app(history.sequences, single, {}, jobs=1)
    report = next_app_report(history, history.sequences, outcome, (), source="macOS")
    for method in report.methods:
        found = tuple(method.macro[key].value for key in ("hr1", "hr3", "hr5"))
        assert found == pytest.approx(FLOORS[method.name], abs=0.03), method.name

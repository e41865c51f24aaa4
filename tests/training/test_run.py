"""A whole training: from a history to a model that is live or kept aside, and what bad histories lead to."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_fakes import SMALL, MakeRequest, RankTrainer

from ghostdesk.kernel.errors import ConfigError, Conflict, ImportFileError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.model_file import read_model
from ghostdesk.profiles.next_app.most_frequent import MostFrequent
from ghostdesk.replay.workload import SyntheticWorkload
from ghostdesk.replay.workload_csv import write_workload
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sqlite import open_store
from ghostdesk.telemetry.calendars.entries import BusyTime, CalendarSource
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.training.drift_check import check_drift
from ghostdesk.training.files import sole_user
from ghostdesk.training.plan import BASE_BYTES, LEAST_MEMORY_BYTES, STEP_BYTES, Room
from ghostdesk.training.registry import ModelRegistry, load_current
from ghostdesk.training.run import discard_work, models_folder, train, until_s
from ghostdesk.training.sources import ReadNotes, file_source, people_of_csv, store_source
from ghostdesk.training.spool import MOST_EVENTS


def test_the_first_model_goes_live_and_an_equal_second_one_is_kept_aside(make_request: MakeRequest) -> None:
    first = train(make_request(simple={"most frequent": MostFrequent}))
    assert first.live
    assert first.model.live
    assert "most frequent" in first.gate.simple
    second = train(make_request())
    assert not second.live
    assert second.gate.difference == 0.0
    registry = ModelRegistry(models_folder(make_request().state_folder))
    assert [(one.name, one.live) for one in registry.versions()] == [("0001", True), ("0002", False)]
    model, problem = load_current(models_folder(make_request().state_folder))
    assert model is not None and not problem
    assert read_model(second.model.path.read_bytes()).header.parent == model.version


def test_a_better_model_replaces_the_present_one(make_request: MakeRequest) -> None:
    def untrained(*sizes: object) -> RankTrainer:
        return RankTrainer(SMALL, 0, worse_after=0)

    assert train(make_request(make_trainer=untrained)).live
    better = train(make_request())
    assert better.live
    assert better.gate.high is not None and better.gate.high < 0.0


def test_no_promote_keeps_it_aside_and_says_so(make_request: MakeRequest) -> None:
    report = train(make_request(promote=False))
    assert not report.live
    assert "--no-promote" in report.reason
    assert load_current(models_folder(make_request().state_folder)) == (None, "")


def test_equal_histories_and_seeds_give_equal_weights(make_request: MakeRequest, tmp_path: Path) -> None:
    weights = []
    for place in ("a", "b"):
        report = train(make_request(state_folder=tmp_path / place))
        weights.append(read_model(report.model.path.read_bytes()).weights)
    assert all(weights[0][name].tobytes() == weights[1][name].tobytes() for name in weights[0])


def test_nothing_of_the_history_stays_in_the_work_folder(make_request: MakeRequest) -> None:
    request = make_request()
    train(request)
    assert [path.name for path in (request.state_folder / "training").iterdir()] == ["lock"]


def test_a_damaged_present_model_is_told_and_does_not_stop_training(make_request: MakeRequest) -> None:
    live = train(make_request()).model
    live.path.write_bytes(live.path.read_bytes()[:100])
    report = train(make_request(now_s=1.81e9))
    assert report.live
    assert "could not be compared" in report.notes[0]


@pytest.mark.parametrize(
    ("text", "error", "cause"),
    [
        ("user,time,app\n", ImportFileError, "no events of anybody"),
        ("user,time,app\nada,soon,mail\n", ImportFileError, "1 lines were bad"),
        ("user,time,app\nada,1700000000,mail\n", ConfigError, "nobody with 20"),
        ("what is this\n", ImportFileError, "no known format"),
        ("", ImportFileError, "is empty"),
    ],
)
def test_histories_that_teach_nothing_are_refused(
    make_request: MakeRequest, tmp_path: Path, text: str, error: type[Exception], cause: str
) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(error, match=cause):
        train(make_request(path=path))
    left = list((tmp_path / "state").rglob("*")) if (tmp_path / "state").exists() else []
    assert [one.name for one in left if one.is_file()] in ([], ["lock"])


def test_one_user_is_enough(make_request: MakeRequest, tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    rows = [f"ada,{1_700_000_000 + 600 * i},{'abc'[(i * i) % 3]}" for i in range(200)]
    path.write_text("\n".join(["user,time,app", *rows]))
    assert train(make_request(path=path)).people == 1
    assert "one person: no interval" in train(make_request(path=path)).reason


def test_a_million_events_of_one_person_are_bounded(make_request: MakeRequest, tmp_path: Path, history: Path) -> None:
    path = tmp_path / "flood.csv"
    lines = history.read_text().splitlines()
    flood = [f"x,flood,{1_735_600_000 + 3 * i},app-focus,{'ab'[i % 2]},,,," for i in range(MOST_EVENTS + 20_000)]
    path.write_text("\n".join([*lines, *flood]))
    report = train(make_request(path=path))
    usual = train(make_request(state_folder=tmp_path / "other"))
    assert report.people == usual.people + 1
    assert report.steps - usual.steps <= MOST_EVENTS
    assert report.left_out["older steps that do not fit"] > 0


def test_too_little_memory_is_refused_before_reading(make_request: MakeRequest) -> None:
    def never(_notes: ReadNotes) -> Iterator[UsageEvent]:
        raise AssertionError("the history was read")

    request = make_request()
    small = replace(request.options, memory_bytes=LEAST_MEMORY_BYTES - 1)
    with pytest.raises(ConfigError, match="too little"):
        train(replace(request, options=small, source=replace(request.source, events=never)))


def test_two_trainings_at_once_are_one_too_many(make_request: MakeRequest) -> None:
    request = make_request()
    (request.state_folder / "training").mkdir(parents=True)
    with sole_user(request.state_folder / "training" / "lock", "tests"), pytest.raises(Conflict, match="is training"):
        train(request)


def test_a_deletion_while_training_goes_on_throws_the_model_away(make_request: MakeRequest) -> None:
    request = make_request()
    answers = iter(["before", "after"])
    source = replace(request.source, identity=lambda: next(answers))
    with pytest.raises(Conflict, match="thrown away"):
        train(replace(request, source=source))
    assert load_current(models_folder(request.state_folder)) == (None, "")
    assert not (request.state_folder / "training" / "work").exists()


_SCRIPT = """
import sys
from pathlib import Path
from dataclasses import replace
from ghostdesk.cli.train import trainer_factory
from ghostdesk.profiles.lstm_step import LstmConfig
from ghostdesk.training.loop import TrainOptions
from ghostdesk.training.run import TrainRequest, train
from ghostdesk.training.sources import file_source
options = TrainOptions(epochs=2, seed=4, memory_bytes=512 * 2**20, checkpoint_every_s=0.0)
config = LstmConfig(hidden=8, app_embedding=4, word_embedding=2, rank_embedding=2, gate=4)
request = TrainRequest(Path(sys.argv[1]), file_source(Path(sys.argv[2])), "UTC", config, options, trainer_factory(),
                       {}, 1.8e9)
report = train(request)
print(report.resumed, report.model.path)
"""


def _training(state: Path, history: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "error", "-c", _SCRIPT, str(state), str(history)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_killed_with_no_chance_to_tidy_up_it_goes_on_and_ends_with_the_same_weights(
    tmp_path: Path, history: Path
) -> None:
    with _training(tmp_path / "whole", history) as whole:
        assert whole.stdout is not None
        told = whole.stdout.read().split()
    assert told[0] == "False"
    checkpoint = tmp_path / "killed" / "training" / "work" / "run.npz"
    with _training(tmp_path / "killed", history) as killed:
        while not checkpoint.exists() and killed.poll() is None:
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    with _training(tmp_path / "killed", history) as again:
        assert again.stdout is not None
        told_again = again.stdout.read().split()
    assert told_again[0] == "True"
    one, other = (read_model(Path(words[1]).read_bytes()).weights for words in (told, told_again))
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


_MEASURED = """
import json, sys, time
from pathlib import Path
from ghostdesk.cli.train import trainer_factory
from ghostdesk.profiles.lstm_step import LstmConfig
from ghostdesk.training.loop import TrainOptions
from ghostdesk.training.run import TrainRequest, train
from ghostdesk.training.sources import file_source
options = TrainOptions(epochs=1, memory_bytes=int(sys.argv[3]), budget_s=6.0)
request = TrainRequest(Path(sys.argv[1]), file_source(Path(sys.argv[2])), "UTC", LstmConfig(), options,
                       trainer_factory(), {}, 1.8e9)
report = train(request)
status = Path("/proc/self/status").read_text()  # ru_maxrss would count the tests' own process, which made this one
peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
print(json.dumps({"peak": peak, "steps": report.steps, "stopped": report.stopped}))
"""


def test_memory_stays_within_the_limit_on_a_history_that_is_several_times_larger(tmp_path: Path) -> None:
    path, limit = tmp_path / "large.csv", LEAST_MEMORY_BYTES
    write_workload(SyntheticWorkload(30, 40, 250.0, 1), path)
    command = [sys.executable, "-W", "error", "-c", _MEASURED, str(tmp_path / "state"), str(path), str(limit)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found = json.loads(done.stdout)
    assert found["steps"] * STEP_BYTES > 3 * (limit - BASE_BYTES), "the history must be too large for the memory"
    assert found["peak"] <= limit


def _filled_store(path: Path, people: int = 4) -> None:
    store = open_store(path, now_s=1.8e9)
    for number in range(people):
        user = UserId(f"u{number}")
        store.put_user(StoredUser(user, user, job_role="lead", department="physics"))
        apps = np.random.default_rng(number).integers(0, 5, 300)
        store.add_events(
            UsageEvent(1.735e9 + 700.0 * i, EventKind.APP_FOCUS, user, AppId(f"app{app}")) for i, app in enumerate(apps)
        )
    store.close()


def test_the_store_is_trained_on_with_roles_and_calendars(make_request: MakeRequest, tmp_path: Path) -> None:
    _filled_store(tmp_path / "g.db")
    store = open_store(tmp_path / "g.db", now_s=1.8e9)
    ada = UserId("u1")
    store.put_calendar(CalendarSource(ada, "work", "file", "w.ics"))
    store.replace_busy_times(ada, "work", [BusyTime(1.7351e9, 1.7351e9 + 600, series="s")])
    facts = store_source(store, 1.8e9).facts()
    assert (facts(ada).job_role, facts(ada).department) == ("lead", "physics")
    agenda = facts(ada).agenda
    assert agenda is not None and agenda.at(1.7351e9 - 60).minutes == 1.0
    assert facts(UserId("u2")).agenda is None
    assert facts(UserId("stranger")).job_role == ""
    report = train(make_request(source=store_source(store, 1.8e9)))
    store.close()
    assert (report.people, report.events) == (4, 1200)


def test_a_deletion_in_the_store_changes_what_it_is(tmp_path: Path) -> None:
    _filled_store(tmp_path / "g.db")
    store = open_store(tmp_path / "g.db", now_s=1.8e9)
    source = store_source(store, 1.8e9)
    before = source.identity()
    assert source.identity() == before
    store.delete_personal_data(UserId("u1"), None, 1.79e9)
    assert source.identity() != before
    store.close()


def test_an_interrupted_training_of_the_store_goes_on_up_to_the_same_moment(tmp_path: Path) -> None:
    work = tmp_path / "training" / "work"
    work.mkdir(parents=True)
    assert until_s(tmp_path, 1000.0, resume=True) == 1000.0
    (work / "plan.json").write_text(json.dumps({"identity": "1:store:900:x:UTC", "now_s": 900.0}))
    assert until_s(tmp_path, 1000.0, resume=True) == 900.0
    assert until_s(tmp_path, 1000.0, resume=False) == 1000.0
    assert until_s(tmp_path, 900.0 + 2 * 86_400, resume=True) == 900.0 + 2 * 86_400
    (work / "plan.json").write_text(json.dumps({"identity": "1:file:x", "now_s": 900.0}))
    assert until_s(tmp_path, 1000.0, resume=True) == 1000.0
    (work / "plan.json").write_text("[1")
    assert until_s(tmp_path, 1000.0, resume=True) == 1000.0
    discard_work(tmp_path)
    assert not work.exists()


def test_roles_are_read_from_the_file_where_it_has_them(history: Path, tmp_path: Path) -> None:
    people = people_of_csv(history)
    assert {one.user: (one.job_role, one.department) for one in SyntheticWorkload(8, 10, 40.0, 3).people()} == {
        user: (facts.job_role, facts.department) for user, facts in people.items()
    }
    (tmp_path / "plain.csv").write_text("user,time,app\nada,1,mail\n")
    assert people_of_csv(tmp_path / "plain.csv") == {}


def test_drift_is_none_on_the_same_people_and_found_on_others(
    make_request: MakeRequest, history: Path, tmp_path: Path
) -> None:
    request = make_request()
    with pytest.raises(Exception, match="No model is live"):
        check_drift(ModelRegistry(models_folder(request.state_folder)), file_source(history), "UTC", 1e9, 1.8e9,
                    Room(LEAST_MEMORY_BYTES), tmp_path / "w")  # fmt: skip
    train(request)
    registry = ModelRegistry(models_folder(request.state_folder))
    room, work = Room(LEAST_MEMORY_BYTES), tmp_path / "work"
    same = check_drift(registry, file_source(history), "UTC", 3 * 86_400.0, 1.8e9, room, work)
    assert not same.loss_drifted
    assert 0 < same.steps < train(make_request()).steps
    other = tmp_path / "other.csv"
    rng = np.random.default_rng(0)
    rows = [f"ada,{1_740_000_000 + 300 * i},strange{rng.integers(40)}" for i in range(3000)]
    other.write_text("\n".join(["user,time,app", *rows]))
    moved = check_drift(registry, file_source(other), "UTC", 1e8, 1.8e9, room, work)
    assert moved.drifted
    assert list(work.iterdir()) == []

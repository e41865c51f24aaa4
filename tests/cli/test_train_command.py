"""`ghostdesk simulate`, `train` and `model` as an operator meets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from ghostdesk.cli import main; main()"


def _ghostdesk(folder: Path, *words: str, program: tuple[str, ...] = ("-m", "ghostdesk")) -> tuple[int, str, str]:
    config = folder / "ghostdesk.toml"
    config.write_text(f"[state]\ndirectory = '{folder}/s'\nrun_directory = '{folder}/r'\n")
    command = [sys.executable, *program, *words]
    if words[0] != "simulate":
        command += ["--config", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made-up history and two models trained on it, the first of which is live."""
    folder = tmp_path_factory.mktemp("trained")
    made = ("simulate", "history", str(folder / "h.csv"), "--users", "6", "--days", "10", "--events-a-day", "40")
    code, out, _ = _ghostdesk(folder, *made, "--json")
    assert code == 0
    assert json.loads(out)["written"]["source"] == "synthetic"
    for seed in ("1", "2"):
        options = ("--epochs", "1", "--hidden", "8", "--seed", seed, "--memory-mib", "512", "--json")
        options = (*options, "--only", "applications")
        code, out, told = _ghostdesk(folder, "train", "--history", str(folder / "h.csv"), *options)
        assert code == 0, told
        report = json.loads(out)
        assert report["people"] == 6
        assert report["live"] == (report["gate"]["champion"] is None or report["gate"]["high"] < 0)
    return folder


def test_models_are_listed_shown_promoted_and_rolled_back(trained: Path) -> None:
    listed = json.loads(_ghostdesk(trained, "model", "list", "--json")[1])
    assert [one["number"] for one in listed] == [1, 2]
    assert _ghostdesk(trained, "model", "promote", "2")[0] == 0
    shown = json.loads(_ghostdesk(trained, "model", "show", "--json")[1])
    assert shown["model"]["number"] == 2
    assert shown["promotions"][-1]["reason"] == "promoted by the operator"
    assert json.loads(_ghostdesk(trained, "model", "rollback", "--json")[1])["after"] == "0001"
    code, _, told = _ghostdesk(trained, "model", "rollback")
    assert code == 1
    assert "no earlier model" in told and "mend:" in told
    code, out, _ = _ghostdesk(trained, "model", "list")
    assert code == 0
    assert "0001" in out and "live" in out


def test_drift_of_the_live_model_is_shown(trained: Path) -> None:
    words = ("model", "drift", "--days", "3", "--history", str(trained / "h.csv"), "--memory-mib", "512")
    report = json.loads(_ghostdesk(trained, *words, "--json")[1])
    assert report["steps"] > 0
    assert report["loss_drifted"] is False
    assert "nats" in _ghostdesk(trained, *words)[1]


def test_a_run_is_told_in_words(trained: Path, tmp_path: Path) -> None:
    history = str(trained / "h.csv")
    code, out, _ = _ghostdesk(tmp_path, "train", "--history", history, "--epochs", "1", "--hidden", "8")
    assert code == 0
    assert "is live now" in out and "held-out loss" in out and "PPM-3 + recency" in out
    assert "no resource has enough history" in out, "the usage curves are trained on the same reading"


def test_an_unknown_or_damaged_model_is_told(tmp_path: Path) -> None:
    for words, cause in (
        (("model", "show", "9"), "no model '9'"),
        (("model", "show"), "No model is live"),
        (("model", "rollback"), "no earlier model"),
        (("model", "drift"), "No model is live"),
        (("train",), "no events of anybody"),
        (("train", "--history", str(tmp_path / "none.csv")), "none.csv"),
        (("train", "--memory-mib", "100"), "too little"),
    ):
        code, _, told = _ghostdesk(tmp_path, *words)
        assert code == 1, words
        assert cause in told and "mend:" in told, told
    assert "no model yet" in _ghostdesk(tmp_path, "model", "list")[1]


def test_without_torch_it_says_how_to_get_it_and_models_can_still_be_seen(trained: Path) -> None:
    code, _, told = _ghostdesk(trained, "train", program=("-c", _WITHOUT_TORCH))
    assert code == 1
    assert "pip install 'ghostdesk[train]'" in told
    assert _ghostdesk(trained, "model", "list", program=("-c", _WITHOUT_TORCH))[0] == 0


def test_usage_curves_need_no_torch_and_have_numbers_of_their_own(tmp_path: Path) -> None:
    history = tmp_path / "h.csv"
    rows = [
        f"ada,{1_700_000_000 + 1800 * step},cpu,{1 + (step // 2) % 24 // 12}"
        for step in range(2 * 24 * 8)  # eight days, every half hour: one core in one half of the day, two in the other
    ]
    history.write_text("\n".join(["user,time,event,value", *rows]))
    words = ("train", "--only", "curves", "--history", str(history), "--json")
    code, out, told = _ghostdesk(tmp_path, *words, program=("-c", _WITHOUT_TORCH))
    assert code == 0, told
    report = json.loads(out)["curves"]
    assert report["people"] == 1 and report["model"]["number"] == 1
    assert {one["resource"] for one in report["resources"] if one["challenger"] is not None} == {"cpu_cores"}
    assert _ghostdesk(tmp_path, "model", "promote", "1", "--curves")[0] == 0
    listed = json.loads(_ghostdesk(tmp_path, "model", "list", "--curves", "--json")[1])
    assert [(one["number"], one["live"]) for one in listed] == [(1, True)]

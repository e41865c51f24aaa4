"""Work on a Ray cluster comes to what it comes to here, bit for bit, whatever node goes in the middle."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from training_fakes import ByPickle, MakeRequest

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.next_app.mixture import SIMPLE
from ghostdesk.training.cluster import connected
from ghostdesk.training.run import train

TESTS = Path(__file__).parents[1]
PIECES = 8


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `support/ray_work.py` says: one cluster of two nodes, started and lived through once."""
    pytest.importorskip("ray", reason="Ray is not installed")
    paths = os.pathsep.join((str(TESTS.parent / "src"), str(TESTS / "support")))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(TESTS / "support/ray_work.py"), str(tmp_path_factory.mktemp("ray"))],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_what_a_lost_node_was_doing_is_done_again_elsewhere(told: dict[str, Any]) -> None:
    assert told["nodes"] == [2, 2]
    pieces = told["pieces"]
    assert pieces["found"] == [number * number for number in range(PIECES)]
    assert pieces["lost"] and pieces["again"] == pieces["lost"]


def test_a_replay_sweep_gives_the_same_figures_though_a_node_goes(told: dict[str, Any]) -> None:
    replay = told["replay"]
    assert replay["points"] == 3 and 0 < replay["removed_at"][0] < 1, "it went in the middle"
    assert replay["same"]


def test_curves_trained_on_the_cluster_are_the_same_models(told: dict[str, Any]) -> None:
    assert told["train"]["here"] == told["train"]["there"]
    assert "better=True" in told["train"]["here"][1]


def test_errors_of_pieces_and_of_nodes_are_told(told: dict[str, Any]) -> None:
    assert told["refused"][0].startswith("There is no ") and told["refused"][1] == "Take another."
    assert "numpy" in told["versions"][0] and told["versions"][1] == "Install the same on every node."


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "No Ray cluster answers"),
        ("ray://127.0.0.1:x", "No Ray cluster answers"),
        ("here", "no address"),
    ],
)
def test_an_address_at_which_nobody_is_is_named(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))  # nothing of it is asked
    with pytest.raises(ConfigError, match=said) as refused, connected(address):
        pass
    assert "HOST:6379" in refused.value.mend


def test_a_training_with_a_cluster_keeps_the_same_model(make_request: MakeRequest, tmp_path: Path) -> None:
    simple = {name: SIMPLE[name] for name in ("most frequent", "Markov-2")}
    cluster = ByPickle()
    reports = [
        train(make_request(state_folder=tmp_path / name, simple=simple, cluster=where))
        for name, where in (("here", None), ("there", cluster))
    ]
    here, there = reports
    assert there.model.digest == here.model.digest
    assert there.gate == here.gate and set(here.gate.simple) == set(simple)
    assert cluster.pieces > len(simple)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="not installed") as refused, connected("auto"):
        pass
    assert "ghostdesk[ray]" in refused.value.mend

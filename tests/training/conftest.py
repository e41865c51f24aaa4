"""A small synthetic history, and requests to train on it."""

from pathlib import Path
from typing import Any

import pytest
from training_fakes import SMALL, MakeRequest, RankTrainer

from ghostdesk.replay.workload import SyntheticWorkload
from ghostdesk.replay.workload_csv import write_workload
from ghostdesk.training.loop import TrainOptions
from ghostdesk.training.plan import LEAST_MEMORY_BYTES
from ghostdesk.training.run import TrainRequest
from ghostdesk.training.sources import file_source


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people who do not exist, for ten days."""
    path = tmp_path_factory.mktemp("history") / "synthetic.csv"
    write_workload(SyntheticWorkload(8, 10, 40.0, 3), path)
    return path


@pytest.fixture
def make_request(tmp_path: Path, history: Path) -> MakeRequest:
    """A request to train the small learner on the history; keywords change it."""

    def make(**changes: Any) -> TrainRequest:
        options = changes.pop("options", TrainOptions(epochs=2, memory_bytes=LEAST_MEMORY_BYTES))
        given: dict[str, Any] = {
            "state_folder": tmp_path / "state",
            "source": file_source(changes.pop("path", history)),
            "timezone": "UTC",
            "config": SMALL,
            "options": options,
            "make_trainer": RankTrainer,
            "simple": {},
            "now_s": 1.8e9,
        }
        return TrainRequest(**{**given, **changes})

    return make

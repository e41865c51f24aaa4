"""A real ghostdesk takes up what another process made the live model, keeps it when a file is bad, and says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from running import Running, missing_programs, running, wait_for
from training_fakes import SMALL, RankTrainer

from ghostdesk.profiles.model_file import ModelHeader
from ghostdesk.training.registry import ModelRegistry, ModelVersion
from ghostdesk.training.run import models_folder

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
]


@pytest.fixture
def desk() -> Iterator[Running]:
    with running(floor=0) as made:
        made.start()
        yield made


def add(registry: ModelRegistry, seed: int) -> ModelVersion:
    trainer = RankTrainer(SMALL, seed)
    trainer.scores = np.random.default_rng(seed).normal(size=trainer.scores.shape)
    return registry.add(ModelHeader(SMALL, 1.7e9 + seed, "data", {"gate_log_loss": 1.5}), trainer.weights(), "fine")


def told(desk: Running) -> dict[str, Any]:
    found: dict[str, Any] = desk.status()["forecasts"]
    return found


def test_a_model_of_the_command_line_is_in_use_within_seconds_and_a_damaged_one_never(desk: Running) -> None:
    assert told(desk)["model"] == ""
    registry = ModelRegistry(models_folder(desk.state))
    first, second = add(registry, 1), add(registry, 2)
    promoted = desk.command("model", "promote", "1")
    assert promoted.returncode == 0, promoted.stderr
    assert "without a restart" in promoted.stdout
    wait_for(lambda: told(desk)["model"] == "0001", what="the first model in use")
    registry.promote(second, "better", time.time())
    second.path.write_bytes(second.path.read_bytes()[:1000])
    wait_for(lambda: told(desk)["problem"], what="word of the damaged model")
    assert told(desk)["model"] == first.name
    shown = desk.command("status")
    assert shown.returncode == 0, shown.stderr
    assert "model 0001" in shown.stdout and "Model 0001 stays in use." in " ".join(shown.stdout.split())
    assert desk.command("model", "rollback").returncode == 0
    wait_for(lambda: not told(desk)["problem"], what="the end of the problem")
    assert desk.stop() == 0

"""The models on disk: numbered, one live, a way back, and nothing damaged is ever served."""

import json
from pathlib import Path

import numpy as np
import pytest
from training_fakes import SMALL, RankTrainer

from ghostdesk.kernel.errors import ConfigError, NotFound
from ghostdesk.profiles.model_file import ModelHeader
from ghostdesk.training.registry import ModelRegistry, ModelVersion, load_current


def _add(registry: ModelRegistry, seed: int, verdict: str = "fine") -> ModelVersion:
    trainer = RankTrainer(SMALL, seed)
    trainer.scores = np.random.default_rng(seed).normal(size=trainer.scores.shape)
    header = ModelHeader(SMALL, 1.7e9 + seed, "data", {"gate_log_loss": 1.5})
    return registry.add(header, trainer.weights(), verdict, {"app_shares": {"mail": 0.5}})


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models")


def test_an_empty_registry_serves_nothing_and_says_nothing(registry: ModelRegistry, tmp_path: Path) -> None:
    assert registry.versions() == []
    assert registry.current() is None
    assert load_current(tmp_path / "models") == (None, "")
    assert not (tmp_path / "models").exists()


def test_models_are_numbered_and_only_a_promoted_one_is_live(registry: ModelRegistry) -> None:
    first, second = _add(registry, 1), _add(registry, 2)
    assert [one.name for one in registry.versions()] == ["0001", "0002"]
    assert not any(one.live for one in registry.versions())
    registry.promote(second, "better", 5.0)
    assert [one.live for one in registry.versions()] == [False, True]
    assert registry.live().verdict == "fine"
    current = registry.current()
    assert current is not None and current.version == second.digest
    assert registry.version("1") == registry.version(first.digest[:8]) == registry.versions()[0]


def test_the_very_same_model_again_gets_no_second_number(registry: ModelRegistry) -> None:
    first = _add(registry, 1)
    first.path.write_bytes(b"gone bad")
    assert _add(registry, 1).name == first.name == "0001"
    assert not registry.version("1").problem, "it is written anew where it was damaged"


def test_rollbacks_go_back_one_by_one_and_are_remembered(registry: ModelRegistry) -> None:
    for seed in (1, 2, 3):
        registry.promote(_add(registry, seed), f"trained {seed}", float(seed))
    assert registry.rollback(4.0).after == "0002"
    assert registry.rollback(5.0).after == "0001"
    with pytest.raises(ConfigError, match="no earlier model"):
        registry.rollback(6.0)
    registry.promote(registry.version("3"), "again", 7.0)
    assert registry.rollback(8.0).after == "0001"
    assert [(p.before, p.after) for p in registry.promotions()][:2] == [("", "0001"), ("0001", "0002")]


def test_a_rollback_steps_over_a_damaged_model(registry: ModelRegistry) -> None:
    for seed in (1, 2, 3):
        registry.promote(_add(registry, seed), "trained", float(seed))
    registry.version("2").path.write_bytes(b"gone bad")
    assert registry.rollback(4.0).after == "0001"


@pytest.mark.parametrize("damage", ["empty", "half", "foreign", "flipped", "gone"])
def test_a_damaged_live_model_is_told_to_people_and_left_out_by_the_service(
    registry: ModelRegistry, tmp_path: Path, damage: str
) -> None:
    version = _add(registry, 1)
    registry.promote(version, "first", 1.0)
    data = version.path.read_bytes()
    flipped = bytearray(data)
    flipped[-3] ^= 0x01
    match damage:
        case "gone":
            version.path.unlink()
        case _:
            version.path.write_bytes(
                {"empty": b"", "half": data[: len(data) // 2], "foreign": b"\x80\x04pickle" * 99,
                 "flipped": bytes(flipped)}[damage]
            )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        registry.current()
    assert "rollback" in caught.value.mend
    model, problem = load_current(tmp_path / "models")
    assert model is None
    assert "not used" in problem
    if damage != "gone":
        assert registry.versions()[0].problem
        with pytest.raises(ConfigError):
            registry.promote(registry.versions()[0], "no", 2.0)


@pytest.mark.parametrize("pointer", ["../../etc/passwd", "0009-0123456789abcdef.safetensors", "", "\udcff", "x" * 9999])
def test_a_pointer_that_names_no_model_here_is_refused(registry: ModelRegistry, tmp_path: Path, pointer: str) -> None:
    registry.promote(_add(registry, 1), "first", 1.0)
    (tmp_path / "models" / "current").write_text(pointer, errors="surrogateescape")
    with pytest.raises(ConfigError):
        registry.current()
    assert load_current(tmp_path / "models")[0] is None
    registry.promote(registry.version("1"), "mended", 2.0)
    assert registry.current() is not None


def test_damaged_notes_lose_the_notes_alone(registry: ModelRegistry, tmp_path: Path) -> None:
    version = _add(registry, 1)
    registry.promote(version, "first", 1.0)
    version.path.with_suffix(".json").write_text("[")
    with (tmp_path / "models" / "promotions.jsonl").open("a") as stream:
        stream.write('{"time_s": "soon"}\nnot json\n')
    assert registry.versions()[0].verdict == ""
    assert registry.current() is not None
    assert [change.after for change in registry.promotions()] == ["0001"]


def test_an_unknown_model_is_told_with_those_that_are_there(registry: ModelRegistry) -> None:
    _add(registry, 1)
    for name in ("7", "abcdef", "", "current"):
        with pytest.raises(NotFound) as caught:
            registry.version(name)
        assert "0001" in caught.value.mend
    with pytest.raises(NotFound, match="No model is live"):
        registry.live()


def test_what_lies_there_beside_the_models_is_left_alone(registry: ModelRegistry, tmp_path: Path) -> None:
    _add(registry, 1)
    (tmp_path / "models" / "notes.txt").write_text("mine")
    (tmp_path / "models" / "0002-x.safetensors").write_text("no model")
    assert [one.name for one in registry.versions()] == ["0001"]
    assert json.loads(registry.versions()[0].path.with_suffix(".json").read_text())["verdict"] == "fine"


def test_models_are_readable_by_their_owner_alone(registry: ModelRegistry, tmp_path: Path) -> None:
    version = _add(registry, 1)
    assert version.path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "models").stat().st_mode & 0o077 == 0

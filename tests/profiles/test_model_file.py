"""Model files: what is written comes back; whatever else comes is refused with cause and mend."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.lstm_step import LstmConfig, weight_shapes
from ghostdesk.profiles.model_file import FORMAT, ModelHeader, model_bytes, model_version, read_model

CONFIG = LstmConfig(hidden=4, app_embedding=2, word_embedding=1, rank_embedding=2, gate=2)
HEADER = ModelHeader(CONFIG, 1.7e9, "d1", {"log loss": 1.25}, parent="0123456789abcdef")
RNG = np.random.default_rng(1)
WEIGHTS = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in weight_shapes(CONFIG).items()}
DATA = model_bytes(HEADER, WEIGHTS)


def told() -> dict[str, object]:
    length = int.from_bytes(DATA[:8], "little")
    found: dict[str, object] = json.loads(json.loads(DATA[8 : 8 + length])["__metadata__"][FORMAT])
    return found


def with_header(**changes: object) -> bytes:
    return save(dict(WEIGHTS), metadata={FORMAT: json.dumps({**told(), **changes})})


def with_weights(**changes: np.ndarray) -> bytes:
    return save({**WEIGHTS, **changes}, metadata={FORMAT: json.dumps(told())})


def test_a_model_comes_back_as_it_was() -> None:
    model = read_model(DATA)
    assert model.header == HEADER
    assert model.version == model_version(DATA)
    assert len(model.version) == 16
    assert all((model.weights[name] == value).all() for name, value in WEIGHTS.items())
    assert model_bytes(model.header, model.weights) == DATA


def test_the_file_is_plain_safetensors_with_plain_json() -> None:
    assert {*load(DATA)} == {*WEIGHTS}
    assert told()["format"] == "ghostdesk-lstm"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_file_cut_short_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"(?s)model file.*train"):
        read_model(DATA[: int(len(DATA) * share)])


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "no model file"),
        (b"\x80\x04K\x01." * 10, "cut short"),
        (b"\xff" * 8 + DATA[8:], "cut short"),
        ((2**21).to_bytes(8, "little") + b" " * 2**22, "cut short"),
        ((200_000).to_bytes(8, "little") + b"[" * 200_000, "no readable header"),
        (save(dict(WEIGHTS)), "no readable header"),
        (save(dict(WEIGHTS), metadata={FORMAT: "[" * 100_000}), "no readable header"),
        (save(dict(WEIGHTS), metadata={FORMAT: '"x"'}), "another program's"),
        (with_header(format="other"), "another program's"),
        (with_header(format_version=99), "format version is 99"),
        (with_header(features={}), "other inputs"),
        (with_header(config={**told()["config"], "hidden": 10**9}), "hidden must be"),  # type: ignore[dict-item]
        (with_header(config={**told()["config"], "hidden": 4.0}), "hidden must be"),  # type: ignore[dict-item]
        (with_header(config={**told()["config"], "class": "os.system"}), "names of its settings"),  # type: ignore[dict-item]
        (with_header(metrics={"a": "b"}), "not finite"),
        (with_header(trained_at_s=float("nan")), "not finite"),
        (with_header(parent=5), "no text"),
        (with_header(data_digest=None), "no text"),
        (with_weights(cell_bias=np.full(16, np.nan, np.float32)), "not finite"),
        (with_weights(cell_bias=np.full(16, np.inf, np.float32)), "not finite"),
        (with_weights(cell_bias=np.zeros(16, np.float64)), "float64"),
        (with_weights(cell_bias=np.zeros(15, np.float32)), r"\(15,\)"),
        (with_weights(other=np.zeros(1, np.float32)), "does not hold the weights"),
    ],
)
def test_what_does_not_fit_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause) as refused:
        read_model(data)
    assert refused.value.mend


@given(st.binary(max_size=400))
@example(b"\x02" + b"\0" * 7 + b"{}")
def test_random_bytes_are_refused_never_a_crash(data: bytes) -> None:
    with pytest.raises(ConfigError):
        read_model(data)


@given(st.integers(0, min(3000, len(DATA) - 1)), st.integers(0, 255))
@settings(deadline=None, max_examples=200)
def test_a_changed_byte_gives_a_model_or_a_refusal(place: int, byte: int) -> None:
    changed = bytearray(DATA)
    changed[place] = byte
    try:
        model = read_model(bytes(changed))
    except ConfigError:
        return
    assert {name: w.shape for name, w in model.weights.items()} == weight_shapes(model.header.config)


def test_bad_weights_are_not_written() -> None:
    with pytest.raises(ConfigError, match="not finite"):
        model_bytes(HEADER, {**WEIGHTS, "cell_bias": np.full(16, np.nan, np.float32)})
    with pytest.raises(ConfigError, match="does not hold"):
        model_bytes(HEADER, {})
    with pytest.raises(ConfigError, match="cell_input"):
        model_bytes(replace(HEADER, config=replace(CONFIG, hidden=8)), WEIGHTS)

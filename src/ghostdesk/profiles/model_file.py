"""A trained model as bytes: weights in the safetensors format, and a header of plain JSON. No class path, no pickle.

Whatever does not fit (cut short, another program's, another format, numbers that are none) is refused with a
`ConfigError`, so that a bad file can be set aside and the simple predictors go on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.features import (
    APP_BUCKETS,
    HORIZONS_S,
    NUMBERS,
    RESOURCES,
    TIME_BINS,
    WORD_BUCKETS,
    WORDS,
    FloatArray,
)
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.lstm_step import LstmConfig, weight_shapes
from ghostdesk.profiles.recent_apps import CANDIDATES, LENGTH, LIST_STATISTICS, STATISTICS

FORMAT: Final = "ghostdesk-lstm"
FORMAT_VERSION: Final = 1
FEATURES: Final[dict[str, Any]] = {
    "hash": "blake2b-64",
    "app_buckets": APP_BUCKETS,
    "word_buckets": WORD_BUCKETS,
    "words": list(WORDS),
    "numbers": NUMBERS,
    "candidates": CANDIDATES,
    "ring": LENGTH,
    "statistics": STATISTICS,
    "list_statistics": LIST_STATISTICS,
    "time_bins": TIME_BINS,
    "resources": list(RESOURCES),
    "horizons_s": list(HORIZONS_S),
    "levels": list(LEVELS),
}
"""What a model was trained to see and to say; a model with other features cannot be served."""

_MOST_BYTES = 256 * 2**20
_MOST_HEADER_BYTES = 2**20
_LARGEST = {"hidden": 1024, "app_embedding": 256, "word_embedding": 64, "rank_embedding": 256, "gate": 256}
_MEND = "Use a file that `ghostdesk train` wrote, or train anew."


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What is known of a model beside its weights.

    Args:
        config: sizes and training settings.
        trained_at_s: when (UTC seconds).
        data_digest: digest of what it was trained on.
        metrics: names and values, as on held-out history; finite.
        parent: version of the model that it replaced, where there was one.
    """

    config: LstmConfig
    trained_at_s: float
    data_digest: str
    metrics: Mapping[str, float]
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model that may be served: `version` is the digest of its file."""

    header: ModelHeader
    weights: Mapping[str, FloatArray]
    version: str


def model_bytes(header: ModelHeader, weights: Mapping[str, FloatArray]) -> bytes:
    """The file of a model; raises `ConfigError` when the weights do not fit the header or are not finite."""
    _check_weights(header.config, weights)
    return packed(
        FORMAT, FORMAT_VERSION, {"features": FEATURES, "config": dataclasses.asdict(header.config)}, header, weights
    )


def read_model(data: bytes) -> Model:
    """The model of a file; raises `ConfigError` with cause and mend for whatever else it is."""
    told = header_of(data, FORMAT, FORMAT_VERSION)
    if told.get("features") != FEATURES:
        raise ConfigError("The model was trained on other inputs than this program has.", "Train anew.")
    header = _checked_header(told)
    weights = weights_of(data)
    _check_weights(header.config, weights)
    return Model(header, weights, model_version(data))


def model_version(data: bytes) -> str:
    """Digest of a model file, 16 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


class Origin(Protocol):
    """What the header of every kind of model says of where it comes from (see `ModelHeader`)."""

    @property
    def trained_at_s(self) -> float: ...

    @property
    def data_digest(self) -> str: ...

    @property
    def metrics(self) -> Mapping[str, float]: ...

    @property
    def parent(self) -> str | None: ...


def packed(
    form: str, version: int, told: Mapping[str, object], origin: Origin, weights: Mapping[str, FloatArray]
) -> bytes:
    """A file of the kind `form`: what is told of it and of its origin as JSON, and its weights as float32."""
    header = {
        "format": form,
        "format_version": version,
        **told,
        "trained_at_s": origin.trained_at_s,
        "data_digest": origin.data_digest,
        "metrics": dict(origin.metrics),
        "parent": origin.parent,
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    kept = {name: np.ascontiguousarray(weights[name], np.float32) for name in sorted(weights)}
    return save(kept, metadata={form: text})


def weights_of(data: bytes) -> dict[str, FloatArray]:
    """The arrays of a file; raises `ConfigError` where they cannot be read."""
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ConfigError("The model file is damaged: its weights cannot be read.", _MEND) from error


def header_of(data: bytes, form: str, version: int) -> dict[str, Any]:
    """Our JSON out of the safetensors header: 8 bytes of length, then JSON whose `__metadata__` holds texts.

    `form` names it, and the header says so itself, and its version. Raises `ConfigError` for whatever else it is.
    """
    if not 8 < len(data) <= _MOST_BYTES:
        raise ConfigError(f"This is no model file: it has {len(data)} bytes.", _MEND)
    length = int.from_bytes(data[:8], "little")
    if length > min(_MOST_HEADER_BYTES, len(data) - 8):
        raise ConfigError("The model file is cut short, or it is no model file.", _MEND)
    try:
        outer = json.loads(data[8 : 8 + length])
        told = json.loads(outer["__metadata__"][form])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ConfigError("This is no model file of ghostdesk: it has no readable header.", _MEND) from error
    if not isinstance(told, dict) or told.get("format") != form:
        raise ConfigError("This is no model file of ghostdesk: its header is another program's.", _MEND)
    if told.get("format_version") != version:
        raise ConfigError(
            f"The model file's format version is {str(told.get('format_version'))[:20]}, not {version}.",
            "Train anew with this version of ghostdesk.",
        )
    return told


def origin_of(told: Mapping[str, Any]) -> tuple[float, str, dict[str, float], str | None]:
    """When it was trained, the digest of what on, its metrics and its parent; raises `ValueError`, or what Python
    raises for a missing or foreign part."""
    metrics = {str(name): finite(value) for name, value in told["metrics"].items()}
    parent, digest = told["parent"], told["data_digest"]
    if not isinstance(digest, str) or not (parent is None or isinstance(parent, str)):
        raise ValueError("a digest is no text")
    return finite(told["trained_at_s"]), digest, metrics, parent


@contextmanager
def header_errors() -> Iterator[None]:
    """What a header that is not valid raises becomes a `ConfigError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError(f"The header of the model file is not valid: {str(error)[:100]}.", _MEND) from error


def _checked_header(told: Mapping[str, Any]) -> ModelHeader:
    with header_errors():
        config = _checked_config(told["config"])
        return ModelHeader(config, *origin_of(told))


def _checked_config(found: Mapping[str, Any]) -> LstmConfig:
    kinds = get_type_hints(LstmConfig)
    if {*found} != {*kinds}:
        raise ValueError("the names of its settings differ")
    for name, kind in kinds.items():
        value = finite(found[name])
        if kind is int and not (isinstance(found[name], int) and 1 <= value <= _LARGEST[name]):
            raise ValueError(f"{name} must be 1 to {_LARGEST[name]}")
    return LstmConfig(**{name: kind(found[name]) for name, kind in kinds.items()})


def finite(value: Any) -> float:
    """The number; raises `ValueError` where it is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number is missing or not finite")
    return float(value)


def _check_weights(config: LstmConfig, weights: Mapping[str, FloatArray]) -> None:
    shapes = weight_shapes(config)
    if {*weights} != {*shapes}:
        raise ConfigError("The model file does not hold the weights that its header names.", _MEND)
    for name, shape in shapes.items():
        value = weights[name]
        if value.shape != shape or value.dtype != np.float32:
            raise ConfigError(f"The weights {name} are {value.dtype} {value.shape}, not float32 {shape}.", _MEND)
        if not np.isfinite(value).all():
            raise ConfigError(f"The weights {name} hold a number that is not finite.", _MEND)

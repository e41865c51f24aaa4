"""The trained models of the usage curves as bytes: safetensors with a header of plain JSON. No class path, no pickle.

One file holds the models of some resources, each by its name. Whatever does not fit is refused with a `ConfigError`, so
that a bad file can be set aside and the plain mean of the experts goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.model_file import header_errors, header_of, model_version, origin_of, packed, weights_of
from ghostdesk.profiles.resource_curves.live import RESOURCES
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.quantiles import Floats

FORMAT: Final = "ghostdesk-curves"
FORMAT_VERSION: Final = 1
_MEND = "Use a file that `ghostdesk train` wrote, or train anew."


@dataclass(frozen=True, slots=True)
class CurveHeader:
    """What is known of the models beside their weights.

    Args:
        trained_at_s: when (UTC seconds).
        data_digest: digest of what they were trained on.
        metrics: names and values, as on held-out hours; finite.
        parent: version of the file that they replaced, where there was one.
    """

    trained_at_s: float
    data_digest: str
    metrics: Mapping[str, float]
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class StoredCurves:
    """Models by resource that may be served: `version` is the digest of their file."""

    header: CurveHeader
    models: Mapping[str, CurveModel]
    version: str


def curve_models_bytes(header: CurveHeader, models: Mapping[str, CurveModel]) -> bytes:
    """The file of the models of some resources."""
    resources, arrays = models_to_arrays(models)
    return packed(FORMAT, FORMAT_VERSION, {"resources": resources}, header, arrays)


def read_curve_models(data: bytes) -> StoredCurves:
    """The models of a file; raises `ConfigError` with cause and mend for whatever else it is."""
    header, resources = _checked(header_of(data, FORMAT, FORMAT_VERSION))
    arrays = weights_of(data)
    return StoredCurves(header, models_from_arrays(resources, arrays), model_version(data))


def models_to_arrays(models: Mapping[str, CurveModel]) -> tuple[dict[str, object], dict[str, Floats]]:
    """The models of several resources as one header that JSON can hold, and arrays by name."""
    headers: dict[str, object] = {}
    arrays: dict[str, Floats] = {}
    for resource, model in models.items():
        headers[resource], own = model.to_arrays()
        arrays |= {f"{resource}/{name}": array for name, array in own.items()}
    return headers, arrays


def models_from_arrays(headers: Mapping[str, object], arrays: Mapping[str, Floats]) -> dict[str, CurveModel]:
    """The models that `models_to_arrays` gave. Raises `ConfigError` where one is foreign or damaged."""
    found = {}
    for resource, header in headers.items():
        if resource not in RESOURCES:
            raise ConfigError("The model file names a resource that this program does not know.", _MEND)
        own = {name.removeprefix(f"{resource}/"): a for name, a in arrays.items() if name.startswith(f"{resource}/")}
        found[resource] = CurveModel.from_arrays(header if isinstance(header, Mapping) else {}, own)
    return found


def _checked(told: Mapping[str, Any]) -> tuple[CurveHeader, Mapping[str, object]]:
    with header_errors():
        resources = told["resources"]
        if not isinstance(resources, dict):
            raise ValueError("a part is of another kind")
        return CurveHeader(*origin_of(told)), resources

"""Usage curves as a file: what comes back is what went in, and nothing else is taken for one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.resource_curves.experts import EXPERTS
from ghostdesk.profiles.resource_curves.features import FEATURES
from ghostdesk.profiles.resource_curves.gate import GateShape, new_parameters
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.model_file import CurveHeader, curve_models_bytes, read_curve_models
from ghostdesk.profiles.resource_curves.predictor import HORIZON_H
from ghostdesk.profiles.resource_curves.quantiles import LEVEL_VALUES

SHAPE = GateShape(len(EXPERTS), HORIZON_H, LEVEL_VALUES.size)
ONES = np.ones(FEATURES, dtype=np.float32)
MODEL = CurveModel(SHAPE, (new_parameters(SHAPE, np.random.default_rng(1), 0 * ONES, ONES),), 3.0)
HEADER = CurveHeader(1.7e9, "data", {"cpu_cores_quantile_loss": 0.34}, "parent")
DATA = curve_models_bytes(HEADER, {"cpu_cores": MODEL, "memory_bytes": CurveModel.untrained(5.0)})


def test_what_comes_back_forecasts_the_same() -> None:
    found = read_curve_models(DATA)
    assert found.header == HEADER
    assert set(found.models) == {"cpu_cores", "memory_bytes"}
    window = np.random.default_rng(2).gamma(2.0, 1.0, (3, 168)).astype(np.float32)
    clock = np.zeros(3)
    assert (found.models["cpu_cores"].quantiles(window, clock) == MODEL.quantiles(window, clock)).all()
    assert curve_models_bytes(found.header, found.models) == DATA


@given(st.integers(0, len(DATA) - 1))
@settings(max_examples=40, deadline=None)
def test_a_file_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ConfigError) as refused:
        read_curve_models(DATA[:length])
    assert refused.value.mend


@given(st.binary(max_size=200))
@settings(max_examples=40, deadline=None)
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        read_curve_models(data)


def test_another_programs_file_an_unknown_resource_and_another_version_are_refused() -> None:
    with pytest.raises(ConfigError, match="no model file of ghostdesk"):
        read_curve_models(save({"weight": ONES}, metadata={"format": "pt"}))
    with pytest.raises(ConfigError, match="does not know"):
        read_curve_models(curve_models_bytes(HEADER, {"tea_cups": MODEL}))
    with pytest.raises(ConfigError, match="version"):
        read_curve_models(DATA.replace(rb"format_version\": 1", rb"format_version\": 9"))


def test_numbers_that_are_none_are_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        curve_models_bytes(CurveHeader(1.7e9, "data", {"loss": float("nan")}), {})

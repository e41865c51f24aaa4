"""The density report, made up here and marked so, is written, read back and shown."""

import io
import json

import pytest
from rich.console import Console

from ghostdesk.bench.density import CallBack, DensityReport, DensityRung, RungSeries, Wake
from ghostdesk.bench.density_fit import Step
from ghostdesk.bench.density_report import from_json, table, to_json
from ghostdesk.bench.host import Provenance
from ghostdesk.kernel.resources import MIB

MADE_UP = Provenance("Some CPU", 2, 4 << 30, "Linux 6", "2026-01-02", "ghostdesk bench density", synthetic=True)


def report() -> DensityReport:
    steps = tuple(
        Step(n, 16 * n, 100 * MIB + 5 * n * MIB, 0, 28 * n * MIB, 4 * n * MIB, 40 * n * MIB) for n in (1, 2, 4)
    )
    series = tuple(RungSeries(rung, steps, 60.0, 0.06, (0.3,), ("no window",)) for rung in DensityRung)
    wakes = tuple(Wake(how, 0.05, 0.1, None if n else 0.06, 0.2) for how in CallBack for n in range(2))
    return DensityReport(MADE_UP, "Writer", "1.0 GiB on zram1, lzo-rle", series, wakes, ("a wake: it fell over",))


def test_it_comes_back_from_its_json() -> None:
    text = to_json(report())
    assert from_json(text) == report()
    summary = json.loads(text)["summary"]
    assert [row["rung"] for row in summary] == list(DensityRung)
    assert summary[0]["marginal_bytes"] == pytest.approx(37 * MIB)
    assert summary[0]["fit_in_16_gib"] == (16384 - 100) // 37
    assert summary[0]["cpu_share"] == pytest.approx(0.001)


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": "ghostdesk.bench.idle/1"}'])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"density"):
        from_json(text)


def test_the_table_says_what_is_extrapolated_and_what_is_missing() -> None:
    out = io.StringIO()
    Console(file=out, width=160).print(table(report()))
    text = out.getvalue()
    for words in ("extrapolated", "37.0", "440", "SYNTHETIC", "missing: a wake: it fell over", "no window", "50 (50)"):
        assert words in text, words

"""`ghostdesk bench plan`: synthetic fleets, times and gaps, and clear errors."""

import json

import pytest
from typer.testing import CliRunner

from ghostdesk.bench.plan import PlanCost, growth, measure_gaps
from ghostdesk.cli.bench import app
from ghostdesk.kernel.errors import ConfigError

RUN = CliRunner()


def _cost(users: int, planned_s: float) -> PlanCost:
    return PlanCost(users, 10, (planned_s,), (planned_s,), 0, 0, 0.0, 0, 0, 0)


def test_the_growth_is_the_exponent_of_time_against_users() -> None:
    assert growth([_cost(1000, 0.1), _cost(10_000, 1.0), _cost(100_000, 10.0)]) == pytest.approx(1.0)
    assert growth([_cost(1000, 0.1), _cost(10_000, 10.0)]) == pytest.approx(2.0)
    assert growth([_cost(1000, 0.1)]) is None


def test_the_report_says_what_is_synthetic() -> None:
    done = RUN.invoke(app, ["plan", "--users", "1500,3000", "--hosts", "2", "--rounds", "1", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["schema"] == "ghostdesk.bench.plan/1"
    assert report["provenance"]["synthetic"] is True
    assert [plan["users"] for plan in report["plans"]] == [1500, 3000]
    assert all(plan["median_s"] > 0 and 0 <= plan["gap"] < 1 and plan["peak_bytes"] > 0 for plan in report["plans"])
    assert report["growth_exponent"] is not None
    shown = RUN.invoke(app, ["plan", "--users", "1500", "--hosts", "2", "--rounds", "1"])
    assert "SYNTHETIC" in shown.stdout


def test_gaps_are_measured_for_every_shape(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("highspy", reason="needs the extra bench (highspy)")
    from ghostdesk.bench import plan
    from ghostdesk.bench.plan_inputs import SHAPES

    monkeypatch.setattr(plan, "SHAPES", {"one host": SHAPES["one host"]})
    told: list[str] = []
    (found,) = measure_gaps(2, 0, 10.0, told.append)
    assert (found.shape, len(found.gaps), len(told)) == ("one host", 2, 2)
    assert not capfd.readouterr().out, "standard output is for the report"
    assert found.mean <= found.p95 <= found.worst < 0.02


@pytest.mark.parametrize("users", ["many", "0", "-5", "99999999999", ""])
def test_rubbish_is_refused_with_what_to_write_instead(users: str) -> None:
    done = RUN.invoke(app, ["plan", "--users", users])
    assert isinstance(done.exception, ConfigError)
    assert "--users 10000,100000" in done.exception.mend

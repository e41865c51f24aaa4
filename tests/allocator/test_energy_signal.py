"""Signals of price and carbon: many forms are read, rubbish and stale ones are ignored with a reason."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.allocator.energy_signal import (
    MOST_BYTES,
    USUAL,
    EnergySignal,
    at_this_price,
    parse_signal,
    worth_now,
)
from ghostdesk.allocator.plan import PoolPolicy, Reason
from ghostdesk.allocator.service_target import ServiceTarget
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import TemplateId

DAY = EnergySignal(tuple(3_600.0 * h for h in range(48)), tuple(100.0 if h % 24 < 18 else 300.0 for h in range(48)))
POLICY = PoolPolicy(DesktopTemplate(TemplateId("generic")), warm_threshold=0.3, park_after_s=900.0)


@pytest.mark.parametrize(
    "text",
    [
        "time,value\n1970-01-01T00:00:00Z,120\n1970-01-01T01:00:00Z,90\n",
        "Timestamp,note,Price\n1795705200,x,120\n1795708800.0,y,90\n",
        json.dumps([["1970-01-01T00:00:00+00:00", 120], ["1970-01-01T01:00:00", "90"]]),
        json.dumps({"data": [{"from": "1970-01-01T00:00Z", "intensity": {"forecast": 120}},
                             {"from": "1970-01-01T01:00Z", "intensity": {"actual": 90, "forecast": 1}}]}),
    ],
)  # fmt: skip
def test_csv_and_json_are_read(text: str) -> None:
    # 1970-01-01T00:00 is second 0, which is no time of a signal
    assert parse_signal(text).values[-1] == 90.0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "first line"),
        ("hello\nworld\n", "first line"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"a": 1}', "no list"),
        ("time,value\n1,x\n2,nan\n3,4\n", "2 of its 3 rows"),
        ("time,value\n", "0 of its 0 rows"),
        ("x" * (MOST_BYTES + 1), "larger than"),
        ("<html><body>moved</body></html>", "first line"),
    ],
)
def test_rubbish_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_signal(text)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda b: b.decode("latin-1")))
def test_whatever_a_signal_holds_it_is_read_or_refused(text: str) -> None:
    try:
        signal = parse_signal(text)
    except ValueError:
        return
    assert list(signal.times_s) == sorted(set(signal.times_s))
    assert all(math.isfinite(value) for value in signal.values)


def test_dear_and_cheap_hours() -> None:
    dear, usual = worth_now(DAY, 3_600.0 * 19.5), worth_now(DAY, 3_600.0 * 12.5)
    assert dear.dear
    assert dear.factor == 3.0
    assert not usual.dear
    assert not usual.cheap
    assert "300" in dear.reason.text


def test_a_spike_and_a_negative_price_are_kept_within_bounds() -> None:
    spike = EnergySignal((0.0, 3_600.0, 7_200.0), (10.0, 4_000.0, 10.0))
    negative = EnergySignal((0.0, 3_600.0, 7_200.0), (10.0, -50.0, 10.0))
    assert worth_now(spike, 3_700.0).factor == 4.0
    assert worth_now(negative, 3_700.0).factor == 0.25


@pytest.mark.parametrize(
    ("signal", "now_s", "code"),
    [
        (DAY, 3_600.0 * 60, "stale"),
        (DAY, -10.0, "stale"),
        (EnergySignal((0.0, 3_600.0), (0.0, 0.0)), 10.0, "rubbish"),
        (EnergySignal((0.0, 86_400.0 * 9), (5.0, 5.0)), 86_400.0 * 4, "stale"),  # a hole of days
    ],
)
def test_what_does_not_say_changes_nothing(signal: EnergySignal, now_s: float, code: str) -> None:
    worth = worth_now(signal, now_s)
    assert worth.factor == 1.0
    assert worth.reason.code == code


def test_dear_hours_defer_what_can_wait_within_the_service_target() -> None:
    service = ServiceTarget(0.99)
    policy, kept, reason = at_this_price(POLICY, service, worth_now(DAY, 3_600.0 * 19.5))
    assert reason is not None
    assert reason.code == "energy"
    assert policy.warm_threshold > POLICY.warm_threshold
    assert policy.park_after_s < POLICY.park_after_s
    assert (policy.target_hit_rate, policy.floor) == (POLICY.target_hit_rate, POLICY.floor)
    assert kept.asked == service.asked
    assert kept.aim_inside == 0.0


def test_cheap_hours_warm_early_and_usual_ones_change_nothing() -> None:
    cheap = worth_now(EnergySignal((0.0, 3_600.0, 7_200.0), (100.0, 20.0, 100.0)), 3_700.0)
    policy, _, _ = at_this_price(POLICY, ServiceTarget(0.99), cheap)
    assert policy.warm_threshold < POLICY.warm_threshold
    assert policy.park_after_s > POLICY.park_after_s
    assert at_this_price(POLICY, ServiceTarget(0.99), USUAL) == (POLICY, ServiceTarget(0.99), None)
    assert Reason("no-signal", USUAL.reason.text) == USUAL.reason

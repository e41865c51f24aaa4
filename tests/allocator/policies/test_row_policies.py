"""Row policies: what must hold of every one of them, and what each is by itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from row_histories import DAY_S, START_S, busy_house, histories, row

from ghostdesk.allocator.policies.catalogue import ROW_FAMILIES, families
from ghostdesk.allocator.policies.crowd_rows import CrowdScores
from ghostdesk.allocator.policies.greedy_dual import GreedyDual
from ghostdesk.allocator.policies.mixed_scores import MixedScores
from ghostdesk.allocator.policies.row_scores import Chooser, ScoredRows, Threshold
from ghostdesk.allocator.policies.row_targets import HitRateTarget, IdleBudget, RollingCurve
from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, Policy, PolicyFamily
from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.evaluate.desktops_world import Lead, RowWorld, Tally

DAYS = 12
HOUSE = busy_house(5, DAYS)


class Watched:
    """A policy that keeps what it decided; the world asks it like any other."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.decided: list[tuple[float, list[int]]] = []

    def grow(self, rows: int) -> None:
        self._policy.grow(rows)

    def observe(self, observed: Observed) -> None:
        self._policy.observe(observed)

    def decide(self, moment: Moment) -> Decision:
        decision = self._policy.decide(moment)
        assert decision.warm is not None and decision.code and decision.why
        self.decided.append((moment.now_s, np.flatnonzero(decision.warm).tolist()))
        return decision


def judged(rows: list[RowUse], policies: list[Policy], from_s: float = 0.0, lead: Lead = Lead()) -> list[Tally]:  # noqa: B008
    return RowWorld(rows, 600, from_s, lead).judge(policies)


def made(name: str) -> list[Policy]:
    return [setting.make() for setting in families()[name].settings]


@settings(max_examples=12, deadline=None)
@given(histories())
def test_idle_time_is_never_negative_and_nobody_beats_always_on_or_the_bound(rows: list[RowUse]) -> None:
    names = ("keep-alive", "greedy-dual", "always-on", "clairvoyant-rows")
    policies = [policy for name in names for policy in made(name)]
    tallies = judged(rows, policies)
    *others, always, bound = tallies
    assert all(tally.idle_s >= -1e-6 for tally in tallies)
    assert always.cold == bound.cold == len(rows)  # the very first use of each row, and no other
    assert all(tally.cold >= always.cold and tally.idle_s <= always.idle_s + 1e-6 for tally in others)
    assert all(tally.idle_s >= bound.idle_s - 1e-6 for tally in tallies if tally.cold == bound.cold)


@settings(max_examples=12, deadline=None)
@given(histories())
def test_a_longer_keep_alive_is_never_colder(rows: list[RowUse]) -> None:
    tallies = judged(rows, made("keep-alive"))
    for shorter, longer in itertools.pairwise(tallies):
        assert longer.cold <= shorter.cold
        assert longer.idle_s >= shorter.idle_s - 1e-6


@pytest.mark.parametrize("name", ["hazard-table", "crowd-rows", "greedy-dual", "weekday-rule"])
def test_settings_stand_in_the_order_of_rising_cost(name: str) -> None:
    idle = [tally.idle_s for tally in judged(HOUSE, made(name), START_S + 5 * DAY_S)]
    assert idle == sorted(idle)
    assert idle[0] < idle[-1]


# The bound is told the future: it is no policy.
@pytest.mark.parametrize(
    "family", [one for one in ROW_FAMILIES if one.name != "clairvoyant-rows"], ids=lambda family: family.name
)
def test_the_future_does_not_change_what_was_decided_before(family: PolicyFamily) -> None:
    split_s = 7 * DAY_S + 13 * 3600.0
    other = busy_house(5, DAYS, seed=2)
    setting = family.settings[len(family.settings) // 2]
    decided = []
    for future in (HOUSE, other):
        rows = []
        for own, later in zip(HOUSE, future, strict=True):
            # A use that is under way at the split ends when it ends.
            before = own.start_s < START_S + split_s
            after = later.start_s > max(START_S + split_s, float(own.end_s[before][-1]) + 1.0)
            start_s = np.append(own.start_s[before], later.start_s[after])
            end_s = np.append(own.end_s[before], later.end_s[after])
            rows.append(RowUse(own.name, start_s, end_s, np.zeros(len(start_s)), own.until_s))
        watched = Watched(setting.make())
        judged(rows, [watched])
        decided.append(watched.decided)
    until = sum(now_s <= START_S + split_s for now_s, _ in decided[0])
    assert until > 1_000
    assert decided[0][:until] == decided[1][:until]
    if family.name not in ("always-on", "weekday-rule"):  # the one sees nothing, the other weeks alone
        assert decided[0] != decided[1]


@pytest.mark.parametrize("name", ["hazard-table", "crowd-rows", "hybrid-histogram"])
def test_settings_judged_together_come_out_as_if_each_had_been_alone(name: str) -> None:
    together = judged(HOUSE[:3], made(name), START_S + 7 * DAY_S)
    place = len(together) // 2
    alone = judged(HOUSE[:3], [Watched(made(name)[place])], START_S + 7 * DAY_S)[0]
    assert alone.cold == together[place].cold
    assert alone.idle_s == pytest.approx(together[place].idle_s)


def test_a_lead_time_makes_starts_cold_and_no_start_warm() -> None:
    at_once = judged(HOUSE, made("hazard-table"), START_S + 5 * DAY_S)
    late = judged(HOUSE, made("hazard-table"), START_S + 5 * DAY_S, Lead(300.0, 0.5))
    assert all(b.cold >= a.cold for a, b in zip(at_once, late, strict=True))
    assert sum(b.cold for b in late) > sum(a.cold for a in at_once)
    # Always on is ready before anybody comes, whatever the lead.
    assert judged(HOUSE, made("always-on"), lead=Lead(300.0, 0.5))[0].cold == len(HOUSE)


def test_rows_that_everybody_prefers_are_held_first() -> None:
    """All were idle for as long, at the same time of the week: the one that people choose has the higher chance."""
    policy = made("crowd-rows")[0]
    assert isinstance(policy, ScoredRows)
    watched = Watched(policy)
    world = RowWorld(HOUSE, 600, 0.0)
    world.judge([watched])
    now_s = START_S + 14 * DAY_S + 11 * 3600.0  # a Monday, eleven o'clock
    idle_s = np.full(len(HOUSE), 3_600.0)
    moment = Moment(now_s, 0.0, now_s + 600.0, 0.0, 0.0, 0, 0, 0, idle_s)
    scores = policy.source.scores(moment)
    first = int(np.argmin([one.name for one in world.rows]))
    last = int(np.argmax([one.name for one in world.rows]))
    assert scores[first] > 2.0 * scores[last]


def test_greedy_dual_evicts_the_least_used() -> None:
    policy = GreedyDual(0.5)
    policy.grow(2)
    policy.observe(Observed(0.0, 600.0, np.array([0, 1, 0]), np.array([0.0, 100.0, 300.0])))
    idle = Moment(600.0, 0.0, 1200.0, 0.0, 0.0, 0, 0, 0, np.array([250.0, 200.0]))
    warm = policy.decide(idle).warm
    assert warm is not None and warm.tolist() == [True, False]


def test_a_rolling_curve_gives_the_price_that_would_have_met_the_aim() -> None:
    curve = RollingCurve()
    curve.starts[[10, 100, 200]] = (5.0, 15.0, 80.0)
    curve.idle_s[[10, 100, 200]] = (5_000.0, 3_000.0, 2_000.0)
    assert curve.least_bin_of_cold(0.05) == 100
    assert curve.least_bin_of_cold(0.2) == 200
    assert curve.least_bin_of_idle(50.0) == 11
    assert curve.least_bin_of_idle(20.0) == 101


def kept_by(chooser: Chooser, wrong_from: int, slots: int = 6_000) -> tuple[float, float]:
    """Misses a start and idle minutes a session, in the second half.

    Scores are the true chances until the slot `wrong_from`, and half of them from then on. Seeded.
    """
    rng = np.random.default_rng(5)
    misses = starts = 0
    spent_s, idle_s = 0.0, np.full(60, 3_600.0)
    for slot in range(slots):
        now_s = START_S + 600.0 * slot
        chances = np.exp(rng.normal(-4.5, 1.5, size=60)).clip(1e-5, 0.5)
        moment = Moment(now_s, 0.0, now_s + 600.0, 0.0, 0.0, 0, 0, 0, idle_s)
        warm = chooser.choose(chances if slot < wrong_from else chances / 2.0, moment).warm
        assert warm is not None
        came = np.flatnonzero(rng.random(60) < chances)
        missed = int((~warm[came]).sum())
        # Everybody comes in the middle of the slot, and goes as it ends.
        at_s = np.full(len(came), now_s + 300.0)
        chooser.observe(Observed(now_s, now_s + 600.0, came, at_s, came, at_s + 299.999, missed))
        if slot >= slots // 2:
            misses, starts = misses + missed, starts + len(came)
            spent_s += 600.0 * float(warm.sum()) - 300.0 * (len(came) - missed)
    return misses / starts, spent_s / 60.0 / starts


@pytest.mark.parametrize("hit_rate", [0.8, 0.95, 0.99])
def test_a_hit_rate_is_kept_though_the_scores_go_wrong(hit_rate: float) -> None:
    missed, _ = kept_by(HitRateTarget(hit_rate), wrong_from=2_000)
    assert 0.7 * (1.0 - hit_rate) < missed <= 1.0 - hit_rate


@pytest.mark.parametrize("minutes", [30.0, 120.0])
def test_a_budget_is_kept_though_the_scores_go_wrong(minutes: float) -> None:
    _, spent = kept_by(IdleBudget(minutes), wrong_from=2_000)
    assert spent == pytest.approx(minutes, rel=0.1)


def test_habits_of_people_are_mixed_in() -> None:
    """Everybody has an hour of their own: the house tells little, the mixture finds the habit."""
    rng = np.random.default_rng(4)
    people = []
    for number in range(6):
        own_s = 3_600.0 * (7 + 2 * number)
        starts_s = [DAY_S * day + own_s + float(rng.uniform(0, 3_000)) for day in range(40) if day % 7 < 5]
        people.append(row(f"p{number}", [(s, s + 5_000.0) for s in starts_s]))
    settings_ = (0.3, 0.1, 0.03, 0.01)
    world = RowWorld(people, 3_600, START_S + 21 * DAY_S)
    house = [ScoredRows(CrowdScores(), Threshold(least, "x", "x"), "house") for least in settings_]
    mixed = [ScoredRows(MixedScores(CrowdScores()), Threshold(least, "x", "x"), "mixed") for least in settings_]
    tallies = world.judge([*house, *mixed])
    curves = [
        [(t.idle_s / 60.0 / t.sessions, t.cold / t.sessions) for t in part] for part in (tallies[:4], tallies[4:])
    ]
    at = min(curves[0][-1][0], curves[1][-1][0])
    cold = [float(np.interp(at, *zip(*curve, strict=True))) for curve in curves]
    assert cold[1] <= cold[0] + 0.02
    assert tallies[-1].cold / tallies[-1].sessions < 0.1


@pytest.mark.parametrize("hit_rate", [0.0, 1.0, 99.0, float("nan")])
def test_impossible_hit_rates_are_refused(hit_rate: float) -> None:
    with pytest.raises(ValueError, match="hit rate"):
        HitRateTarget(hit_rate)


@pytest.mark.parametrize("minutes", [0.0, -5.0, float("nan")])
def test_impossible_budgets_are_refused(minutes: float) -> None:
    with pytest.raises(ValueError, match="budget"):
        IdleBudget(minutes)


def test_ticks_shorter_than_a_slot_learn_the_same_slots() -> None:
    """A live loop asks every minute: hazards stay those of ten minutes, and are about the same."""
    coarse, fine = made("crowd-rows")[0], made("crowd-rows")[0]
    assert isinstance(coarse, ScoredRows) and isinstance(fine, ScoredRows)
    house = HOUSE[:3]
    judged(house, [Watched(coarse)])
    events = sorted(
        [(t, True, n) for n, one in enumerate(house) for t in one.start_s.tolist()]
        + [(t, False, n) for n, one in enumerate(house) for t in one.end_s.tolist()]
    )
    fine.grow(3)
    end_s = np.full(3, np.inf)
    busy = np.zeros(3, dtype=bool)
    at = 0
    now_s = float(house[0].start_s[0]) // 3600 * 3600
    last_s = START_S + DAYS * DAY_S
    while now_s < last_s:
        idle_s = np.where(busy, np.nan, now_s - np.where(np.isfinite(end_s), end_s, -np.inf))
        fine.decide(Moment(now_s, 0.0, now_s + 300.0, 0.0, 0.0, 0, 0, int(busy.sum()), idle_s))
        new = at
        while new < len(events) and events[new][0] < now_s + 300.0:
            new += 1
        starts = [(t, n) for t, begins, n in events[at:new] if begins]
        ends = [(t, n) for t, begins, n in events[at:new] if not begins]
        for time_s, begins, number in events[at:new]:
            busy[number] = begins
            if not begins:
                end_s[number] = time_s
        fine.observe(
            Observed(
                now_s, now_s + 300.0,
                np.array([n for _, n in starts], dtype=np.int64), np.array([t for t, _ in starts]),
                np.array([n for _, n in ends], dtype=np.int64), np.array([t for t, _ in ends]),
            )
        )  # fmt: skip
        at, now_s = new, now_s + 300.0
    moment = Moment(
        last_s + 2 * DAY_S + 39_600.0, 0.0, last_s + 2 * DAY_S + 40_200.0, 0.0, 0.0, 0, 0, 0, np.full(3, 6e4)
    )
    assert fine.source.scores(moment) == pytest.approx(coarse.source.scores(moment), rel=0.5)


@pytest.mark.parametrize("family", ROW_FAMILIES, ids=lambda family: family.name)
def test_a_row_alone_is_enough(family: PolicyFamily) -> None:
    alone = [row("one", [(3_600.0 * (24 * day + 9), 3_600.0 * (24 * day + 10)) for day in range(6)])]
    for tally in judged(alone, [setting.make() for setting in family.settings[:2]]):
        assert 1 <= tally.cold <= tally.sessions == 6

"""Shares are probabilities, people help each other, nobody drowns the others, and forgetting is exact."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.habits import FADE, HabitTable, times_of
from ghostdesk.profiles.situation import Situation

ADA, BOB, EVE = UserId("ada"), UserId("bob"), UserId("eve")
SAME = {"a": "a", "b": "b", "c": "c"}
STEPS = st.lists(
    st.tuples(st.sampled_from([ADA, BOB, EVE]), st.sampled_from("xyz"), st.sampled_from("abcd")), max_size=60
)


@given(STEPS, st.sampled_from([ADA, BOB, UserId("new")]))
@settings(max_examples=80, deadline=None)
def test_shares_are_probabilities(steps: list[tuple[UserId, str, str]], user: UserId) -> None:
    table = HabitTable()
    for who, circumstance, choice in steps:
        table.learn(who, ["always", circumstance], choice)
    shares = table.shares(user, ["always", "x"], SAME)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(share > 0 for share in shares.values())


@given(STEPS)
@settings(max_examples=80, deadline=None)
def test_whoever_is_forgotten_was_never_there(steps: list[tuple[UserId, str, str]]) -> None:
    table, without = HabitTable(), HabitTable()
    for who, circumstance, choice in steps:
        table.learn(who, [circumstance], choice)
        if who != ADA:
            without.learn(who, [circumstance], choice)
    table.forget(ADA)
    for circumstance in "xyz":
        assert table.pool_choices(circumstance) == pytest.approx(without.pool_choices(circumstance), abs=1e-5)
        assert table.own_choices(ADA, circumstance) == {}
        for user in (ADA, BOB):
            found, wanted = (t.shares(user, [circumstance], SAME) for t in (table, without))
            assert found == pytest.approx(wanted, abs=1e-5)


def test_nothing_known_is_equal_shares_and_no_choices_are_none() -> None:
    assert HabitTable().shares(ADA, ["always"], SAME) == pytest.approx(dict.fromkeys("abc", 1 / 3))
    assert HabitTable().shares(ADA, ["always"], {}) == {}


def test_a_newcomer_gets_what_others_do_and_soon_their_own() -> None:
    table = HabitTable()
    for _ in range(30):
        table.learn(BOB, ["always"], "a")
    assert table.shares(ADA, ["always"], SAME)["a"] > 0.7
    for _ in range(10):
        table.learn(ADA, ["always"], "b")
    assert table.shares(ADA, ["always"], SAME)["b"] > 0.7


def test_a_million_choices_of_one_weigh_as_fifty() -> None:
    table = HabitTable()
    for _ in range(5000):
        table.learn(EVE, ["always"], "c")
    assert table.weight(EVE, "always") <= 1 / (1 - FADE) + 1e-9
    for number in range(20):
        for _ in range(20):
            table.learn(UserId(f"u{number}"), ["always"], "a")
    shares = table.shares(ADA, ["always"], SAME)
    assert shares["a"] > 4 * shares["c"]


def test_what_one_person_can_fill_is_bounded() -> None:
    table = HabitTable()
    for number in range(5000):
        table.learn(EVE, [("place", number), "always"], f"choice {number}")
    assert len(table._own[EVE]) <= 600
    assert max(len(counts) for counts in (*table._own[EVE].values(), *table._pool.values())) <= 64
    table.forget(EVE)
    assert not table._own and not table._shared and not table._pool


def test_names_with_one_shared_word_divide_what_others_do() -> None:
    table = HabitTable()
    for _ in range(30):
        table.learn(BOB, ["always"], "Berlin", "office")
    shares = table.shares(ADA, ["always"], {"lab": "office", "desk": "office", "den": "home"})
    assert shares["lab"] == shares["desk"] > shares["den"]


def test_a_dropped_choice_is_gone_from_own_and_if_asked_from_all() -> None:
    table = HabitTable()
    for name in ("secret plan", "b"):
        table.learn(ADA, ["always"], name)
    table.drop(ADA, "secret plan", "secret plan")
    assert set(table.own_choices(ADA, "always")) == set(table.pool_choices("always")) == {"b"}
    table.drop(BOB, "never there")


@pytest.mark.parametrize(
    ("situation", "count"),
    [(Situation(), 1), (Situation(hour=9.5), 2), (Situation(hour=9.5, weekday=2), 3), (Situation(weekday=2), 1)],
)
def test_times_that_are_not_known_are_left_out(situation: Situation, count: int) -> None:
    assert len(times_of(situation)) == count

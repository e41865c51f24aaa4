"""The simple experts: their rules by hand, and what holds for every one of them on any sequence."""

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.next_app.expert import ExpertFactory, NextAppExpert
from ghostdesk.profiles.next_app.ipam import Ipam
from ghostdesk.profiles.next_app.markov import Markov
from ghostdesk.profiles.next_app.most_frequent import MostFrequent
from ghostdesk.profiles.next_app.most_recent import Current, MostRecent, non_increasing
from ghostdesk.profiles.next_app.ppm import PpmRecencyExpert
from ghostdesk.profiles.next_app.tally import Tally
from ghostdesk.profiles.situation import Situation

EXPERTS: dict[str, ExpertFactory] = {
    "most-frequent": MostFrequent,
    "most-recent": MostRecent,
    "current-last": lambda: MostRecent(Current.LAST),
    "current-dropped": lambda: MostRecent(Current.DROPPED),
    "markov-1": Markov,
    "markov-2": lambda: Markov(2),
    "ipam": Ipam,
}
every_expert = pytest.mark.parametrize("make", EXPERTS.values(), ids=EXPERTS)


def taught(expert: NextAppExpert, apps: str) -> NextAppExpert:
    for app in apps:
        expert.learn(AppId(app))
    return expert


def ranked(expert: NextAppExpert) -> str:
    return "".join(app for app, _ in sorted(expert.shares().items(), key=lambda item: -item[1]))


@every_expert
@given(apps=st.lists(st.sampled_from("abcdefgh"), max_size=120))
@settings(max_examples=40)
def test_shares_are_probabilities_of_applications_that_came(make: Callable[[], NextAppExpert], apps: list[str]) -> None:
    expert = make()
    assert expert.shares() == {}
    for app in apps:
        expert.learn(AppId(app))
        shares = expert.shares()
        assert set(shares) <= set(apps)
        assert all(share >= 0.0 for share in shares.values())
        assert sum(shares.values()) < 1.0, "nothing is left for an application never seen"


@every_expert
def test_asking_changes_nothing(make: Callable[[], NextAppExpert]) -> None:
    asked, silent = make(), make()
    for app in "abcabacabbca":
        asked.shares()
        asked.learn(AppId(app))
        silent.learn(AppId(app))
    assert asked.shares() == silent.shares()


@every_expert
def test_memory_is_bounded_whatever_comes(make: Callable[[], NextAppExpert]) -> None:
    expert = make()
    for number in range(6000):
        expert.learn(AppId(f"app{number}"))
        if number % 7 == 0:
            expert.learn(AppId("usual"))
    shares = expert.shares()
    assert len(shares) <= 512
    assert sum(shares.values()) < 1.0


def test_a_tally_keeps_the_frequent_and_the_newest() -> None:
    tally = Tally(limit=4)
    for app in "aaabbcde":
        tally.add(AppId(app))
    assert tally.counts == {"a": 3, "e": 1}
    assert tally.total == 4


def test_most_frequent_counts() -> None:
    shares = taught(MostFrequent(), "abab" + "a").shares()
    assert shares == {"a": pytest.approx(3 / 7), "b": pytest.approx(2 / 7)}


@pytest.mark.parametrize(("current", "order"), [(Current.FIRST, "cab"), (Current.LAST, "abc"), (Current.DROPPED, "ab")])
def test_most_recent_ranks_by_last_use(current: Current, order: str) -> None:
    assert ranked(taught(MostRecent(current), "abac")) == order


def test_most_recent_keeps_its_order_where_people_go_further_back() -> None:
    # Round and round: the next one is always the third of the list.
    expert = taught(MostRecent(Current.LAST), "abc" * 50)
    assert list(expert.shares()) == ["b", "a", "c"]
    assert expert.shares()[AppId("b")] >= expert.shares()[AppId("a")] >= expert.shares()[AppId("c")]


def test_pooled_values_never_rise_and_keep_their_sum() -> None:
    assert non_increasing([1.0, 3.0, 2.0, 2.0]) == [2.0, 2.0, 2.0, 2.0]
    assert non_increasing([5.0, 1.0, 3.0]) == [5.0, 2.0, 2.0]


@given(st.lists(st.floats(0, 100), max_size=30))
def test_pooling_is_monotone(values: list[float]) -> None:
    found = non_increasing(values)
    assert len(found) == len(values)
    assert all(a >= b for a, b in itertools.pairwise(found))
    assert sum(found) == pytest.approx(sum(values))


def test_markov_follows_the_last_application_and_backs_off() -> None:
    expert = taught(Markov(1), "abababcab" + "a")
    assert ranked(expert)[0] == "b"
    backed_off = taught(Markov(1), "aaabz")  # nothing followed z so far
    assert ranked(backed_off) == ranked(taught(Markov(0), "aaabz"))


def test_markov_2_tells_apart_what_markov_1_cannot() -> None:
    steps = "abxcby" * 20
    assert ranked(taught(Markov(2), steps + "ab"))[0] == "x"
    assert ranked(taught(Markov(2), steps + "cb"))[0] == "y"
    one = taught(Markov(1), steps + "ab").shares()
    assert one[AppId("x")] == pytest.approx(one[AppId("y")], rel=0.1)


def test_ipam_updates_a_row_as_the_paper_says() -> None:
    expert = taught(Ipam(alpha=0.8), "ab" * 100 + "aca")
    # The row of a: b almost surely, then one c (.2), and .8 is left for b, less the share for the unseen.
    shares, escape = expert.shares(), 3 / (203 + 3)
    usual_c = escape * 1 / (203 + 3)
    assert shares[AppId("c")] == pytest.approx(0.2 * (1 - escape) + usual_c, rel=1e-6)
    assert shares[AppId("b")] == pytest.approx(0.8 * (1 - escape) + escape * 100 / 206, rel=1e-3)


def test_ipam_stays_exact_over_many_steps() -> None:
    expert = taught(Ipam(), "ab" * 5000 + "a")
    assert math.isfinite(sum(expert.shares().values()))
    assert expert.shares()[AppId("b")] > 0.99


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        Ipam(alpha=1.0)
    with pytest.raises(ValueError, match="order"):
        Markov(-1)


def test_partial_matching_learns_a_cycle_and_what_shorter_contexts_cannot_tell() -> None:
    assert ranked(taught(PpmRecencyExpert(), "abc" * 30))[0] == "a"
    assert taught(PpmRecencyExpert(), "abc" * 30).shares()[AppId("a")] > 0.85
    assert ranked(taught(PpmRecencyExpert(), "mwtswm" * 30 + "mw"))[0] == "t"
    assert ranked(taught(PpmRecencyExpert(), "mwtswm" * 30 + "mwtsw"))[0] == "m"


def test_partial_matching_begins_a_session_as_sessions_do() -> None:
    expert = PpmRecencyExpert()
    for _ in range(10):
        for position, app in enumerate("mwtwtwt"):
            expert.learn(AppId(app), Situation(session_position=position))
    first = expert.shares(Situation(session_position=0))
    assert max(first, key=lambda app: first[app]) == "m"

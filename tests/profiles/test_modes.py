"""Modes are likely when they were chosen before; their definitions speak until their use does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import NOTHING, Resources
from ghostdesk.profiles.modes import NO_MODE, Mode, ModeExpert, ModeLikelihood, ModePrior
from ghostdesk.profiles.next_app.expert import NextAppExpert
from ghostdesk.profiles.situation import Situation

ADA, BOB = UserId("ada"), UserId("bob")
KDENLIVE, GIMP, FIREFOX = AppId("kdenlive"), AppId("gimp"), AppId("firefox")
EDITING = Mode("Video editing", (KDENLIVE, GIMP), ("video/mp4",), Resources(cpu_cores=4.0))
BROWSING = Mode("light browsing", (FIREFOX,))
MODES = [EDITING, BROWSING]


def at(hour: float, weekday: int = 0, place: str | None = None, mode: str | None = None) -> Situation:
    return Situation(hour=hour, weekday=weekday, place=place, mode=mode)


def test_modes_are_learnt_by_hour_place_and_the_mode_before() -> None:
    likely = ModeLikelihood()
    for _ in range(10):
        likely.observe(ADA, "Video editing", at(10, place="lab"))
        likely.observe(ADA, "light browsing", at(20, place="den"))
        likely.observe(ADA, NO_MODE, at(17, mode="Video editing"))
    assert likely.shares(ADA, MODES, at(10))["Video editing"] > 0.7
    assert likely.shares(ADA, MODES, at(20))["light browsing"] > 0.7
    assert likely.shares(ADA, MODES, at(14, place="den"))["light browsing"] > 0.5
    assert likely.shares(ADA, MODES, at(14, mode="Video editing"))[NO_MODE] > 0.5


@given(
    st.lists(st.tuples(st.sampled_from(["Video editing", "light browsing", NO_MODE]), st.floats(0, 24)), max_size=40),
    st.sampled_from([None, "lab", "nowhere"]),
    st.sampled_from([None, NO_MODE, "Video editing", "unknown"]),
)
def test_likelihoods_are_probabilities(choices: list[tuple[str, float]], place: str | None, mode: str | None) -> None:
    likely = ModeLikelihood()
    for name, hour in choices:
        likely.observe(ADA, name, at(hour, place="lab", mode=name))
    shares = likely.shares(ADA, MODES, at(9, place=place, mode=mode))
    assert set(shares) == {NO_MODE, "Video editing", "light browsing"}
    assert sum(shares.values()) == pytest.approx(1)


def test_people_with_a_mode_of_the_same_name_help_each_other_until_they_are_forgotten() -> None:
    likely = ModeLikelihood()
    for _ in range(30):
        likely.observe(BOB, "video EDITING", at(10))
    assert likely.shares(ADA, MODES, at(10))["Video editing"] > 0.6
    likely.forget(BOB)
    assert likely.shares(ADA, MODES, at(10))["Video editing"] == pytest.approx(1 / 3)


def test_a_deleted_mode_is_forgotten() -> None:
    likely = ModeLikelihood()
    for _ in range(10):
        likely.observe(ADA, "Video editing", at(10))
    likely.forget(ADA, "Video editing")
    assert likely.shares(BOB, MODES, at(10))["Video editing"] == pytest.approx(1 / 3)
    assert likely.shares(ADA, MODES, at(10))["Video editing"] == pytest.approx(1 / 3)


def test_a_definition_gives_applications_by_rank_and_resources() -> None:
    prior = ModePrior(MODES)
    shares = prior.apps("Video editing")
    assert shares[KDENLIVE] == pytest.approx(2 * shares[GIMP])
    assert sum(shares.values()) == pytest.approx(0.8)
    assert (prior.apps("unknown"), prior.apps(NO_MODE)) == ({}, {})
    assert (prior.resources("Video editing").cpu_cores, prior.resources("unknown")) == (4.0, NOTHING)


def test_use_overrules_a_definition() -> None:
    expert = ModeExpert(ModePrior(MODES))
    seam: NextAppExpert = expert
    assert seam.shares() == {}
    inside = Situation(mode="Video editing")
    assert max(expert.shares(inside), key=expert.shares(inside).__getitem__) == KDENLIVE
    for _ in range(20):
        expert.learn(FIREFOX, inside)
        expert.learn(GIMP)  # outside of any mode
    shares = expert.shares(inside)
    assert shares[FIREFOX] > 0.7
    assert sum(shares.values()) <= 1 + 1e-9
    assert shares[GIMP] < shares[KDENLIVE]
    assert expert.shares(Situation(mode="light browsing")) == {FIREFOX: pytest.approx(0.8)}


def test_what_a_mode_may_hold_is_bounded() -> None:
    for bad in (
        lambda: Mode("m", tuple(AppId(f"a{n}") for n in range(33))),
        lambda: Mode("m", (), tuple(f"a/{n}" for n in range(33))),
        lambda: Mode("m", resources=Resources(cpu_cores=-1.0)),
        lambda: Mode("m", resources=Resources(memory_bytes=float("inf"))),
        lambda: Mode("m", (KDENLIVE, KDENLIVE)),
        lambda: Mode(""),
    ):
        with pytest.raises(ConfigError):
            bad()

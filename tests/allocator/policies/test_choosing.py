"""What operators write, and the policy that it names."""

import pytest

from ghostdesk.allocator.policies.catalogue import families
from ghostdesk.allocator.policies.choosing import (
    chosen_family,
    chosen_setting,
    live_families,
    spread_settings,
    written,
)
from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, PolicyFamily, Setting
from ghostdesk.allocator.policies.static_pool import FAMILY as STATIC
from ghostdesk.kernel.errors import ConfigError


class Foretold:
    """A bound."""

    def foretell(self, starts: object) -> None:
        """The future."""

    def grow(self, rows: int) -> None: ...

    def observe(self, observed: Observed) -> None: ...

    def decide(self, moment: Moment) -> Decision:
        return Decision(0, None, "", "")


BOUND = PolicyFamily("bound", "a bound", "", (Setting("knows", Foretold),))
KNOWN = {"static": STATIC, "bound": BOUND}


def test_everything_in_the_catalogue_can_be_written_and_is_found_again() -> None:
    for family in live_families().values():
        labels = [setting.label for setting in family.settings]
        assert len(set(labels)) == len(labels)
        for setting in family.settings:
            assert chosen_setting(written(family, setting)) == (family, setting)
    assert set(live_families()) <= set(families())


def test_ours_is_a_policy_of_the_catalogue() -> None:
    assert chosen_family("ours").name == "marginal-value"


def test_spaces_and_case_do_not_matter() -> None:
    assert chosen_setting(" static : 5 ")[1].label == "5"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("statik:5", r"There is no policy 'statik'.*Policies: static"),
        ("", r"There is no policy ''"),
        ("static", r"does not say which static pool.*\"static:5\""),
        ("static:5000", r"'static:5000' does not say which static pool"),
        ("bound:knows", r"told the future.*cannot run.*Policies: static"),
    ],
)
def test_what_names_no_policy_is_refused_with_those_that_there_are(text: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        chosen_setting(text, KNOWN)


def test_a_bound_is_no_policy_to_choose() -> None:
    assert list(live_families(KNOWN)) == ["static"]
    with pytest.raises(ConfigError, match="told the future"):
        chosen_family("bound", KNOWN)


@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
def test_some_settings_go_from_the_cheapest_to_the_dearest(most: int) -> None:
    found = spread_settings(STATIC, most)
    assert len(found) == min(most, len(STATIC.settings))
    places = [STATIC.settings.index(one) for one in found]
    assert places == sorted(places)
    if most > 1:
        assert (places[0], places[-1]) == (0, len(STATIC.settings) - 1)

"""Ids, resources, clocks and events refuse what they cannot mean."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.ids import app_id, ghost_id, user_id
from ghostdesk.kernel.resources import Resources


@given(st.text())
def test_a_user_id_never_leaves_its_folder(text: str) -> None:
    try:
        user = user_id(text)
    except ValueError:
        return
    assert "/" not in user
    assert not user.startswith((".", "-"))
    assert "\0" not in user


@pytest.mark.parametrize("bad", ["", "..", "../etc", "a/b", "Ärger", "-rf", "a\n", "x" * 65])
def test_hostile_ids_are_refused(bad: str) -> None:
    for check in (user_id, ghost_id):
        with pytest.raises(ValueError, match="is no"):
            check(bad)


def test_an_app_id_is_its_desktop_file() -> None:
    assert app_id("org.xfce.mousepad.desktop") == "org.xfce.mousepad"
    with pytest.raises(ValueError, match="is no application id"):
        app_id("../../bin/sh")


def test_resources_add_up_and_refuse_nan() -> None:
    total = Resources(1.0, 2.0) + Resources(0.5, 1.0)
    assert total - Resources(0.5, 1.0) == Resources(1.0, 2.0)
    assert Resources(1.0).fits_in(Resources(1.0))
    assert not Resources(1.1).fits_in(Resources(1.0))
    with pytest.raises(ValueError, match="cpu_cores is not a number"):
        Resources(float("nan"))


def test_virtual_time_never_goes_back() -> None:
    clock = VirtualClock(5.0)
    clock.advance(1.5)
    assert clock.now_s() == 6.5
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1.0)

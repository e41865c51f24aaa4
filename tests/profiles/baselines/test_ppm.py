"""What followed which applications: blending by hand, bounds, and how far back people go."""

import pytest

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.baselines.ppm import Contexts, Recency

MAIL, WEB, TEXT, SHELL = (AppId(name) for name in ("mail", "web", "text", "shell"))


def test_blending_follows_the_escape_method() -> None:
    contexts = Contexts(order=1, forget=1.0, limit=100)
    for before, app in ((MAIL, WEB), (MAIL, WEB), (MAIL, TEXT), (WEB, MAIL)):
        contexts.add((before,), app)
    none = {WEB: 2 / 7, TEXT: 1 / 7, MAIL: 1 / 7}  # four events, three kinds: each escape is 3/7
    escape = 2 / 5  # after mail: three events of two kinds
    expected = {WEB: 2 / 5 + escape * none[WEB], TEXT: 1 / 5 + escape * none[TEXT], MAIL: escape * none[MAIL]}
    assert contexts.blend((MAIL,), {}) == pytest.approx(expected)


def test_memory_is_bounded_and_the_usual_is_kept() -> None:
    contexts = Contexts(order=3, forget=0.98, limit=200)
    usual = (MAIL, WEB, TEXT)
    for step in range(2000):
        contexts.add(usual, SHELL)
        contexts.add(tuple(AppId(f"a{step + k}") for k in range(3)), AppId(f"a{step + 3}"))
        assert len(contexts) <= 200
    assert contexts.blend(usual, {})[SHELL] > 0.8


def test_recency_follows_how_far_back_people_go() -> None:
    recency = Recency()
    assert recency.shares([MAIL, WEB]) == {MAIL: 0.0, WEB: 0.0}
    for _ in range(3):
        recency.add([MAIL, WEB, TEXT], WEB)
    recency.add([MAIL, WEB], SHELL)  # a new one says nothing of ranks
    weight = 0.98**2 + 0.98 + 1.0
    assert recency.shares([TEXT, SHELL]) == pytest.approx({TEXT: 0.0, SHELL: weight / (weight + 1.0)})

"""The next application: habits, sessions, newcomers, sums and bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.baselines.ppm import Contexts, PpmRecency
from ghostdesk.telemetry.events import EventKind, UsageEvent

ANN, BOB, NEW = UserId("ann"), UserId("bob"), UserId("new")
MAIL, WEB, TEXT, SHELL = (AppId(name) for name in ("mail", "web", "text", "shell"))
START_S = 1.7e9


def follow(model: PpmRecency, user: UserId, apps: list[AppId], start_s: float = START_S) -> float:
    for step, app in enumerate(apps):
        model.observe(UsageEvent(start_s + step, EventKind.APP_FOCUS, user=user, app=app))
    return start_s + len(apps)


def test_a_cycle_is_learnt() -> None:
    model = PpmRecency()
    now_s = follow(model, ANN, [MAIL, WEB, TEXT] * 30)
    best = model.predict(ANN, now_s, 3)
    assert best[0].app == MAIL
    assert best[0].probability > 0.85


def test_longer_contexts_tell_what_shorter_ones_cannot() -> None:
    model = PpmRecency()
    now_s = follow(model, ANN, [MAIL, WEB, TEXT, SHELL, WEB, MAIL] * 30 + [MAIL, WEB])
    assert model.predict(ANN, now_s, 1)[0].app == TEXT
    now_s = follow(model, ANN, [TEXT, SHELL, WEB], now_s)
    assert model.predict(ANN, now_s, 1)[0].app == MAIL


def test_blending_follows_the_escape_method() -> None:
    contexts = Contexts(order=1, forget=1.0, limit=100)
    for before, app in ((MAIL, WEB), (MAIL, WEB), (MAIL, TEXT), (WEB, MAIL)):
        contexts.add((before,), app)
    none = {WEB: 2 / 7, TEXT: 1 / 7, MAIL: 1 / 7}  # four events, three kinds: each escape is 3/7
    escape = 2 / 5  # after mail: three events of two kinds
    expected = {WEB: 2 / 5 + escape * none[WEB], TEXT: 1 / 5 + escape * none[TEXT], MAIL: escape * none[MAIL]}
    assert contexts.blend((MAIL,), {}) == pytest.approx(expected)


def test_a_session_begins_as_sessions_do() -> None:
    model = PpmRecency()
    for day in range(10):
        start_s = START_S + day * 86_400
        model.observe(UsageEvent(start_s, EventKind.SIGN_IN, user=ANN))
        follow(model, ANN, [MAIL, WEB, TEXT, WEB, TEXT, WEB, TEXT], start_s + 10)
        model.observe(UsageEvent(start_s + 60, EventKind.SIGN_OUT, user=ANN))
    assert model.predict(ANN, START_S + 10 * 86_400, 1)[0].app == MAIL
    now_s = follow(model, ANN, [MAIL, WEB], START_S + 10 * 86_400)
    assert model.predict(ANN, now_s, 1)[0].app == TEXT
    assert model.predict(ANN, now_s + 7200.0, 1)[0].app == MAIL


def test_a_newcomer_gets_everyones() -> None:
    model = PpmRecency()
    for k in range(10):
        follow(model, UserId(f"u{k}"), [MAIL, WEB, TEXT, WEB])
    best = model.predict(NEW, START_S + 100, 5)
    assert best[0].app == MAIL
    assert PpmRecency().predict(NEW, 0.0, 5) == []


def test_the_same_again_is_no_event_unless_asked_for() -> None:
    model, keeping = PpmRecency(), PpmRecency(keep_repeats=True)
    for one in (model, keeping):
        now_s = follow(one, ANN, [MAIL, MAIL, MAIL, WEB, WEB, MAIL])
    assert model.version(ANN, now_s)[0] < keeping.version(ANN, now_s)[0]


def test_memory_is_bounded_and_the_usual_is_kept() -> None:
    contexts = Contexts(order=3, forget=0.98, limit=200)
    usual = (MAIL, WEB, TEXT)
    for step in range(2000):
        contexts.add(usual, SHELL)
        contexts.add(tuple(AppId(f"a{step + k}") for k in range(3)), AppId(f"a{step + 3}"))
        assert len(contexts) <= 200
    assert contexts.blend(usual, {})[SHELL] > 0.8


KINDS = [EventKind.APP_FOCUS, EventKind.APP_LAUNCH, EventKind.SIGN_IN, EventKind.SIGN_OUT, EventKind.CPU]
EVENTS = st.builds(
    UsageEvent,
    time_s=st.floats(START_S, START_S + 1e5),
    kind=st.sampled_from(KINDS),
    user=st.sampled_from([ANN, BOB, None]),
    app=st.sampled_from([MAIL, WEB, TEXT, SHELL, None]),
    value=st.none(),
)


@given(st.lists(EVENTS, max_size=80), st.integers(0, 6))
@settings(max_examples=80, deadline=None)
def test_shares_are_shares(events: list[UsageEvent], limit: int) -> None:
    model = PpmRecency(contexts_per_user=20)
    for event in events:
        model.observe(event)
    for user in (ANN, BOB, NEW):
        best = model.predict(user, START_S + 1e5, limit)
        shares = [one.probability for one in best]
        assert len(best) <= limit
        assert len({one.app for one in best}) == len(best)
        assert shares == sorted(shares, reverse=True)
        assert all(0.0 < share <= 1.0 for share in shares)
        assert sum(shares) <= 1.0 + 1e-9

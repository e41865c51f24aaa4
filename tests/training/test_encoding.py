"""Steps: the service's own circumstances, written to fixed size and read back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.calendar import Agenda
from ghostdesk.profiles.features import Step
from ghostdesk.profiles.situation import Situation
from ghostdesk.telemetry.calendars.entries import BusyTime
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.training.encoding import Names, PersonFacts, decode, encode, turns

SLOTS = WeekSlots("UTC", 3600)
ADA = UserId("ada")
START_S = 1_740_988_800.0  # Monday, 2025-03-03 08:00 UTC


def _focus(second: float, app: str) -> UsageEvent:
    return UsageEvent(START_S + second, EventKind.APP_FOCUS, ADA, AppId(app))


def test_a_turn_to_another_application_is_a_step_and_a_repeat_is_none() -> None:
    events = [_focus(0, "a"), _focus(10, "a"), _focus(20, "b"), _focus(20, "b"), _focus(9_000, "b")]
    steps = list(turns(events, SLOTS))
    assert [(step.app, step.sign_in) for step in steps] == [("a", True), ("b", False), ("b", True)]
    assert [step.situation.session_position for step in steps] == [0, 1, 0]
    assert steps[1].situation.gap_s == 20.0
    assert (steps[0].situation.weekday, steps[0].situation.hour) == (0, 8.0)


def test_what_came_before_is_known_and_what_comes_after_is_not() -> None:
    events = [
        _focus(0, "a"),
        UsageEvent(START_S + 5, EventKind.CPU, ADA, value=1.5),
        UsageEvent(START_S + 6, EventKind.MICROPHONE, ADA, value=1.0),
        _focus(10, "b"),
        UsageEvent(START_S + 11, EventKind.FILE_OPENED, ADA, detail="text/plain"),
    ]
    first, second = turns(events, SLOTS)
    assert (first.situation.cpu_cores, first.situation.microphone) == (None, None)
    assert (second.situation.cpu_cores, second.situation.microphone) == (1.5, True)
    assert second.situation.file_type is None


def test_roles_and_calendars_are_put_in_where_they_are_known() -> None:
    facts = PersonFacts("lead", "", Agenda([BusyTime(START_S + 600, START_S + 1200, series="s1")]))
    situation = next(turns([_focus(0, "a")], SLOTS, facts)).situation
    assert (situation.job_role, situation.department) == ("lead", None)
    assert (situation.calendar_minutes, situation.calendar_series) == (10.0, "s1")


_HALF = st.none() | st.floats(-1e6, 1e6, width=32)
_WORD = st.none() | st.text(min_size=1, max_size=5)
_FLAG = st.none() | st.booleans()
_SITUATIONS = st.builds(
    Situation, time_s=st.none() | st.floats(0, 4e9), hour=_HALF, weekday=st.none() | st.integers(0, 6), gap_s=_HALF,
    session_position=st.none() | st.integers(0, 2**31 - 1), dwell_s=_HALF, microphone=_FLAG, camera=_FLAG,
    cpu_cores=_HALF, memory_bytes=_HALF, gpu_share=_HALF, network_bytes_per_s=_HALF, storage_bytes_per_s=_HALF,
    file_type=_WORD, calendar_minutes=_HALF, calendar_series=_WORD, holiday=_FLAG, place=_WORD, mode=_WORD,
    job_role=_WORD, department=_WORD,
)  # fmt: skip


@given(st.lists(st.tuples(st.none() | st.sampled_from(["a", "b"]), _SITUATIONS, st.booleans()), max_size=6))
def test_steps_are_read_back_as_they_were_written(told: list[tuple[str | None, Situation, bool]]) -> None:
    steps = [Step(None if app is None else AppId(app), situation, sign_in) for app, situation, sign_in in told]
    apps, words = Names(), Names()
    rows = encode(steps, apps, words)
    again = np.frombuffer(rows.tobytes(), rows.dtype)
    assert decode(again, apps.all(), words.all()) == steps
    assert [step.scored for step in decode(again, apps.all(), words.all(), 2)] == [i >= 2 for i in range(len(steps))]


def test_names_past_the_most_are_no_name() -> None:
    names = Names(most=2)
    assert [names.number(name) for name in ("a", "b", "c", "a", None, "")] == [1, 2, 0, 1, 0, 0]

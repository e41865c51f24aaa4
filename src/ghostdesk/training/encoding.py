"""One person's events as training steps of fixed size, and back: what the running service would know at each of them.

The same `Circumstances` as in the service tell what is known, so that a model is trained on what it is asked with.
A step is a turn to another application, as in `profiles.next_app.forecasts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.baselines.sessions import SESSION_GAP_S
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.calendar import Agenda
from ghostdesk.profiles.circumstances import Circumstances
from ghostdesk.profiles.features import RESOURCES, WORDS, Step
from ghostdesk.profiles.situation import Situation
from ghostdesk.telemetry.events import EventKind, UsageEvent

NUMBERS: Final = ("hour", "gap_s", "dwell_s", "calendar_minutes", *RESOURCES)
FLAGS: Final = ("microphone", "camera", "holiday")
STEP: Final = np.dtype(
    [
        ("time_s", "<f8"),
        ("numbers", "<f4", (len(NUMBERS),)),
        ("words", "<i4", (len(WORDS),)),
        ("app", "<i4"),
        ("session_position", "<i4"),
        ("weekday", "i1"),
        ("flags", "i1", (len(FLAGS),)),
        ("sign_in", "i1"),
    ]
)
"""A step on disk: NaN, -1 and the empty word (code 0) are "not known"."""
Steps = npt.NDArray[np.void]
_APPS = (EventKind.APP_LAUNCH, EventKind.APP_FOCUS)


@dataclass(frozen=True)
class PersonFacts:
    """What is known of a person beside their events.

    Args:
        job_role, department: as the operator gives them; empty for not known.
        agenda: the calendar; None for not known.
    """

    job_role: str = ""
    department: str = ""
    agenda: Agenda | None = None


NOBODY: Final = PersonFacts()


class Names:
    """Numbers for names, from 1 on in the order they come; 0 is no name.

    Args:
        most: names beyond so many are 0: a hostile history cannot fill the memory with them.
    """

    def __init__(self, names: Iterable[str] = (), most: int = 1_000_000) -> None:
        self._numbers = {name: number for number, name in enumerate(names, start=1)}
        self._most = most

    def number(self, name: str | None) -> int:
        """The name's number; a new name gets the next one."""
        if not name:
            return 0
        found = self._numbers.get(name)
        if found is None:
            if len(self._numbers) >= self._most:
                return 0
            found = self._numbers[name] = len(self._numbers) + 1
        return found

    def __len__(self) -> int:
        return len(self._numbers)

    def all(self) -> list[str]:
        """Every name, by number from 1."""
        return list(self._numbers)


def turns(events: Iterable[UsageEvent], slots: WeekSlots, facts: PersonFacts = NOBODY) -> Iterator[Step]:
    """The steps of one person's events, which are in the order of time; events told twice in a row count once."""
    around = Circumstances()
    current: AppId | None = None
    before: UsageEvent | None = None
    for event in events:
        if event == before or event.time_s < around.last_s:
            continue
        before = event
        begins = around.position == 0 or event.time_s - around.last_s >= SESSION_GAP_S
        turned = event.kind in _APPS and event.app is not None and (event.app != current or begins)
        if turned:
            situation = _with_facts(around.at(event.time_s, slots), facts, event.time_s)
            yield Step(event.app, replace(situation, session_position=0) if begins else situation, sign_in=begins)
            current = event.app
        around.observe(event)  # before the turn is counted, as a new session begins the count anew
        if turned:
            around.turned_to_application(event.time_s)


def _with_facts(situation: Situation, facts: PersonFacts, time_s: float) -> Situation:
    if facts is NOBODY:
        return situation
    told: dict[str, Any] = {"job_role": facts.job_role or None, "department": facts.department or None}
    if facts.agenda is not None:
        calendar = facts.agenda.at(time_s)
        told |= {
            "calendar_minutes": calendar.minutes,
            "calendar_series": calendar.series,
            "holiday": calendar.day_off,
        }
    return replace(situation, **told)


def encode(steps: Iterable[Step], apps: Names, words: Names) -> Steps:
    """(n,) of `STEP`; names become numbers."""
    rows = []
    for step in steps:
        around = step.situation
        rows.append(
            (
                _number(around.time_s),
                tuple(_number(getattr(around, name)) for name in NUMBERS),
                tuple(words.number(getattr(around, name)) for name in WORDS),
                apps.number(step.app),
                -1 if around.session_position is None else around.session_position,
                -1 if around.weekday is None else around.weekday,
                tuple(_flag(getattr(around, name)) for name in FLAGS),
                int(step.sign_in),
            )
        )
    return np.array(rows, dtype=STEP)


def decode(rows: Steps, apps: Sequence[str], words: Sequence[str], scored_from: int = 0) -> list[Step]:
    """The steps again; those before index `scored_from` are for context alone. Amounts have 32 bits."""
    word = (None, *words)
    app = (None, *(AppId(name) for name in apps))
    return [
        Step(app[row[3]], _situation(row, word), bool(row[7]), index >= scored_from)
        for index, row in enumerate(rows.tolist())
    ]


def _situation(row: tuple[Any, ...], word: Sequence[str | None]) -> Situation:
    hour, gap_s, dwell_s, calendar_minutes, cpu, memory, gpu, network, storage = map(_known, row[1])
    file_type, mode, place, job_role, department, series = (word[number] for number in row[2])
    microphone, camera, holiday = (None if flag < 0 else bool(flag) for flag in row[6])
    return Situation(
        time_s=_known(row[0]), hour=hour, weekday=None if row[5] < 0 else row[5], gap_s=gap_s,
        session_position=None if row[4] < 0 else row[4], dwell_s=dwell_s, microphone=microphone, camera=camera,
        cpu_cores=cpu, memory_bytes=memory, gpu_share=gpu, network_bytes_per_s=network, storage_bytes_per_s=storage,
        file_type=file_type, calendar_minutes=calendar_minutes, calendar_series=series, holiday=holiday, place=place,
        mode=mode, job_role=job_role, department=department,
    )  # fmt: skip


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _flag(value: bool | None) -> int:
    return -1 if value is None else int(value)

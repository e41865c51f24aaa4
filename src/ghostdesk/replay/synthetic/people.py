"""Who works in the synthetic organisation, and with which applications. Nobody of them exists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.kernel.ids import UserId, user_id
from ghostdesk.replay.synthetic.draws import Draws, Ints

SOURCE = "synthetic"
MEETING_APP = "synthetic.meeting"
CLASS_APP = "synthetic.classroom"

DEPARTMENTS: dict[str, tuple[str, ...]] = {
    "engineering": ("synthetic.editor", "synthetic.terminal", "synthetic.debugger", "synthetic.cad", "synthetic.git"),
    "finance": ("synthetic.spreadsheet", "synthetic.ledger", "synthetic.reports", "synthetic.pdf", "synthetic.tax"),
    "design": ("synthetic.drawing", "synthetic.video", "synthetic.photos", "synthetic.fonts", "synthetic.models"),
    "teaching": ("synthetic.slides", "synthetic.grades", "synthetic.courses", "synthetic.whiteboard", "synthetic.quiz"),
    "research": ("synthetic.notebook", "synthetic.statistics", "synthetic.papers", "synthetic.plots", "synthetic.lab"),
    "support": ("synthetic.tickets", "synthetic.phone", "synthetic.wiki", "synthetic.remote", "synthetic.monitor"),
}
EVERYONE: tuple[str, ...] = (
    "synthetic.browser", "synthetic.mail", "synthetic.chat", "synthetic.files", "synthetic.writer",
    "synthetic.calendar", "synthetic.music", "synthetic.notes", "synthetic.viewer", "synthetic.settings",
)  # fmt: skip
JOB_ROLES = ("assistant", "specialist", "lead")
_ROLE_SHARES = (0.3, 0.5, 0.2)
PRIVATE_APPS = 7
"""Applications that one person alone, or hardly anybody else, has."""
PRIVATE_NAMES = 1000
TEACHING = list(DEPARTMENTS).index("teaching")

NAMES: tuple[str, ...] = tuple(
    dict.fromkeys(
        [
            *EVERYONE,
            MEETING_APP,
            CLASS_APP,
            *(app for apps in DEPARTMENTS.values() for app in apps),
            *(f"{SOURCE}.own{number:03d}" for number in range(PRIVATE_NAMES)),
        ]
    )
)
"""Every application of the organisation, by number."""
NUMBER_OF = {name: number for number, name in enumerate(NAMES)}
APPS = len(next(iter(DEPARTMENTS.values()))) + len(EVERYONE) + 2 + PRIVATE_APPS
"""Applications of one person: the department's, everyone's, the meetings' and the classes', and their own."""
MEETING_SLOT, CLASS_SLOT = APPS - PRIVATE_APPS - 2, APPS - PRIVATE_APPS - 1
GPU_APPS = frozenset(
    NUMBER_OF[f"{SOURCE}.{name}"] for name in ("cad", "drawing", "video", "photos", "models", "notebook")
)


@dataclass(frozen=True, slots=True)
class SyntheticPerson:
    """Somebody who does not exist."""

    user: UserId
    department: str
    job_role: str


@dataclass(frozen=True, slots=True)
class People:
    """Some of them, as arrays of shape (people,): numbers from 0, of department and of job role."""

    index: Ints
    department: Ints
    job_role: Ints

    @classmethod
    def of(cls, seed: int, index: Ints) -> People:
        """The people with these numbers."""
        draws = Draws(seed, "people")
        department = (draws.uniform(index, 0) * len(DEPARTMENTS)).astype(np.int64)
        role = np.searchsorted(np.cumsum(_ROLE_SHARES)[:-1], draws.uniform(index, 1), side="right")
        return cls(index, department, role.astype(np.int64))

    def person(self, row: int) -> SyntheticPerson:
        """One of them, by row."""
        department = list(DEPARTMENTS)[int(self.department[row])]
        return SyntheticPerson(user_name(int(self.index[row])), department, JOB_ROLES[int(self.job_role[row])])


def user_name(index: int) -> UserId:
    """The user id of the person with that number."""
    return user_id(f"{SOURCE}-{index:06d}")

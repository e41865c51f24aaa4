"""Usage events: the one form in which everything that happened reaches ghostdesk. Never content, only facts of use."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum

from ghostdesk.kernel.ids import AppId, UserId


class EventKind(StrEnum):
    """What can happen. The value is the word used in CSV files and in the database."""

    SIGN_IN = "sign-in"
    SIGN_OUT = "sign-out"
    APP_LAUNCH = "app-launch"
    APP_FOCUS = "app-focus"
    """The application had the focus; `value` is the dwell time in seconds when it is known."""
    APP_EXIT = "app-exit"
    ACTIVE = "active"
    IDLE = "idle"
    MICROPHONE = "microphone"
    """`value` is 1 when an application starts to record sound and 0 when it stops."""
    CAMERA = "camera"
    FILE_OPENED = "file-opened"
    """`detail` is the MIME type. Names and contents never become events."""
    CPU = "cpu"
    """`value` is in cores, averaged since the last sample."""
    MEMORY = "memory"
    """`value` is in bytes."""
    NETWORK = "network"
    """`value` is in bytes per second, both directions."""
    STORAGE = "storage"
    """`value` is in bytes per second, reads and writes."""
    GPU = "gpu"
    """`value` is the share of one device, averaged since the last sample."""
    PLACE = "place"
    """The user is at a place that they opted in to; `detail` is the name they gave it, or "travel"."""
    MODE = "mode"
    """The user chose a mode of work; `detail` is its name, empty when they left it."""
    DESKTOP_STATE = "desktop-state"
    """A shared desktop changed state; `detail` is the state, `desktop` the machine, no user."""


class TelemetrySource(StrEnum):
    """What an operator (and, later, each user) can switch off, one by one."""

    APPLICATIONS = "applications"
    FOCUS = "focus"
    RESOURCES = "resources"
    MICROPHONE = "microphone"
    CAMERA = "camera"
    FILES = "files"
    PLACE = "place"
    MODE = "mode"
    CALENDAR = "calendar"


SOURCE_OF: dict[EventKind, TelemetrySource] = {
    EventKind.APP_LAUNCH: TelemetrySource.APPLICATIONS,
    EventKind.APP_EXIT: TelemetrySource.APPLICATIONS,
    EventKind.APP_FOCUS: TelemetrySource.FOCUS,
    EventKind.ACTIVE: TelemetrySource.FOCUS,
    EventKind.IDLE: TelemetrySource.FOCUS,
    EventKind.MICROPHONE: TelemetrySource.MICROPHONE,
    EventKind.CAMERA: TelemetrySource.CAMERA,
    EventKind.FILE_OPENED: TelemetrySource.FILES,
    EventKind.CPU: TelemetrySource.RESOURCES,
    EventKind.MEMORY: TelemetrySource.RESOURCES,
    EventKind.NETWORK: TelemetrySource.RESOURCES,
    EventKind.STORAGE: TelemetrySource.RESOURCES,
    EventKind.GPU: TelemetrySource.RESOURCES,
    EventKind.PLACE: TelemetrySource.PLACE,
    EventKind.MODE: TelemetrySource.MODE,
}
"""The source that each kind of event comes from; kinds that are not here (sign-ins) belong to the service itself."""


@dataclass(frozen=True, slots=True, order=True)
class UsageEvent:
    """One thing that happened.

    Args:
        time_s: when, in seconds since 1970-01-01 UTC.
        kind: what.
        user: whose; None for desktops that are shared and unattributed.
        app: which application, where one is meant.
        desktop: which desktop (a ghost, or a machine in an imported log), where one is known.
        value: the amount, where the kind has one (see `EventKind` for units).
        detail: a word, where the kind has one (a MIME type, a state).
        source: where the event came from: "agent", "control", or the importer's name.
    """

    time_s: float
    kind: EventKind
    user: UserId | None = None
    app: AppId | None = None
    desktop: str | None = None
    value: float | None = None
    detail: str | None = None
    source: str = "agent"

    def __post_init__(self) -> None:
        if not math.isfinite(self.time_s):
            raise ValueError("time_s must be a finite number")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError("value must be a finite number")

    def key(self) -> bytes:
        """16 bytes that are equal for the same event told twice: what makes imports idempotent.

        `source` is left out, so that one log imported by two roads is still one event.
        """
        parts = (
            f"{self.time_s:.3f}", str(self.kind), str(self.user), str(self.app),
            str(self.desktop), str(self.value), str(self.detail),
        )  # fmt: skip
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()

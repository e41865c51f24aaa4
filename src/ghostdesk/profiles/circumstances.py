"""What is known around each person as events come: the last of every kind, and where in the session they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ghostdesk.profiles.baselines.sessions import ACTIVITY, SESSION_GAP_S
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.situation import UNKNOWN, Situation
from ghostdesk.telemetry.events import EventKind, UsageEvent

_DEVICES_FRESH_S = 4 * 3600.0
_FILE_FRESH_S = 1800.0
_SAMPLE = {
    EventKind.CPU: "cpu_cores",
    EventKind.MEMORY: "memory_bytes",
    EventKind.GPU: "gpu_share",
    EventKind.NETWORK: "network_bytes_per_s",
    EventKind.STORAGE: "storage_bytes_per_s",
}


class Circumstances:
    """One person's. Events older than the latest are to be left out by the caller."""

    __slots__ = ("_app_s", "_devices_s", "_dwell_s", "_file_s", "_known", "last_s", "position")

    def __init__(self) -> None:
        self._known = UNKNOWN
        self._app_s = self._file_s = self._devices_s = float("-inf")
        self._dwell_s: float | None = None
        self.last_s = float("-inf")
        self.position = 0

    def observe(self, event: UsageEvent) -> None:
        """Take in one more event."""
        if event.kind in (EventKind.SIGN_IN, EventKind.SIGN_OUT) or event.time_s - self.last_s >= SESSION_GAP_S:
            self.position = 0
            self._dwell_s = None
        if event.kind in ACTIVITY or event.kind is EventKind.SIGN_OUT:
            self.last_s = event.time_s
        known = self._known
        if event.kind is EventKind.MICROPHONE:
            self._known, self._devices_s = replace(known, microphone=bool(event.value)), event.time_s
        elif event.kind is EventKind.CAMERA:
            self._known, self._devices_s = replace(known, camera=bool(event.value)), event.time_s
        elif event.kind is EventKind.FILE_OPENED:
            self._known, self._file_s = replace(known, file_type=event.detail or None), event.time_s
        elif event.kind is EventKind.PLACE:
            self._known = replace(known, place=event.detail or None)
        elif event.kind is EventKind.MODE:
            self._known = replace(known, mode=event.detail or None)
        elif event.kind in _SAMPLE and event.app is None and event.value is not None:
            sampled: dict[str, Any] = {_SAMPLE[event.kind]: max(event.value, 0.0)}
            self._known = replace(known, **sampled)

    def turned_to_application(self, time_s: float) -> None:
        """The person turned to an application at this time."""
        if self.position > 0:
            self._dwell_s = max(time_s - self._app_s, 0.0)
        self._app_s = time_s
        self.position += 1

    def at(self, now_s: float, slots: WeekSlots) -> Situation:
        """The situation at a moment; what is too old to matter is not known any more."""
        weekday, hour = slots.clock(now_s)
        fresh = now_s - self.last_s < SESSION_GAP_S
        devices = now_s - self._devices_s < _DEVICES_FRESH_S
        return replace(
            self._known,
            time_s=now_s,
            hour=hour,
            weekday=weekday,
            gap_s=now_s - self._app_s if self._app_s > 0 else None,
            session_position=self.position if fresh else 0,
            dwell_s=self._dwell_s if fresh else None,
            microphone=self._known.microphone if devices else None,
            camera=self._known.camera if devices else None,
            file_type=self._known.file_type if now_s - self._file_s < _FILE_FRESH_S else None,
        )

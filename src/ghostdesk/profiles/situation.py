"""What is known around an event or a question, beside the applications: everything may be missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Situation:
    """The circumstances of one person at one moment. `None` is "not known", and normal.

    Args:
        time_s: when (UTC seconds).
        hour: local time of day in hours, 0 to 24.
        weekday: 0 is Monday.
        gap_s: seconds since the person's last event.
        session_position: how many applications the session saw before.
        dwell_s: how long the last application had the focus.
        microphone, camera: whether an application records.
        cpu_cores, memory_bytes, gpu_share, network_bytes_per_s, storage_bytes_per_s: what the desktop used last.
        file_type: MIME type of the file opened last.
        calendar_minutes: minutes to the next entry of the calendar; negative while one goes on.
        calendar_series: digest of the entry's series (never a title).
        holiday: whether today is a public holiday, or outside the term.
        place: kind of the opted-in place ("office", "home", "travel" or the user's own word).
        mode: name of the chosen mode.
        job_role, department: what the operator says of the person.
    """

    time_s: float | None = None
    hour: float | None = None
    weekday: int | None = None
    gap_s: float | None = None
    session_position: int | None = None
    dwell_s: float | None = None
    microphone: bool | None = None
    camera: bool | None = None
    cpu_cores: float | None = None
    memory_bytes: float | None = None
    gpu_share: float | None = None
    network_bytes_per_s: float | None = None
    storage_bytes_per_s: float | None = None
    file_type: str | None = None
    calendar_minutes: float | None = None
    calendar_series: str | None = None
    holiday: bool | None = None
    place: str | None = None
    mode: str | None = None
    job_role: str | None = None
    department: str | None = None


UNKNOWN = Situation()

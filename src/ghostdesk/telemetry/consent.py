"""Who agreed to what is recorded: one answer for each source, given by the person whose use it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.events import SOURCE_OF, EventKind, TelemetrySource

OPT_IN = frozenset({TelemetrySource.PLACE, TelemetrySource.CALENDAR})
"""Sources that stay off until the person switches them on; the others are on where the operator allows them."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A person's own choice for one source.

    Args:
        user: whose choice.
        source: what it is about.
        allowed: whether they agree.
        since_s: when they chose (UTC seconds).
    """

    user: UserId
    source: TelemetrySource
    allowed: bool
    since_s: float


@dataclass(frozen=True, slots=True)
class SourceText:
    """A source in words that the person understands: what it is called, and what is recorded of them."""

    label: str
    what: str


SOURCE_TEXTS: Mapping[TelemetrySource, SourceText] = {
    TelemetrySource.APPLICATIONS: SourceText("Applications", "which application you start and close, and when"),
    TelemetrySource.FOCUS: SourceText(
        "Focus", "which application you turn to and for how long, and whether you are at the desktop"
    ),
    TelemetrySource.RESOURCES: SourceText(
        "Resource use", "how much processor, memory, graphics, network and disk your desktop uses"
    ),
    TelemetrySource.MICROPHONE: SourceText("Microphone", "that an application uses the microphone; never any sound"),
    TelemetrySource.CAMERA: SourceText("Camera", "that an application uses the camera; never any picture"),
    TelemetrySource.FILES: SourceText(
        "Files",
        "the type of a file you open; its name too, in a private file that stays on this machine and serves to have "
        "your files ready; never its content",
    ),
    TelemetrySource.PLACE: SourceText(
        "Places", "which of your own named places you are at, to about two kilometres; never a track"
    ),
    TelemetrySource.MODE: SourceText("Modes", "which of your own modes of work you choose, and when"),
    TelemetrySource.CALENDAR: SourceText(
        "Calendar", "when your entries begin and end; never a title, a place or a guest"
    ),
}


def kinds_of(source: TelemetrySource) -> tuple[EventKind, ...]:
    """The kinds of event that come from a source; none for the calendar, which makes no events."""
    return tuple(kind for kind, of in SOURCE_OF.items() if of is source)


def allowed_sources(
    choices: Mapping[TelemetrySource, bool], operator: Collection[TelemetrySource]
) -> frozenset[TelemetrySource]:
    """What may be recorded of a person: what the operator allows and the person did not switch off.

    Args:
        choices: the person's own; a source that is not in it has its default (see `OPT_IN`).
        operator: the sources that the operator allows.
    """
    return frozenset(source for source in operator if choices.get(source, source not in OPT_IN))

"""State logs of shared desktops."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.importers.desktop_states import DesktopStatesImporter
from ghostdesk.telemetry.importers.protocol import BadLine, Parsed, ReadOptions


class Text:
    """A `TextSource` of a given text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def lines(self) -> Iterator[str]:
        yield from self.text.split("\n")

    def chunks(self) -> Iterator[str]:
        yield self.text


def read(text: str, zone: str = "UTC") -> list[Parsed]:
    return list(DesktopStatesImporter().read(Text(text), ReadOptions(timezone=ZoneInfo(zone))))


def test_epoch_and_local_times_in_any_order() -> None:
    text = "desktop,state,time\nTL1007,In-Use,2013-01-02 07:27:55\nTL1001,available,1357129600\n"
    assert read(text, "America/New_York") == [
        (2, UsageEvent(1_357_129_675.0, EventKind.DESKTOP_STATE, desktop="TL1007", detail="in-use", source="states")),
        (
            3,
            UsageEvent(1_357_129_600.0, EventKind.DESKTOP_STATE, desktop="TL1001", detail="available", source="states"),
        ),
    ]


def test_bad_lines_say_why() -> None:
    text = "desktop,state,time\n,in-use,1\npc,in use by Ada,1\npc,in-use,never ever at all\npc,in-use\npc,off,5"
    *bad, good = read(text)
    assert [(b.line, b.reason.split(" ")[0]) for b in bad if isinstance(b, BadLine)] == [
        (2, "the"),
        (3, "the"),
        (4, "time"),
        (5, "2"),
    ]
    assert isinstance(good, tuple)
    assert good[0] == 6


def test_other_headers_are_not_taken() -> None:
    importer = DesktopStatesImporter()
    assert importer.sniff("time;state;desktop;more\n")
    assert not importer.sniff("user,time,app\n")
    (bad,) = read("user,time,app\n1,2,3")
    assert isinstance(bad, BadLine)


@given(st.text(max_size=300), st.booleans())
def test_any_text_gives_events_or_reasons(text: str, header: bool) -> None:
    for parsed in read(("desktop,state,time\n" if header else "") + text):
        assert isinstance(parsed, BadLine | tuple)

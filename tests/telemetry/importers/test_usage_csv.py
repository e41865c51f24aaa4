"""Usage CSV: what each form of line becomes, and that no text raises."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.importers.protocol import BadLine, Parsed, ReadOptions
from ghostdesk.telemetry.importers.usage_csv import UsageCsvImporter


class Text:
    """A `TextSource` of a given text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def lines(self) -> Iterator[str]:
        yield from self.text.split("\n")

    def chunks(self) -> Iterator[str]:
        yield self.text


def read(text: str, options: ReadOptions | None = None) -> list[Parsed]:
    return list(UsageCsvImporter().read(Text(text), options or ReadOptions()))


def one(text: str, options: ReadOptions | None = None) -> UsageEvent:
    (parsed,) = read(text, options)
    assert isinstance(parsed, tuple)
    return parsed[1]


def reason(header: str, line: str) -> str:
    (parsed,) = read(f"{header}\n{line}")
    assert isinstance(parsed, BadLine)
    assert parsed.line == 2
    return parsed.reason


def test_the_whole_form() -> None:
    text = (
        "user,time,event,app,desktop,value,detail\nAda,1700000000,file-opened,org.gnome.Evince,pc1,,application/pdf\n"
    )
    assert read(text) == [
        (
            2,
            UsageEvent(
                1_700_000_000.0,
                EventKind.FILE_OPENED,
                UserId("ada"),
                AppId("org.gnome.Evince"),
                "pc1",
                None,
                "application/pdf",
                "csv",
            ),
        )
    ]


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_can_be_told(kind: EventKind) -> None:
    detail = "text/plain" if kind is EventKind.FILE_OPENED else "in-use"
    event = one(f"user,time,event,app,value,detail\nada,1700000000,{kind.value.upper()},gimp,1.5,{detail}")
    assert (event.kind, event.value, event.detail) == (kind, 1.5, detail)


def test_a_foreground_log_is_focus() -> None:
    event = one("user,time,app\nw01,2022-12-12 20:34:09,VsDebugConsole.exe")
    assert event == UsageEvent(
        1_670_877_249.0, EventKind.APP_FOCUS, UserId("w01"), AppId("VsDebugConsole"), source="csv"
    )


def test_an_activity_log_is_signs_of_life() -> None:
    event = one("user,utc,tz_min\na7277f47061,1275026726,-420")
    assert event == UsageEvent(1_275_026_726.0, EventKind.ACTIVE, UserId("a7277f47061"), source="csv")


def test_columns_in_any_order_other_delimiters_unknown_columns_and_quotes() -> None:
    for delimiter in (",", ";", "\t"):
        text = 'Note,"APP",Time,user\n"a ""quoted"" x",gimp,1700000000,ada\n'.replace(",", delimiter)
        event = one(text)
        assert (event.user, event.app, event.time_s) == ("ada", "gimp", 1_700_000_000.0)


def test_a_user_comes_from_the_options_where_the_file_names_none() -> None:
    options = ReadOptions(user=UserId("ada"), users={"PC-7": UserId("bob")}, timezone=UTC)
    assert one("time,app\n1700000000,gimp", options).user == "ada"
    assert one("user,time,app\nPC-7,1700000000,gimp", options).user == "bob"
    assert "no user" in reason("time,app", "1700000000,gimp")


def test_a_shared_desktop_has_no_user() -> None:
    event = one("time,event,desktop,detail\n1700000000,desktop-state,pc1,in-use")
    assert (event.user, event.desktop, event.detail) == (None, "pc1", "in-use")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ada,1700000000,app-launch", "3 fields where the header has 6"),
        ("ada,1700000000,app-launch,gimp,,,more", "7 fields"),
        ("ada,soon,app-launch,gimp,,", "neither an epoch number nor ISO 8601"),
        ("ada,,app-launch,gimp,,", "time is empty"),
        ("ada,1700000000,dance,gimp,,", "'dance' is unknown"),
        ("ada,1700000000,,,,", "event is empty"),
        ("ada,1700000000,app-launch,,,", "needs an app"),
        ("ada,1700000000,cpu,,,", "needs a value"),
        ("ada,1700000000,cpu,,nan,", "finite"),
        ("ada,1700000000,cpu,,1e999,", "finite"),
        ("ada,1700000000,cpu,,much,", "'much' is not a number"),
        ("ada,1700000000,file-opened,gimp,,letter.odt", "MIME"),
        ("ada,1700000000,app-focus,gimp,,A secret title", "single word"),
        ("a/da,1700000000,app-focus,gimp,,", "no user id"),
        (",1700000000,app-focus,gimp,,", "no user is named"),
        ('ada,1700000000,app-focus,"gimp,,', "quotes"),
        ("ada,1700000000,app-focus,gi\0mp,,", "NUL"),
        ("ada,1700000000,app-focus," + "x" * 70_000 + ",,", "longer than"),
    ],
)
def test_a_bad_line_says_why(line: str, words: str) -> None:
    assert words in reason("user,time,event,app,value,detail", line)


def test_good_lines_around_a_bad_one_are_kept_and_counted() -> None:
    text = 'user,time,app\nada,1700000000,gimp\n"ada,1,x\n\n   \nada,1700000001,gimp\n'
    assert [p.line if isinstance(p, BadLine) else p[0] for p in read(text)] == [2, 3, 6]


def test_wrong_columns_are_one_bad_line() -> None:
    for header in ("a,b,c", "", "user,day,app", "\0\0", '"user'):
        (bad,) = read(f"{header}\n1,2,3")
        assert isinstance(bad, BadLine)
        assert bad.line == 1
        assert not UsageCsvImporter().sniff(f"{header}\n1,2,3")
    assert read("user,time,app") == []


EVENTS = st.builds(
    UsageEvent,
    time_s=st.integers(10**12, 4 * 10**12).map(lambda ms: ms / 1000),
    kind=st.sampled_from(sorted(set(EventKind) - {EventKind.FILE_OPENED})),
    user=st.from_regex(r"[a-z0-9_][a-z0-9_.@-]{0,63}", fullmatch=True),
    app=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,127}", fullmatch=True),
    desktop=st.none()
    | st.from_regex(r"[A-Za-z0-9\",; ]*[A-Za-z0-9]", fullmatch=True)
    .map(str.strip)
    .filter(lambda name: len(name) <= 128),
    value=st.floats(allow_nan=False, allow_infinity=False),
    detail=st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+/;=-]{0,127}", fullmatch=True),
    source=st.just("csv"),
)


@given(st.lists(EVENTS, max_size=5))
def test_written_events_come_back(events: list[UsageEvent]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = ("user", "time", "event", "app", "desktop", "value", "detail")
    writer.writerow(columns)
    for e in events:
        writer.writerow((e.user, f"{e.time_s:.3f}", e.kind.value, e.app, e.desktop, repr(e.value), e.detail))
    back = [parsed[1] for parsed in read(out.getvalue()) if isinstance(parsed, tuple)]
    assert [e.key() for e in back] == [e.key() for e in events]


@given(
    st.text(max_size=300), st.sampled_from(["", "user,time,app\n", "user,utc,tz_min\n", "user,time,event,app,value\n"])
)
def test_any_text_gives_events_or_reasons(text: str, header: str) -> None:
    numbers = [p.line if isinstance(p, BadLine) else p[0] for p in read(header + text)]
    assert numbers == sorted(numbers)
    UsageCsvImporter().sniff(header + text)

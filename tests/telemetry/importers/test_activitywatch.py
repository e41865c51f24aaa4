"""ActivityWatch exports in all their shapes; titles never get in."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.importers.activitywatch import ActivityWatchImporter
from ghostdesk.telemetry.importers.protocol import BadLine, Parsed, ReadOptions

T0 = "2023-11-14T22:13:20.000000+00:00"
T0_S = 1_700_000_000.0


class Text:
    """A `TextSource` of a given text, in small pieces."""

    def __init__(self, text: str, size: int = 37) -> None:
        self.text = text
        self.size = size

    def lines(self) -> Iterator[str]:
        yield from self.text.split("\n")

    def chunks(self) -> Iterator[str]:
        return (self.text[start : start + self.size] for start in range(0, len(self.text), self.size))


def window(time: str = T0, app: object = "firefox", duration: object = 12.5) -> dict[str, Any]:
    data = {"app": app, "title": "SECRET letter to my bank", "url": "https://SECRET.example"}
    return {"id": 1, "timestamp": time, "duration": duration, "data": data}


def afk(status: object, time: str = T0) -> dict[str, Any]:
    return {"id": 2, "timestamp": time, "duration": 60, "data": {"status": status}}


def bucket(kind: str, events: object, hostname: str = "PC-7") -> dict[str, Any]:
    return {
        "id": f"aw-watcher-{kind}_{hostname}",
        "created": "2020-01-01T00:00:00+00:00",
        "name": None,
        "type": kind,
        "client": "aw-watcher",
        "hostname": hostname,
        "data": {},
        "events": events,
        "last_updated": T0,
    }


def read(export: object, options: ReadOptions | None = None) -> list[Parsed]:
    text = export if isinstance(export, str) else json.dumps(export)
    return list(ActivityWatchImporter().read(Text(text), options or ReadOptions(user=UserId("ada"))))


FOCUS = UsageEvent(T0_S, EventKind.APP_FOCUS, UserId("ada"), "firefox", value=12.5, source="activitywatch")  # type: ignore[arg-type]
IDLE = UsageEvent(T0_S, EventKind.IDLE, UserId("ada"), source="activitywatch")
ACTIVE = UsageEvent(T0_S, EventKind.ACTIVE, UserId("ada"), source="activitywatch")


def test_a_whole_export() -> None:
    buckets = {
        "w": bucket("currentwindow", [window()]),
        "a": bucket("afkstatus", [afk("afk"), afk("not-afk")]),
        "t": bucket("web.tab.current", [{"timestamp": T0, "duration": 1, "data": {"title": "SECRET"}}]),
    }
    assert read({"buckets": buckets}) == [(1, FOCUS), (2, IDLE), (3, ACTIVE)]


@pytest.mark.parametrize(
    "export",
    [
        bucket("currentwindow", [window()]),
        [bucket("currentwindow", [window()])],
        [{"buckets": {"w": bucket("currentwindow", [window()])}}],
        {"buckets": [bucket("currentwindow", [window()])]},
        [window()],
        window(),
        dict(reversed(bucket("currentwindow", [window()]).items())),
    ],
    ids=["one bucket", "list of buckets", "list of exports", "array", "bare events", "one event", "events before type"],
)
def test_other_shapes(export: object) -> None:
    assert read(export) == [(1, FOCUS)]
    assert ActivityWatchImporter().sniff(json.dumps(export, indent=2))


def test_nothing_of_a_title_gets_in() -> None:
    for export in (bucket("currentwindow", [window()]), [window()]):
        assert "SECRET" not in repr(read(export))


def test_users_come_from_the_host_the_options_or_the_hosts_name() -> None:
    two = {"buckets": {"1": bucket("afkstatus", [afk("afk")], "PC-7"), "2": bucket("afkstatus", [afk("afk")], "PC-8")}}

    def users(options: ReadOptions) -> list[str | None]:
        return [parsed[1].user for parsed in read(two, options) if isinstance(parsed, tuple)]

    assert users(ReadOptions(user=UserId("ada"), users={"PC-8": UserId("bob")})) == ["ada", "bob"]
    assert users(ReadOptions(users={"PC-8": UserId("bob")})) == ["pc-7", "bob"]
    assert isinstance(read([afk("afk")], ReadOptions())[0], BadLine)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (window(time="soon"), "neither"),
        ({"duration": 1, "data": {"app": "x"}}, "timestamp is missing"),
        (window(app=7), "app is missing"),
        (window(app=""), "empty"),
        (window(duration=-1), "duration"),
        (window(duration="long"), "duration"),
        (window(duration=10**400), "too large"),
        (window(duration=float("nan")), "duration"),
        (7, "not an object"),
    ],
)
def test_a_bad_event_says_why_and_the_next_is_kept(event: object, words: str) -> None:
    for export in (
        bucket("currentwindow", [event, window()]),
        dict(reversed(bucket("currentwindow", [event, window()]).items())),
    ):
        bad, good = read(export)
        assert isinstance(bad, BadLine)
        assert bad.line == 1
        assert words in bad.reason
        assert good == (2, FOCUS)


def test_an_unknown_presence_is_bad() -> None:
    (bad,) = read(bucket("afkstatus", [afk("asleep")]))
    assert isinstance(bad, BadLine)
    assert "neither afk nor not-afk" in bad.reason


def test_an_export_cut_short_gives_what_was_whole() -> None:
    text = json.dumps({"buckets": {"w": bucket("currentwindow", [window()] * 3)}})
    *good, bad = read(text[: text.rindex("firefox")])
    assert good == [(1, FOCUS), (2, FOCUS)]
    assert isinstance(bad, BadLine)
    assert bad.line == 3
    assert "reading ends here" in bad.reason


def test_buckets_without_events_are_empty() -> None:
    assert read({"buckets": {"w": bucket("currentwindow", None)}}) == []
    assert read({"buckets": {}}) == []


EVENT = st.one_of(
    st.integers(10**9, 4 * 10**9).map(lambda s: window(time=str(s))),
    st.just(afk("afk")),
    st.recursive(
        st.none() | st.text(max_size=5), lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
)


@given(st.lists(EVENT, max_size=5), st.randoms(use_true_random=False), st.integers(1, 200))
def test_keys_in_any_order_give_the_same(events: list[object], shuffler: Any, size: int) -> None:
    whole = bucket("currentwindow", events)
    keys = list(whole)
    shuffler.shuffle(keys)
    shuffled = json.dumps({key: whole[key] for key in keys})
    options = ReadOptions(user=UserId("ada"))
    parsed = list(ActivityWatchImporter().read(Text(shuffled, size), options))
    assert parsed == read(whole, options)
    numbers = [p.line if isinstance(p, BadLine) else p[0] for p in parsed]
    assert numbers == sorted(numbers) == list(range(1, len(events) + 1))


@given(
    st.text(max_size=200), st.sampled_from(["", "{", "[", '{"buckets": {"a": ', '{"type": "afkstatus", "events": ['])
)
def test_any_text_gives_events_or_reasons(text: str, start: str) -> None:
    for parsed in read(start + text):
        assert isinstance(parsed, BadLine | tuple)
    ActivityWatchImporter().sniff(start + text)

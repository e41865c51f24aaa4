"""Names, times and words from foreign logs."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import UserId, app_id, user_id
from ghostdesk.telemetry.importers.cleaning import (
    clean_app,
    clean_desktop,
    clean_mime,
    clean_user,
    clean_word,
    parse_time_s,
)

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("name", "app"),
    [
        ("org.xfce.mousepad", "org.xfce.mousepad"),
        ("org.xfce.mousepad.desktop", "org.xfce.mousepad"),
        ("firefox.exe", "firefox"),
        ("FIREFOX.EXE", "FIREFOX"),
        ("Safari.app", "Safari"),
        (r"C:\Program Files\Mozilla Firefox\firefox.exe", "firefox"),
        ("/usr/bin/gimp-2.10", "gimp-2.10"),
        ("Google Chrome", "Google_Chrome"),
        ("  Mail ", "Mail"),
        ("Café", "Cafe"),
        ("notepad++", "notepad++"),
        ("-dash", "dash"),
        ("_private", "_private"),
    ],
)
def test_app_names_are_reduced(name: str, app: str) -> None:
    assert clean_app(name) == app


def test_app_names_in_other_scripts_stay_apart() -> None:
    names = ["微信", "钉钉", "WPS 文字", "WPS 表格", "Почта"]
    ids = [clean_app(name) for name in names]
    assert len(set(ids)) == len(names)
    assert ids[2].startswith("WPS-")
    assert ids[0].startswith("app-")


@pytest.mark.parametrize("name", ["", "  ", "/", ".exe", "a\0b"])
def test_no_app_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        clean_app(name)


@given(st.text(max_size=300))
def test_a_cleaned_app_is_an_id_and_stays_it(name: str) -> None:
    try:
        cleaned = clean_app(name)
    except ValueError:
        return
    assert app_id(cleaned) == cleaned
    assert clean_app(cleaned) == cleaned


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}", fullmatch=True))
def test_an_app_id_without_a_program_suffix_is_kept(name: str) -> None:
    if not name.lower().endswith((".desktop", ".exe", ".app", ".lnk")):
        assert clean_app(name) == name


def test_users_are_mapped_lowered_or_given() -> None:
    assert clean_user("Ada@Example.org") == "ada@example.org"
    assert clean_user("PC-7", {"PC-7": UserId("ada")}) == "ada"
    assert clean_user(" ", None, UserId("ada")) == "ada"
    with pytest.raises(ValueError, match="no user"):
        clean_user("")
    with pytest.raises(ValueError, match="no user id"):
        clean_user("DOMAIN\\ada")


@given(st.text(max_size=100))
def test_a_cleaned_user_is_an_id(name: str) -> None:
    try:
        cleaned = clean_user(name)
    except ValueError:
        return
    assert user_id(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "zone", "time_s"),
    [
        ("1700000000", UTC, 1_700_000_000.0),
        ("1700000000.25", UTC, 1_700_000_000.25),
        ("1700000000250", UTC, 1_700_000_000.25),
        ("1700000000250000", UTC, 1_700_000_000.25),
        ("1700000000250000000", UTC, 1_700_000_000.25),
        ("2023-11-14T22:13:20Z", BERLIN, 1_700_000_000.0),
        ("2023-11-14 23:13:20", BERLIN, 1_700_000_000.0),
        ("2023-11-14T22:13:20.5+00:00", BERLIN, 1_700_000_000.5),
        ("2013-11-03 01:30:00", NEW_YORK, 1_383_456_600.0),  # twice that night: the first, in daylight-saving time
    ],
)
def test_times(text: str, zone: ZoneInfo, time_s: float) -> None:
    assert parse_time_s(text, zone) == pytest.approx(time_s, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("2023-11-14", "time of day"),
        ("20231114", "without a time of day"),
        ("12:30:00", "neither"),
        ("2023-W46-2", "time of day"),
        ("1960-01-01T00:00:00Z", "out of range"),
        ("99999999999", "out of range"),
        ("-5", "neither"),
        ("9999-12-31T23:59:59-12:00", "out of range|neither"),
        ("yesterday at noon", "neither"),
        ("0x7f000000000", "neither"),
    ],
)
def test_times_that_are_none(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_time_s(text, UTC)


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda d: 1970 <= d.year < 2286))
def test_iso_times_come_back(moment: object) -> None:
    assert parse_time_s(moment.isoformat(), BERLIN) == pytest.approx(moment.timestamp(), abs=1e-5)  # type: ignore[attr-defined]


@given(st.floats(1e9, 4e9))
def test_epoch_times_come_back_in_any_unit(time_s: float) -> None:
    for factor, slack_s in ((1, 1e-3), (1e3, 1e-3), (1e6, 1e-3), (1e9, 1e-3)):
        assert parse_time_s(f"{time_s * factor:.3f}", UTC) == pytest.approx(time_s, abs=slack_s)


@given(st.text(max_size=60))
def test_any_text_is_a_time_or_a_reason(text: str) -> None:
    try:
        assert 0 <= parse_time_s(text, BERLIN) < 1e10
    except ValueError as error:
        assert str(error)


def test_details_hold_no_sentences_and_no_file_names() -> None:
    assert clean_word(" in-use ") == "in-use"
    assert clean_mime("Text/Plain") == "text/plain"
    assert clean_desktop(" TL 1001 ") == "TL 1001"
    for word in ("my secret letter.odt - Writer", "", "x" * 200, "a\nb"):
        with pytest.raises(ValueError, match="word"):
            clean_word(word)
    for name in ("letter.odt", "", "a/b/c", "text/plain; name=x"):
        with pytest.raises(ValueError, match="MIME"):
            clean_mime(name)
    for desktop in ("", "a\tb", "x" * 129):
        with pytest.raises(ValueError, match="printable"):
            clean_desktop(desktop)

"""Desktop files: ordinary, localized, odd and hostile."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.agent import catalogue, menu
from ghostdesk.agent.catalogue import FILES, App, class_index, fill, parse, read_all, split_exec
from ghostdesk.kernel.ids import AppId

APP = AppId("org.example.Editor")
PLAIN = "[Desktop Entry]\nType=Application\nName=Editor\nName[de]=Bearbeiter\nName[de_AT]=Schreiber\nExec=true %F\n"


def test_an_ordinary_file_is_read() -> None:
    entry = parse(PLAIN + "Categories=Office;Utility;\nMimeType=text/plain;\nIcon=edit\nStartupWMClass=Edit\n", APP)
    assert entry == App(APP, "Editor", ("true", FILES), ("Office", "Utility"), ("text/plain",), "edit", "Edit")


@pytest.mark.parametrize(
    ("language", "name"), [("", "Editor"), ("de", "Bearbeiter"), ("de_AT", "Schreiber"), ("de_CH", "Bearbeiter")]
)
def test_the_name_is_in_the_users_language(language: str, name: str) -> None:
    entry = parse(PLAIN, APP, language=language)
    assert entry is not None and entry.name == name


@pytest.mark.parametrize(
    "line",
    ["NoDisplay=true", "Hidden=true", "OnlyShowIn=KDE;", "NotShowIn=openbox;", "[Desktop Entry]\nType=Link"],
)
def test_what_is_not_meant_to_be_seen_is_left_out(line: str) -> None:
    text = line + "\nName=X\nExec=true\n" if "Link" in line else PLAIN + line + "\n"
    assert parse(text, APP) is None


def test_keys_of_other_groups_do_not_count() -> None:
    assert parse("[Other]\n" + PLAIN.partition("\n")[2], APP) is None
    entry = parse(PLAIN + "[Desktop Action new]\nExec=rm -rf /\nName=New\n", APP)
    assert entry is not None and entry.command == ("true", FILES)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gimp-2.10 %U", ("gimp-2.10", FILES)),
        ("sh -c 'a b'", ("sh", "-c", "'a", "b'")),
        ('sh -c "a b; c \\\\$HOME"', ("sh", "-c", "a b; c $HOME")),
        ("a %% %c %k %d", ("a", "%", "The Name")),
        ("a --x=%f", ("a", "--x=")),
        ("a %i", ("a", "--icon", "pic")),
        ('a "" b', ("a", "", "b")),
        ('a "open', ()),
        ("%f a", ()),
        ("", ()),
    ],
)
def test_exec_lines_are_split_without_a_shell(line: str, words: tuple[str, ...]) -> None:
    assert split_exec(line, name="The Name", icon="pic") == words


def test_files_go_where_the_line_says_or_at_the_end() -> None:
    assert fill(("a", FILES, "b"), ["x y", "z"]) == ["a", "x y", "z", "b"]
    assert fill(("a", FILES, "b"), []) == ["a", "b"]
    assert fill(("a",), ["x"]) == ["a", "x"]


@given(st.text(max_size=400))
def test_no_text_breaks_the_parser(text: str) -> None:
    for whole in (text, PLAIN + text, PLAIN + "Exec=" + text, text.replace("=", "=\n") + PLAIN):
        entry = parse(whole, APP)
        if entry is not None:
            assert entry.name and entry.command[0]
            assert all("\0" not in word for word in entry.command if word != FILES)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1), min_size=1, max_size=5))
def test_what_is_quoted_as_the_standard_says_comes_back(words: list[str]) -> None:
    def quote(word: str) -> str:
        for special in ("\\", '"', "`", "$"):
            word = word.replace(special, "\\" + special)
        return '"' + word.replace("%", "%%").replace("\\", "\\\\") + '"'

    assert split_exec(" ".join(quote(word) for word in words)) == tuple(words)


def environment(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder / "home"), "XDG_DATA_DIRS": str(folder / "sys"), "LANG": "de_DE.UTF-8"}


def test_the_home_hides_the_system(tmp_path: Path) -> None:
    for base, name in (("sys", "System"), ("home/.local/share", "Home")):
        folder = tmp_path / base / "applications"
        folder.mkdir(parents=True)
        (folder / "a.desktop").write_text(f"[Desktop Entry]\nType=Application\nName={name}\nExec=true\n")
    (tmp_path / "sys/applications/b.desktop").write_text(PLAIN + "TryExec=no-such-program\n")
    (tmp_path / "sys/applications/c.desktop").write_text(PLAIN.replace("Exec=true", "Exec=no-such-program"))
    (tmp_path / "sys/applications/sub").mkdir()
    (tmp_path / "sys/applications/sub/d.desktop").write_text(PLAIN)
    (tmp_path / "sys/applications/bad id.desktop").write_text(PLAIN)
    (tmp_path / "sys/applications/hidden.desktop").write_text(PLAIN)
    (tmp_path / "home/.local/share/applications/hidden.desktop").write_text(PLAIN + "Hidden=true\n")
    found = read_all(environment(tmp_path))
    assert {app: entry.name for app, entry in found.items()} == {"a": "Home", "sub-d": "Bearbeiter"}


def test_icons_become_small_data_urls(tmp_path: Path) -> None:
    folder = tmp_path / "sys/icons/hicolor/48x48/apps"
    folder.mkdir(parents=True)
    content = b"\x89PNG\r\n" + b"x" * 100
    (folder / "pic.png").write_bytes(content)
    (folder / "big.png").write_bytes(b"\x89PNG" + b"x" * catalogue.MAX_ICON_BYTES)
    (folder / "fake.png").write_bytes(b"#!/bin/sh")
    url = catalogue.icon_data_url("pic", environment(tmp_path))
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == content
    assert catalogue.icon_data_url("pic.png", environment(tmp_path)) == url
    for name in ("big", "fake", "none", "", "../../etc/passwd", "/etc/passwd", str(folder)):
        assert catalogue.icon_data_url(name, environment(tmp_path)) == ""


def test_window_classes_lead_to_applications() -> None:
    index = class_index(
        [
            App(AppId("gimp"), "GIMP", ("gimp-2.10",)),
            App(AppId("org.xfce.mousepad"), "Mousepad", ("mousepad",)),
            App(AppId("chromium"), "Chromium", ("/usr/bin/chromium",), wm_class="Chromium-browser"),
            App(AppId("other"), "Other", ("/usr/bin/chromium",)),
        ]
    )
    for name, app in [
        ("Gimp-2.10", "gimp"),
        ("mousepad", "org.xfce.mousepad"),
        ("chromium-browser", "chromium"),
        ("chromium", "chromium"),
    ]:
        assert index[catalogue.class_key(name)] == app


@given(st.lists(st.text(max_size=30), max_size=5), st.text(max_size=20))
def test_menus_are_sound_whatever_applications_are_called(names: list[str], category: str) -> None:
    apps = [App(AppId(f"app{n}"), name, ("true",), (category,), icon=name) for n, name in enumerate(names)]
    root = ElementTree.fromstring(menu.menu_xml(apps))  # noqa: S314 - our own output
    commands = [element.text or "" for element in root.iter() if element.tag.endswith("command")]
    assert sorted(shlex.split(command)[-1] for command in commands) == sorted(app.app for app in apps)
    for app in apps:
        assert len(menu.launcher_file(app).splitlines()) == 5


def test_menu_files_are_written_for_chosen_applications(tmp_path: Path) -> None:
    folder = tmp_path / "sys/applications"
    folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / f"{name}.desktop").write_text(PLAIN)
    assert menu.write(tmp_path / "out", ["c", "a", "none", "c"], environment(tmp_path)) == ["c", "a"]
    assert sorted(path.name for path in (tmp_path / "out/launchers").iterdir()) == ["a.desktop", "c.desktop"]
    assert menu.write(tmp_path / "all", [], environment(tmp_path)) == ["a", "b", "c"]
    assert menu.main([]) == 2
    assert menu.main([str(tmp_path / "x"), "; rm -rf"]) == 2

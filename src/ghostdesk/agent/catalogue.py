"""The applications that can be started here, read from XDG desktop files.

Source: Desktop Entry Specification 1.5, Icon Theme Specification 0.13 (the look-up is simplified: see `icon_data_url`).
A desktop file is untrusted input: what cannot be understood is left out, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.kernel.ids import AppId, app_id

MAX_FILE_BYTES = 256 * 1024
MAX_ICON_BYTES = 48 * 1024
MAX_APPS = 500
_FIELD = re.compile(r"%(.)")
_ESCAPE = re.compile(r"\\(.)")
_DESKTOPS = ("openbox", "GNOME", "XFCE")
"""Names that OnlyShowIn may hold for an entry to be of use in a plain desktop."""
_OUR_OWN = frozenset(("tint2", "tint2conf", "openbox", "obconf"))
"""The desktop itself: nobody starts these from its menu."""
_TERMINALS = (("lxterminal", "--no-remote", "-e"), ("xterm", "-e"), ("x-terminal-emulator", "-e"))
"""Terminals for programs without windows; each must stay in the process that was started."""


@dataclass(frozen=True, slots=True)
class App:
    """One application.

    Args:
        app: its id.
        name: in the user's language where the file has it.
        command: the program and its arguments; the item ``FILES`` marks where file names go.
        categories, mime_types: as in the file.
        icon: a name or a path, as in the file.
        wm_class: the window class that the file promises, or "".
    """

    app: AppId
    name: str
    command: tuple[str, ...]
    categories: tuple[str, ...] = ()
    mime_types: tuple[str, ...] = ()
    icon: str = ""
    wm_class: str = ""


FILES = "\0files"


def parse(text: str, app: AppId, *, language: str = "") -> App | None:
    """Read one desktop file; None when it is not an application to show, or makes no sense.

    Args:
        text: the file.
        app: the id made from its name.
        language: such as ``de`` or ``de_AT``; "" for the file's own.
    """
    keys = _keys(text)
    if keys.get("Type") != "Application" or any(keys.get(k, "").lower() == "true" for k in ("NoDisplay", "Hidden")):
        return None
    if (only := _list(keys.get("OnlyShowIn", ""))) and not set(only) & set(_DESKTOPS):
        return None
    if set(_list(keys.get("NotShowIn", ""))) & {"openbox"}:
        return None
    name = _unescape(_localized(keys, "Name", language)).strip()
    command = split_exec(keys.get("Exec", ""), name=name, icon=_unescape(keys.get("Icon", "")))
    if not name or not command:
        return None
    if keys.get("Terminal", "").lower() == "true":
        terminal = next((words for words in _TERMINALS if find_program(words[0])), None)
        if terminal is None:
            return None
        command = (*terminal, *command)
    return App(
        app=app,
        name=name[:200],
        command=command,
        categories=_list(keys.get("Categories", "")),
        mime_types=_list(keys.get("MimeType", "")),
        icon=_unescape(keys.get("Icon", "")),
        wm_class=_unescape(keys.get("StartupWMClass", "")),
    )


def split_exec(value: str, *, name: str = "", icon: str = "") -> tuple[str, ...]:
    """Split an Exec line into arguments with no shell; empty when it is malformed.

    File fields (%f %F %u %U) become one `FILES` mark, %c the name, %i the icon; deprecated and unknown ones vanish.
    """
    words = _quoted_words(_unescape(value))
    if words is None:
        return ()
    arguments: list[str] = []
    for word, quoted in words:
        if not quoted and word in {"%f", "%F", "%u", "%U"}:
            if FILES not in arguments:
                arguments.append(FILES)
        elif not quoted and word == "%i":
            arguments += ["--icon", icon] if icon else []
        else:
            filled = _FIELD.sub(lambda m: {"%": "%", "c": name}.get(m.group(1), ""), word)
            if filled or quoted or not word:
                arguments.append(filled)
    if not arguments or arguments[0] in {FILES, ""} or "\0" in "".join(a for a in arguments if a != FILES):
        return ()
    return tuple(arguments)


def fill(command: Iterable[str], files: Iterable[str]) -> list[str]:
    """The arguments to execute, with `files` in their place (at the end when the application names none)."""
    arguments: list[str] = []
    placed = False
    for item in command:
        if item == FILES:
            arguments += files
            placed = True
        else:
            arguments.append(item)
    return arguments if placed else [*arguments, *files]


def folders(environment: Mapping[str, str]) -> list[Path]:
    """Where desktop files are, the most important first."""
    home = environment.get("XDG_DATA_HOME") or str(Path(environment.get("HOME", "/nonexistent"), ".local/share"))
    system = environment.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return [Path(base) for base in [home, *system.split(":")] if base.startswith("/")]


def read_all(environment: Mapping[str, str]) -> dict[AppId, App]:
    """Every application that can be started; a file in the home hides one of the same name in the system."""
    language = next((v for k in ("LC_ALL", "LC_MESSAGES", "LANG") if (v := environment.get(k))), "").partition(".")[0]
    found: dict[AppId, App | None] = {}
    for base in folders(environment):
        for path, app in _files(base / "applications"):
            if app not in found and len(found) < MAX_APPS:
                found[app] = _read(path, app, language)
    return {app: entry for app, entry in sorted(found.items()) if entry is not None and app not in _OUR_OWN}


def icon_data_url(icon: str, environment: Mapping[str, str], *, size_px: int = 48) -> str:
    """A small PNG or SVG of the icon as a data URL, or "" when there is none of at most `MAX_ICON_BYTES`.

    Themes are not followed: hicolor first, then the others that are there, then pixmaps.
    """
    from base64 import b64encode

    for path in _icon_files(icon, environment, size_px):
        try:
            if path.stat().st_size > MAX_ICON_BYTES:
                continue
            content = path.read_bytes()
        except OSError:
            continue
        if path.suffix == ".png" and content.startswith(b"\x89PNG"):
            return "data:image/png;base64," + b64encode(content).decode()
        if path.suffix == ".svg" and b"<svg" in content[:4096]:
            return "data:image/svg+xml;base64," + b64encode(content).decode()
    return ""


def _keys(text: str) -> dict[str, str]:
    """Keys of the group [Desktop Entry]; the first of two equal ones counts."""
    keys: dict[str, str] = {}
    inside = False
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            inside = line == "[Desktop Entry]"
        elif inside and not line.startswith("#") and "=" in line:
            key, _, value = line.partition("=")
            keys.setdefault(key.strip(), value.strip())
    return keys


def _localized(keys: Mapping[str, str], key: str, language: str) -> str:
    for suffix in (language, language.partition("_")[0]):
        if suffix and (value := keys.get(f"{key}[{suffix}]")):
            return value
    return keys.get(key, "")


def _list(value: str) -> tuple[str, ...]:
    return tuple(item for item in _unescape(value).split(";") if item)[:200]


def _unescape(value: str) -> str:
    letters = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\", ";": ";"}
    return _ESCAPE.sub(lambda m: letters.get(m.group(1), m.group(0)), value)


def _quoted_words(value: str) -> list[tuple[str, bool]] | None:
    """Words and whether each was quoted; None for an open quote. Only double quotes exist in the standard."""
    words: list[tuple[str, bool]] = []
    current: list[str] = []
    quoted = inside = False
    characters = iter(value)
    for character in characters:
        if inside and character == "\\":
            current.append(next(characters, ""))
        elif character == '"':
            inside, quoted = not inside, True
        elif character in " \t\n" and not inside:
            if current or quoted:
                words.append(("".join(current), quoted))
            current, quoted = [], False
        else:
            current.append(character)
    if inside:
        return None
    if current or quoted:
        words.append(("".join(current), quoted))
    return words


def _files(folder: Path) -> Iterator[tuple[Path, AppId]]:
    """Desktop files under `folder` (two levels), with ids made as the standard says: folders joined by dashes."""
    for path in sorted([*folder.glob("*.desktop"), *folder.glob("*/*.desktop")]):
        try:
            yield path, app_id("-".join(path.relative_to(folder).parts))
        except ValueError:
            continue


def _read(path: Path, app: AppId, language: str) -> App | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return None
        text = path.read_text(errors="replace")
    except OSError:
        return None
    entry = parse(text, app, language=language)
    if entry is None:
        return None
    wanted = _keys(text).get("TryExec", "")
    program = split_exec(_keys(text).get("Exec", ""))[:1] or entry.command[:1]
    return entry if find_program(program[0]) and (not wanted or find_program(wanted)) else None


def _icon_files(icon: str, environment: Mapping[str, str], size_px: int) -> Iterator[Path]:
    if icon.startswith("/"):
        yield Path(icon)
        return
    name = re.sub(r"\.(png|svg|xpm)$", "", icon)
    if not name or "/" in name or name.startswith("."):
        return
    sizes = [f"{n}x{n}" for n in (size_px, 64, 32, 128, 24, 16)]
    for base in folders(environment):
        icons = base / "icons"
        others = sorted(p.name for p in icons.iterdir() if p.is_dir()) if icons.is_dir() else []
        for theme in dict.fromkeys(["hicolor", "Adwaita", *others]):
            for size in [*sizes, "scalable"]:
                for context in ("apps", "legacy", "places", "devices"):
                    yield icons / theme / size / context / f"{name}{'.svg' if size == 'scalable' else '.png'}"
        for suffix in (".png", ".svg"):
            yield base / "pixmaps" / f"{name}{suffix}"


def find_program(name: str) -> str | None:
    """Where a program is. `shutil` comes late: with its compressors it would cost each waiting desktop 1 MiB."""
    from shutil import which

    return which(name)


def class_key(name: str) -> str:
    """A window class, or what it is compared with, without case and version (``Gimp-2.10`` is ``gimp``)."""
    return re.sub(r"-[0-9][0-9.]*$", "", name.lower())


def class_index(apps: Iterable[App]) -> dict[str, AppId]:
    """Which application a window class stands for: what the file promises, else its id, its last part, its program."""
    index: dict[str, AppId] = {}
    entries = list(apps)
    promised = [(app.wm_class, app.app) for app in entries]
    named = [(app.app, app.app) for app in entries]
    short = [(app.app.rpartition(".")[2], app.app) for app in entries]
    programs = [(Path(app.command[0]).name, app.app) for app in entries]
    for name, app_name in promised + named + short + programs:
        if name:
            index.setdefault(class_key(name), app_name)
    return index

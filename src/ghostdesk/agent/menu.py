"""Write the desktop's menu and launchers: ``python3 -m ghostdesk.agent.menu DIR [APP...]``.

DIR/menu.xml is openbox's root menu, DIR/launchers/<app>.desktop are for tint2's launcher. Every entry sets a property
on the root window (3 ms); the agent sees it and takes the fast path.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ghostdesk.agent import catalogue
from ghostdesk.agent.launching import LAUNCH_PROPERTY
from ghostdesk.kernel.ids import AppId, app_id

_GROUPS = {
    "Office": "Office",
    "Network": "Internet",
    "Graphics": "Graphics",
    "AudioVideo": "Sound and video",
    "Development": "Development",
    "Game": "Games",
    "Education": "Education",
    "Science": "Education",
    "System": "System",
    "Settings": "Settings",
    "Utility": "Accessories",
}


def launch_command(app: AppId) -> str:
    """The command line that asks the agent for an application. The id is checked, so nothing in it needs quoting."""
    return f"xprop -root -f {LAUNCH_PROPERTY} 8s -set {LAUNCH_PROPERTY} {app_id(app)}"


def menu_xml(apps: Iterable[catalogue.App]) -> str:
    """openbox's menu, grouped by category."""
    groups: dict[str, list[catalogue.App]] = {}
    for app in sorted(apps, key=lambda a: a.name.lower()):
        groups.setdefault(_group(app), []).append(app)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<openbox_menu xmlns="http://openbox.org/3.4/menu">']
    lines.append('<menu id="root-menu" label="Applications">')
    for label, members in sorted(groups.items()):
        lines.append(f"<menu id={quoteattr('group-' + label)} label={quoteattr(label)}>")
        for app in members:
            lines.append(f'<item label={quoteattr(_plain(app.name))}><action name="Execute">')
            lines.append(f"<command>{launch_command(app.app)}</command></action></item>")
        lines.append("</menu>")
    lines += ["</menu>", "</openbox_menu>", ""]
    return "\n".join(lines)


def launcher_file(app: catalogue.App) -> str:
    """A desktop file for tint2's launcher."""
    return (
        f"[Desktop Entry]\nType=Application\nName={_plain(app.name)}\n"
        f"Icon={_plain(app.icon)}\nExec={launch_command(app.app)}\n"
    )


def write(folder: Path, chosen: Iterable[str], environment: Mapping[str, str]) -> list[AppId]:
    """Write both into `folder`; `chosen` ids in that order, or all when it is empty. Returns what was written."""
    available = catalogue.read_all(environment)
    wanted = [app_id(name) for name in chosen] or list(available)
    apps = [available[app] for app in dict.fromkeys(wanted) if app in available]
    launchers = folder / "launchers"
    launchers.mkdir(parents=True, exist_ok=True)
    (folder / "menu.xml").write_text(menu_xml(apps))
    for app in apps:
        (launchers / f"{app.app}.desktop").write_text(launcher_file(app))
    return [app.app for app in apps]


def _group(app: catalogue.App) -> str:
    return next((label for category, label in _GROUPS.items() if category in app.categories), "Other")


def _plain(text: str) -> str:
    """One line with no control characters: neither XML nor a desktop file can hold them. `_` marks a key in openbox."""
    return "".join(c for c in text if c.isprintable() and not "\ud800" <= c <= "\udfff")


def main(arguments: list[str]) -> int:
    """Returns 0, or 2 when the arguments make no sense."""
    if not arguments:
        print("usage: python3 -m ghostdesk.agent.menu DIR [APP...]", file=sys.stderr)  # noqa: T201
        return 2
    try:
        write(Path(arguments[0]), arguments[1:], os.environ)
    except (OSError, ValueError) as error:
        print(f"The menu cannot be written: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

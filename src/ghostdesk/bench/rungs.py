"""The rungs that the launch benchmark climbs, and the applications it climbs them with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ghostdesk.kernel.ids import AppId

_ALT, _CONTROL, _SHIFT = 0xFFE9, 0xFFE3, 0xFFE1
_ESCAPE, _BACKSPACE, _TAB = 0xFF1B, 0xFF08, 0xFF09


class Rung(StrEnum):
    """How ready the application was before it was asked for. Slowest first."""

    COLD = "cold"
    """Not running; page cache dropped just before."""
    CACHED = "cached"
    """Not running; its files are in the page cache."""
    HIDDEN_UNMAPPED = "hidden-unmapped"
    """Running, its window unmapped: the X server keeps no picture."""
    FROZEN_UNMAPPED = "frozen-unmapped"
    """The same, and the application's processes are frozen; the rest of the desktop runs."""
    HIDDEN_KEPT = "hidden-kept"
    """Running, its window off-screen with its pixels kept by X Composite."""
    FROZEN_KEPT = "frozen-kept"
    """The same, and the application's processes are frozen; the rest of the desktop runs: a warm application."""
    GHOST_FROZEN = "ghost-frozen"
    """As frozen-kept, and the whole ghost (X server, window manager, agent) is frozen too."""
    PARKED = "parked"
    """As ghost-frozen, and the ghost's anonymous memory was reclaimed to compressed swap."""
    PARKED_CALLED_BACK = "parked-called-back"
    """As parked, but the pages were fetched from swap before the wake was timed."""


EXEC_RUNGS = frozenset({Rung.COLD, Rung.CACHED})
WHOLE_GHOST_RUNGS = frozenset({Rung.GHOST_FROZEN, Rung.PARKED, Rung.PARKED_CALLED_BACK})
RECLAIMED_RUNGS = frozenset({Rung.PARKED, Rung.PARKED_CALLED_BACK})
UNMAPPED_RUNGS = frozenset({Rung.HIDDEN_UNMAPPED, Rung.FROZEN_UNMAPPED})
RUNNING_RUNGS = frozenset({Rung.HIDDEN_UNMAPPED, Rung.HIDDEN_KEPT})

RUNG_TITLE: dict[Rung, str] = {
    Rung.COLD: "exec, cold disk",
    Rung.CACHED: "exec, page cache warm",
    Rung.HIDDEN_UNMAPPED: "hidden, unmapped, running",
    Rung.FROZEN_UNMAPPED: "hidden, unmapped, app frozen",
    Rung.HIDDEN_KEPT: "hidden, pixels kept, running",
    Rung.FROZEN_KEPT: "hidden, pixels kept, app frozen",
    Rung.GHOST_FROZEN: "whole ghost frozen",
    Rung.PARKED: "whole ghost parked (memory in swap)",
    Rung.PARKED_CALLED_BACK: "parked, pages called back first",
}


@dataclass(frozen=True, slots=True)
class BenchApp:
    """An application to measure.

    Args:
        apps: desktop-file ids it may have, the first that is installed is taken.
        name: for tables.
        key: keysyms pressed together as its first key; something must change on the screen.
        undo: chords pressed afterwards, which take back what the key changed.
        prepare: chords pressed once after the start, so that the key finds the focus where it needs it.
    """

    name: str
    apps: tuple[AppId, ...]
    key: tuple[int, ...] = (ord("m"),)
    undo: tuple[tuple[int, ...], ...] = ((_BACKSPACE,),)
    prepare: tuple[tuple[int, ...], ...] = ()


_ADDRESS = ((_CONTROL, ord("l")),)
_LEAVE_ADDRESS = ((_ESCAPE,), (_ESCAPE,), *_ADDRESS)

BENCH_APPS: tuple[BenchApp, ...] = (
    BenchApp("LXTerminal", (AppId("lxterminal"),)),
    BenchApp("Mousepad", (AppId("org.xfce.mousepad"),)),
    # Without a document it takes no letter: the focus moves on to the next button.
    BenchApp("Evince", (AppId("org.gnome.Evince"),), key=(_TAB,), undo=((_SHIFT, _TAB),)),
    BenchApp("LibreOffice Writer", (AppId("libreoffice-writer"),), (_ALT, ord("f")), ((_ESCAPE,), (_ESCAPE,))),
    # Without a picture it takes no letter: the File menu opens.
    BenchApp("GIMP", (AppId("gimp"),), key=(_ALT, ord("f")), undo=((_ESCAPE,), (_ESCAPE,))),
    BenchApp("Firefox", (AppId("firefox-esr"), AppId("firefox")), undo=_LEAVE_ADDRESS, prepare=_ADDRESS),
    BenchApp("Chromium", (AppId("chromium"),), undo=_LEAVE_ADDRESS, prepare=_ADDRESS),
    BenchApp("Thunderbird", (AppId("thunderbird"),)),
)
"""Eight real applications; those that are not installed are left out and named."""

"""The X display as the agent needs it: properties, requests to the window manager, and windows whose pixels are kept
but not shown.

How a window is hidden with its picture (X Composite protocol 0.4): every window of the desktop is redirected by
`RedirectSubwindows(root, Automatic)`, which changes nothing that can be seen. A window that is redirected once more, as
`Manual`, stays mapped and keeps its picture up to date, but the server no longer draws it. Undoing that draws it at
once, from the server's own memory, whether or not its application is running. No window manager takes part, so it works
for maximised windows, too (they cannot be moved off-screen), and a screen that changes its size cannot bring one back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from Xlib import X, display, error
from Xlib.ext import composite, damage, res
from Xlib.ext import shape as shapes
from Xlib.protocol import event, request

REDIRECT = X.SubstructureNotifyMask | X.SubstructureRedirectMask
_NEEDED = ("Composite", "SHAPE")


class NoDisplay(Exception):
    """The X server cannot be reached or lacks an extension that hiding needs."""


class Screen:
    """One connection to the X server. Windows are plain numbers; those that are gone are passed over in silence."""

    def __init__(self, name: str | None = None) -> None:
        try:
            self.display: Any = display.Display(name)
        except (error.DisplayError, OSError) as problem:
            raise NoDisplay(str(problem)) from None
        if missing := [extension for extension in _NEEDED if not self.display.has_extension(extension)]:
            raise NoDisplay(f"the X server lacks {', '.join(missing)}")
        self.display.set_error_handler(lambda *_: None)  # windows vanish at any moment: that is no error here
        self.root: Any = self.display.screen().root
        self._atoms: dict[str, int] = {}
        self._manager = 0
        self.display.composite_query_version()
        self.has_res = self.display.has_extension("X-Resource")
        self.has_idle = self.display.has_extension("MIT-SCREEN-SAVER")
        self.has_damage = self.display.has_extension("DAMAGE")
        if self.has_res:
            self.display.res_query_version()
        if self.has_damage:
            self.display.damage_query_version()
        self.root.change_attributes(event_mask=X.SubstructureNotifyMask | X.PropertyChangeMask)

    def take_over(self, concealed: Sequence[int]) -> None:
        """Redirect the desktop, and take `concealed` frames over from an agent that died, with nothing seen of it.

        What a dead agent had redirected lives on (its close-down mode says so) until it is ended here; all requests go
        out in one write, so that the server draws no frame in between.
        """
        self.root.composite_redirect_subwindows(composite.RedirectAutomatic)
        request.KillClient(display=self.display.display, resource=0)  # 0: all that dead clients left
        for frame in concealed:
            self.conceal(frame)
        self.display.set_close_down_mode(X.RetainTemporary)
        self.sync()

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return int(self.display.fileno())

    def events(self) -> Iterator[Any]:
        """All events that have arrived. Raises `NoDisplay` when the server is gone."""
        try:
            while self.display.pending_events():
                yield self.display.next_event()
            self.display.flush()
        except (error.ConnectionClosedError, OSError) as problem:
            raise NoDisplay(str(problem)) from None

    def sync(self) -> None:
        """Wait until the server has done all that was asked."""
        self.display.sync()

    def flush(self) -> None:
        """Send what is buffered."""
        self.display.flush()

    def atom(self, name: str) -> int:
        """The number of a name."""
        if name not in self._atoms:
            self._atoms[name] = self.display.intern_atom(name)
        return self._atoms[name]

    def window(self, window: int) -> Any:
        """python-xlib's object for a window."""
        return self.display.create_resource_object("window", window)

    # Properties

    def numbers(self, window: int, name: str) -> list[int]:
        """A property as numbers; empty when absent."""
        try:
            found = self.window(window).get_full_property(self.atom(name), X.AnyPropertyType)
        except error.XError:
            return []
        return [int(n) for n in found.value] if found is not None and found.format == 32 else []

    def text(self, window: int, name: str, *, delete: bool = False) -> str:
        """A property as text; "" when absent. With `delete` it is removed in the same step."""
        try:
            found = self.window(window).get_property(self.atom(name), X.AnyPropertyType, 0, 256, delete)
        except error.XError:
            return ""
        if found is None or found.format != 8:
            return ""
        value = found.value
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def set_text(self, window: int, name: str, value: str) -> None:
        """Write a text property."""
        self.window(window).change_property(self.atom(name), self.atom("UTF8_STRING"), 8, value.encode())

    def set_numbers(self, window: int, name: str, values: Sequence[int]) -> None:
        """Write a property of numbers."""
        self.window(window).change_property(self.atom(name), self.atom("CARDINAL"), 32, list(values))

    def delete(self, window: int, name: str) -> None:
        """Remove a property."""
        self.window(window).delete_property(self.atom(name))

    # What there is

    def clients(self) -> list[int]:
        """Windows that the window manager manages."""
        return self.numbers(self.root.id, "_NET_CLIENT_LIST")

    def stacking(self) -> list[int]:
        """The same, lowest first."""
        return self.numbers(self.root.id, "_NET_CLIENT_LIST_STACKING")

    def active(self) -> int:
        """The window that has the focus, or 0."""
        return next(iter(self.numbers(self.root.id, "_NET_ACTIVE_WINDOW")), 0)

    def top_level(self) -> list[int]:
        """Every child of the root window."""
        return [child.id for child in self.root.query_tree().children]

    def manager(self) -> int:
        """A window of the window manager's own (EWMH _NET_SUPPORTING_WM_CHECK), or 0."""
        if not self._manager:
            self._manager = next(iter(self.numbers(self.root.id, "_NET_SUPPORTING_WM_CHECK")), 0)
        return self._manager

    def same_client(self, one: int, other: int) -> bool:
        """Whether two windows were made over one connection: their numbers then share the upper bits."""
        mask = int(self.display.display.info.resource_id_mask)
        return one & ~mask == other & ~mask

    def frame_of(self, window: int) -> int:
        """The child of the root window that holds `window`; 0 when it is gone."""
        with contextlib.suppress(error.XError):
            for _ in range(16):
                parent = self.window(window).query_tree().parent
                if parent == 0 or parent.id == self.root.id:
                    return window
                window = parent.id
        return 0

    def pid_of(self, window: int) -> int:
        """The process whose connection made the window (X-Resource 1.2), else the one it claims; 0 when unknown."""
        if self.has_res:
            with contextlib.suppress(error.XError, IndexError, AttributeError):
                mask = res.LocalClientPIDMask
                found = self.display.res_query_client_ids([{"client": window, "mask": mask}]).ids
                if found and found[0].value and found[0].value[0] > 0:
                    return int(found[0].value[0])
        return next(iter(self.numbers(window, "_NET_WM_PID")), 0)

    def classes(self, window: int) -> tuple[str, str]:
        """WM_CLASS: instance and class, both in lower case."""
        parts = self.text(window, "WM_CLASS").lower().split("\0")
        return (parts[0], parts[1]) if len(parts) > 1 else ("", "")

    def is_normal(self, window: int) -> bool:
        """Whether it is a main window: neither splash screen, dialog, tool nor menu (EWMH 1.5)."""
        types = self.numbers(window, "_NET_WM_WINDOW_TYPE")
        if types:
            return self.atom("_NET_WM_WINDOW_TYPE_NORMAL") in types
        return not self.numbers(window, "WM_TRANSIENT_FOR")

    def geometry(self, window: int) -> tuple[int, int, int, int]:
        """Left and top edge on the root window, width and height; zeros when it is gone."""
        try:
            size = self.window(window).get_geometry()
            place = self.root.translate_coords(window, 0, 0)
        except error.XError:
            return (0, 0, 0, 0)
        return (int(place.x), int(place.y), int(size.width), int(size.height))

    def idle_s(self) -> float:
        """Seconds since the last key, click or move; 0 where the server cannot say."""
        if not self.has_idle:
            return 0.0
        return float(self.root.screensaver_query_info().idle) / 1000

    # What can be done

    def ask(self, window: int, message: str, *data: int) -> None:
        """Ask the window manager for something (EWMH client message to the root window)."""
        values = [value & 0xFFFFFFFF for value in data] + [0] * (5 - len(data))
        what = event.ClientMessage(window=window, client_type=self.atom(message), data=(32, values))
        self.root.send_event(what, event_mask=REDIRECT)

    def set_states(self, window: int, states: Sequence[str], *, on: bool) -> None:
        """Add or remove window states such as ``SKIP_TASKBAR``, two a message."""
        atoms = [self.atom(f"_NET_WM_STATE_{state}") for state in states]
        for start in range(0, len(atoms), 2):
            pair = [*atoms[start : start + 2], 0][:2]
            self.ask(window, "_NET_WM_STATE", int(on), *pair, 2)

    def activate(self, window: int) -> None:
        """Raise it and give it the focus."""
        self.ask(window, "_NET_ACTIVE_WINDOW", 2, X.CurrentTime, 0)

    def drop_focus(self) -> None:
        """Let no window have the focus."""
        self.display.set_input_focus(X.PointerRoot, X.RevertToPointerRoot, X.CurrentTime)

    def conceal(self, frame: int) -> None:
        """Stop drawing the frame, keep its picture, and let the pointer through. Twice does no harm."""
        window = self.window(frame)
        window.composite_redirect_window(composite.RedirectManual)
        window.shape_rectangles(shapes.SO.Set, shapes.SK.Input, X.Unsorted, 0, 0, [])

    def reveal(self, frame: int) -> None:
        """Draw the frame again, at once, and give it the pointer back."""
        window = self.window(frame)
        window.composite_unredirect_window(composite.RedirectManual)
        window.shape_mask(shapes.SO.Set, shapes.SK.Input, 0, 0, X.NONE)

    def map(self, window: int, x_px: int, y_px: int) -> None:
        """Show an unmapped window with its frame's corner at a place on the root window."""
        self.window(window).configure(x=x_px, y=y_px)
        self.window(window).map()

    def unmap(self, window: int) -> None:
        """Withdraw a window; its picture is lost."""
        self.window(window).unmap()

    def move(self, window: int, x_px: int, y_px: int) -> None:
        """Move a managed window's frame to a place on the root window."""
        self.ask(window, "_NET_MOVERESIZE_WINDOW", X.NorthWestGravity | 0x3 << 8 | 2 << 12, x_px, y_px)

    def watch_damage(self, frame: int) -> int:
        """Be told (once, until `more_damage`) when the frame is drawn into; 0 where the server cannot."""
        if not self.has_damage:
            return 0
        return int(self.window(frame).damage_create(damage.DamageReportNonEmpty))

    def more_damage(self, watch: int) -> None:
        """Be told again."""
        self.display.damage_subtract(watch)

    def end_damage(self, watch: int) -> None:
        """No longer be told."""
        self.display.damage_destroy(watch)

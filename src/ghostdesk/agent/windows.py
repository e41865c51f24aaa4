"""The windows of the desktop and whose they are: each is tied to the group of processes that made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ghostdesk.agent.screen import Screen
from ghostdesk.kernel.ids import AppId

HIDDEN_PROPERTY = "_GHOSTDESK_HIDDEN"
"""On a hidden window: 1 concealed, 2 unmapped; then its place on the screen. An agent that starts anew reads it."""
CONCEALED, UNMAPPED = 1, 2
_HIDDEN_STATES = ("SKIP_TASKBAR", "SKIP_PAGER", "BELOW")


@dataclass(slots=True)
class Window:
    """One top-level window.

    Args:
        window: its number.
        frame: the window manager's frame around it, or itself where there is none.
        owner: number of the group that made it; None for programs that were not started by the agent.
        app: the application that its class names, where the catalogue knows it.
        normal: a main window, not a splash screen, dialog, tool or menu.
        managed: the window manager knows it; menus and some splash screens are not.
        hidden: 0 shown, `CONCEALED` or `UNMAPPED`.
        damage: the watch on its drawing, or 0.
    """

    window: int
    frame: int
    owner: int | None = None
    app: AppId | None = None
    normal: bool = True
    managed: bool = True
    hidden: int = 0
    damage: int = 0
    place: tuple[int, int] = (0, 0)


class WindowEvents(Protocol):
    """Who wants to know."""

    def on_window(self, window: Window) -> None:
        """A window has come under management."""
        ...

    def on_gone(self, window: Window) -> None:
        """A window is no more."""
        ...

    def on_active(self, window: Window | None) -> None:
        """The focus moved."""
        ...

    def on_drawn(self, window: Window) -> None:
        """A watched window was drawn into."""
        ...

    def on_request(self, app: str) -> None:
        """The desktop's own menu asks for an application."""
        ...

    def hides(self, owner: int) -> bool:
        """Whether new windows of this group are to be hidden."""
        ...

    def expects_hidden(self) -> bool:
        """Whether any group that runs freely has its windows hidden: only then are new windows looked at early."""
        ...


class Windows:
    """Keeps the list of windows true to the X server's events."""

    def __init__(
        self,
        screen: Screen,
        events: WindowEvents,
        *,
        owner_of: Callable[[int], int | None],
        app_of_class: Callable[[str, str], AppId | None],
        launch_property: str,
    ) -> None:
        self._screen = screen
        self._events = events
        self._owner_of = owner_of
        self._app_of_class = app_of_class
        self._launch_property = launch_property
        self.all: dict[int, Window] = {}
        self._fresh: dict[int, int] = {}
        self._frames: dict[int, int] = {}
        self._guessed: set[int] = set()
        self._damage: dict[int, Window] = {}
        self.active: Window | None = None

    def of(self, owner: int) -> list[Window]:
        """The group's windows."""
        return [window for window in self.all.values() if window.owner == owner]

    def any_of(self, owner: int) -> bool:
        """Whether the group has a managed window, followed already or not."""
        return any(self._owner_of(self._screen.pid_of(number)) == owner for number in self._screen.clients())

    def take_over(self) -> None:
        """Find what an earlier agent hid, and keep it hidden."""
        hidden: list[Window] = []
        for number in self._screen.top_level() + self._screen.clients():
            mark = self._screen.numbers(number, HIDDEN_PROPERTY)
            if len(mark) == 3 and number not in self.all:
                managed = number in self._screen.clients() or mark[0] == UNMAPPED
                window = self._describe(number, managed=managed)
                window.hidden, window.place = mark[0], (mark[1], mark[2])
                self.all[number] = window
                hidden.append(window)
        self._screen.take_over([window.frame for window in hidden if window.hidden == CONCEALED])

    def follow(self) -> None:
        """Tell of the windows that are there, and from now on of those that come."""
        for window in list(self.all.values()):
            self._events.on_window(window)
        self._sync_clients()
        self._sync_active()

    def handle(self, event: Any) -> None:
        """Take in one event of the X server."""
        handler = getattr(self, f"_on_{type(event).__name__}", None)
        if handler is not None:
            handler(event)

    # Hiding

    def conceal(self, window: Window, *, unmap: bool = False) -> None:
        """Hide it: with its picture kept, or (`unmap`) without."""
        if window.hidden:
            return
        x_px, y_px, _, _ = self._screen.geometry(window.frame)
        window.place = (x_px, y_px)
        window.hidden = UNMAPPED if unmap else CONCEALED
        # The mark comes before the deed, so that an agent that dies in between leaves a window that can be found.
        self._screen.set_numbers(window.window, HIDDEN_PROPERTY, [window.hidden, *(max(0, n) for n in window.place)])
        if unmap:
            self._screen.unmap(window.window)
            window.frame = 0  # it gets a new one when it is mapped again, maybe with the same number
            return
        self._screen.conceal(window.frame)
        if window.managed:
            self._screen.set_states(window.window, _HIDDEN_STATES, on=True)

    def reveal(self, window: Window) -> None:
        """Show it: drawn by the server at once, whether or not the application runs."""
        if not window.hidden:
            return
        was, window.hidden = window.hidden, 0
        if was == UNMAPPED:
            self._screen.map(window.window, *window.place)
        else:
            self._screen.reveal(window.frame)
        self._screen.delete(window.window, HIDDEN_PROPERTY)
        if window.managed and was == CONCEALED:
            self._screen.set_states(window.window, _HIDDEN_STATES, on=False)

    def topmost(self, windows: list[Window]) -> Window | None:
        """The one of `windows` that is on top; a main window if stacking says nothing."""
        order = {number: index for index, number in enumerate(self._screen.stacking())}
        managed = [window for window in windows if window.managed]
        return max(managed, key=lambda w: (order.get(w.window, -1), w.normal), default=None)

    def watch_drawing(self, window: Window) -> None:
        """Report drawing into it through `on_drawn`, once until `watch_again`."""
        if not window.damage and (watch := self._screen.watch_damage(window.frame)):
            window.damage = watch
            self._damage[watch] = window

    def watch_again(self, window: Window) -> None:
        """Report the next drawing, too."""
        if window.damage:
            self._screen.more_damage(window.damage)

    def end_watch(self, window: Window) -> None:
        """No longer report drawing."""
        if window.damage:
            self._damage.pop(window.damage, None)
            self._screen.end_damage(window.damage)
            window.damage = 0

    # Events, named as python-xlib names them

    def _on_CreateNotify(self, event: Any) -> None:
        if not self._events.expects_hidden():
            return
        number = event.window.id
        if self._screen.same_client(number, self._screen.manager()):
            # A frame in the making, while windows that must stay hidden wait for theirs: it is mapped within a
            # millisecond, so hide first, and look at whose it is when it is known (`_on_ReparentNotify`).
            if self._fresh.keys() - self._frames.keys():
                self._screen.conceal(number)
                self._guessed.add(number)
                self._screen.flush()
            return
        owner = self._owner_of(self._screen.pid_of(number))
        if owner is None or not self._events.hides(owner):
            return
        self._fresh[number] = owner
        if event.override:
            # No window manager frames a menu or an unmanaged splash screen: it can be hidden before it is mapped.
            window = Window(number, number, owner, normal=False, managed=False)
            self.all[number] = window
            self.conceal(window)
        else:
            # Not to be given the focus when it is mapped (EWMH 1.5, _NET_WM_USER_TIME).
            self._screen.set_numbers(number, "_NET_WM_USER_TIME", [0])
        self._screen.flush()

    def _on_ReparentNotify(self, event: Any) -> None:
        if event.parent.id == self._screen.root.id:
            self._frames.pop(event.window.id, None)
            return
        frame = self._frames[event.window.id] = event.parent.id
        owner = self._fresh.get(event.window.id)
        guessed = frame in self._guessed
        self._guessed.discard(frame)
        if owner is not None and self._events.hides(owner):
            self._screen.conceal(frame)
        elif guessed:
            self._screen.reveal(frame)
        self._screen.flush()

    def _on_DestroyNotify(self, event: Any) -> None:
        self._fresh.pop(event.window.id, None)
        self._guessed.discard(event.window.id)
        self._frames.pop(event.window.id, None)
        self._forget(event.window.id)

    def _on_PropertyNotify(self, event: Any) -> None:
        if event.window.id != self._screen.root.id:
            return
        if event.atom == self._screen.atom("_NET_CLIENT_LIST"):
            self._sync_clients()
        elif event.atom == self._screen.atom("_NET_ACTIVE_WINDOW"):
            self._sync_active()
        elif event.atom == self._screen.atom(self._launch_property) and event.state == 0:
            app = self._screen.text(self._screen.root.id, self._launch_property, delete=True)
            if app:
                self._events.on_request(app)

    def _on_DamageNotify(self, event: Any) -> None:
        if window := self._damage.get(event.damage):
            self._events.on_drawn(window)

    # Keeping the list

    def _sync_clients(self) -> None:
        present = self._screen.clients()
        for number in present:
            known = self.all.get(number)
            if known is None:
                known = self.all[number] = self._describe(number, managed=True)
                self._events.on_window(known)
            elif known.hidden == 0 and known.frame != self._frames.get(number, known.frame):
                self._returned(known)
        for number in set(self.all) - set(present):
            window = self.all[number]
            if window.managed and window.hidden != UNMAPPED:
                self._forget(number)
        self._screen.flush()

    def _returned(self, window: Window) -> None:
        """A window that was unmapped is managed again, in a new frame: put it where it was."""
        window.frame = self._frames[window.window]
        self._screen.move(window.window, *window.place)
        self._events.on_window(window)

    def _describe(self, number: int, *, managed: bool) -> Window:
        owner = self._fresh.pop(number, None)
        if owner is None:
            owner = self._owner_of(self._screen.pid_of(number))
        return Window(
            window=number,
            frame=self._frames.get(number) or self._screen.frame_of(number) or number,
            owner=owner,
            app=self._app_of_class(*self._screen.classes(number)),
            normal=self._screen.is_normal(number),
            managed=managed,
        )

    def _forget(self, number: int) -> None:
        window = self.all.pop(number, None)
        if window is None:
            return
        self._damage.pop(window.damage, None)
        if self.active is window:
            self.active = None
            self._events.on_active(None)
        self._events.on_gone(window)

    def _sync_active(self) -> None:
        self.active = self.all.get(self._screen.active())
        self._events.on_active(self.active)

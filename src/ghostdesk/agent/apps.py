"""The applications of this desktop: started, hidden, frozen, thawed and shown."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ghostdesk.agent import catalogue, processes
from ghostdesk.agent.freezer import Freezer
from ghostdesk.agent.launching import AgentFault, Run
from ghostdesk.agent.loop import Loop, Timer
from ghostdesk.agent.runs import Runs
from ghostdesk.agent.screen import Screen
from ghostdesk.agent.settling import LOOK_EVERY_S, Settling
from ghostdesk.agent.usage import Usage
from ghostdesk.agent.windows import UNMAPPED, Window, Windows
from ghostdesk.kernel.ids import AppId, app_id

Result = dict[str, Any]
Done = Callable[[Result | AgentFault], None]
LAUNCH_LIMIT_S, HIDDEN_LIMIT_S = 30.0, 120.0
"""Nobody waits for a hidden launch, and on a busy host it takes its time: ghosts run where nobody else wants to."""
RAISE_LIMIT_S = 0.02
"""How long to let the window manager raise a window before its application may run and compete for the processor."""
CLOSE_LIMIT_S = 3.0


@dataclass(slots=True, eq=False)
class Waiter:
    """A call that is answered later."""

    done: Done
    app: AppId
    path: str
    since_s: float
    timer: Timer | None = None

    def answer(self, path: str | None = None) -> None:
        """Say how it went."""
        if self.timer is not None:
            self.timer.cancel()
        self.done({"path": path or self.path, "duration_s": round(time.monotonic() - self.since_s, 6)})


class Applications:
    """Holds every running application. All methods return at once; answers go to `done`."""

    def __init__(self, loop: Loop, screen: Screen, freezer: Freezer, usage: Usage, launch_property: str) -> None:
        self._loop = loop
        self._screen = screen
        self._usage = usage
        self._known: dict[AppId, catalogue.App] | None = None
        self._classes: dict[str, AppId] = {}
        self._runs = Runs(loop, freezer, self._on_end)
        self._waiters: list[Waiter] = []
        self._settling: dict[int, Settling] = {}
        self._last_shown: Window | None = None
        self.windows = Windows(
            screen,
            self,
            owner_of=freezer.number_of,
            app_of_class=self.app_of_class,
            launch_property=launch_property,
        )

    def recover(self) -> None:
        """Find what runs already: an agent before this one may have died."""
        self._runs.recover()
        self.windows.take_over()
        for run in self._runs.all.values():
            windows = self.windows.of(run.number)
            # One that was started hidden and has no window yet stays hidden; otherwise its windows say what it is.
            run.hidden = any(window.hidden for window in windows) or (
                run.hidden and not self.windows.any_of(run.number)
            )
        self.windows.follow()
        for run in self._runs.all.values():
            if run.frozen and not run.hidden:
                self._runs.thaw(run)  # it died between showing and thawing

    # The catalogue

    def reload_catalogue(self) -> None:
        """Read it again when it is next needed: a home was attached."""
        self._known = None

    def known(self) -> Mapping[AppId, catalogue.App]:
        """What can be started."""
        if self._known is None:
            self._known = catalogue.read_all(os.environ)
            self._classes = catalogue.class_index(self._known.values())
        return self._known

    def app_of_class(self, instance: str, window_class: str) -> AppId | None:
        """The application whose windows have this class."""
        self.known()
        for name in (instance, window_class):
            if name and (found := self._classes.get(catalogue.class_key(name))):
                return found
        return None

    def app_of_pid(self, pid: int) -> AppId | None:
        """The application that a process belongs to."""
        run = self._runs.of_pid(pid)
        return run.app if run is not None else None

    # What can be asked

    def launch(self, app: str, *, hidden: bool, files: Iterable[str], done: Done) -> None:
        """Start an application. One that runs is never started twice: it is shown, and told to open `files`."""
        run = self._running(app)
        if not hidden:
            self.show(app, done=done, files=list(files))
        elif run is None:
            run = self._runs.start(self._entry(app), hidden=True, files=files)
            self._wait(Waiter(done, run.app, "hidden", time.monotonic()))
        elif run.hidden and not run.frozen:
            self._wait(Waiter(done, run.app, "hidden", time.monotonic()))
        else:
            done({"path": "hidden" if run.hidden else "shown", "duration_s": 0.0})

    def show(self, app: str, *, done: Done, files: list[str] | None = None, thaw: bool = True) -> None:
        """The fast path. `thaw` false leaves it frozen behind its picture: for measuring only."""
        since_s = time.monotonic()
        run = self._running(app)
        if run is None and not files and (window := self._foreign_window(app)):
            self._screen.activate(window.window)
            self._screen.flush()
            done({"path": "raised", "duration_s": round(time.monotonic() - since_s, 6)})
            return
        if run is None:
            self._cold(app, files or [], done, since_s)
            return
        windows = self.windows.of(run.number)
        was_hidden = run.hidden
        run.hidden = False
        if was_hidden or windows:
            self._reveal(run, windows, thaw=thaw)
        else:
            self._runs.thaw(run)
        if files:
            self._runs.again(run, self._entry(app), files)
        waiter = Waiter(done, run.app, "shown" if was_hidden else "raised", since_s)
        if any(window.normal for window in windows):
            self._usage.launched(run.app, waiter.path, time.monotonic() - since_s)
            waiter.answer()
        else:
            waiter.path = "shown" if was_hidden else "cold"
            self._wait(waiter)
        for other in [w for w in self._waiters if w.path == "hidden" and w.app == run.app]:
            self._waiters.remove(other)
            other.answer("shown")

    def hide(self, app: str, *, freeze: bool, unmap: bool) -> None:
        """Take its windows off the screen, and stop it."""
        run = self._required(app)
        run.hidden, run.unmap = True, unmap
        windows = self.windows.of(run.number)
        had_focus = self.windows.active in windows
        for window in windows:
            self.windows.conceal(window, unmap=unmap)
        if had_focus:
            self._focus_another()
        self._screen.sync()
        self._settling.pop(run.number, None)
        if freeze:
            self.freeze(app)

    def freeze(self, app: str) -> None:
        """Stop its processes."""
        self._runs.freeze(self._required(app))

    def thaw(self, app: str) -> None:
        """Let its processes on."""
        self._runs.thaw(self._required(app))

    def close(self, app: str) -> None:
        """Ask its windows to close; end its processes if they are still there after some seconds."""
        run = self._required(app)
        self._runs.thaw(run)
        for window in self.windows.of(run.number):
            self._screen.ask(window.window, "_NET_CLOSE_WINDOW", 0, 2)
        self._screen.flush()
        self._loop.later(CLOSE_LIMIT_S, lambda: self._runs.signal(run, signal.SIGTERM))
        self._loop.later(CLOSE_LIMIT_S * 2, lambda: self._runs.signal(run, signal.SIGKILL))

    def listing(self) -> list[dict[str, Any]]:
        """Every application that runs, with its state and processes."""
        found = [
            {
                "app": run.app,
                "state": "frozen" if run.frozen else "hidden" if run.hidden else "shown",
                "pids": run.group.pids(),
            }
            for run in self._runs.all.values()
        ]
        foreign = {w.app for w in self.windows.all.values() if w.owner is None and w.app is not None}
        return found + [{"app": app, "state": "shown", "pids": []} for app in sorted(foreign)]

    # What windows tell (WindowEvents)

    def on_window(self, window: Window) -> None:
        """A window has come: keep it hidden, or let somebody who waited for it know."""
        run = self._runs.all.get(window.owner) if window.owner is not None else None
        wanted = {w.app for w in self._waiters if w.path != "hidden"}
        if run is not None:
            run.had_window = True
            if run.hidden and not (window.app in wanted and window.app != run.app):
                self._keep_hidden(run, window)
                return
        elif window.app is not None and window.app not in wanted:
            self._usage.foreign_window(window.app)
        self.windows.reveal(window)
        if window.normal:
            apps = {window.app, run.app if run is not None else None}
            for waiter in [w for w in self._waiters if w.path != "hidden" and w.app in apps]:
                self._waiters.remove(waiter)
                self._screen.activate(window.window)
                self._usage.launched(waiter.app, waiter.path, time.monotonic() - waiter.since_s)
                waiter.answer()

    def on_gone(self, window: Window) -> None:
        """A window is no more."""
        if window.owner is None and window.app is not None:
            others = [w for w in self.windows.all.values() if w.app == window.app and w.owner is None]
            if not others:
                self._usage.foreign_exit(window.app)

    def on_active(self, window: Window | None) -> None:
        """The focus moved; a hidden window must not have it."""
        if window is not None and window.hidden:
            self._focus_another()
            return
        self._last_shown = window
        if window is None:
            self._usage.focused(None)
        else:
            owner = self._runs.all.get(window.owner) if window.owner is not None else None
            self._usage.focused(window.app or (owner.app if owner else None))

    def on_drawn(self, window: Window) -> None:
        """A hidden application is still drawing."""
        if window.owner in self._settling:
            self._settling[window.owner].drawn_s = time.monotonic()

    def on_request(self, app: str) -> None:
        """The desktop's menu was used."""
        try:
            self.show(app, done=lambda _: None)
        except AgentFault as fault:
            self._usage.trouble(str(fault))

    def hides(self, owner: int) -> bool:
        """Whether new windows of this group are to be hidden."""
        run = self._runs.all.get(owner)
        return run is not None and run.hidden

    def expects_hidden(self) -> bool:
        """Whether any application runs hidden and not frozen."""
        return any(run.hidden and not run.frozen for run in self._runs.all.values())

    # Steps

    def _entry(self, app: str) -> catalogue.App:
        try:
            return self.known()[app_id(app)]
        except (KeyError, ValueError):
            raise AgentFault("unknown-app", f"There is no application {app[:128]!r} on this desktop") from None

    def _running(self, app: str) -> Run | None:
        return self._runs.find(self._entry(app).app)

    def _required(self, app: str) -> Run:
        run = self._running(app)
        if run is None:
            raise AgentFault("not-running", f"{app} does not run on this desktop")
        return run

    def _foreign_window(self, app: str) -> Window | None:
        entry = self._entry(app)
        mine = [w for w in self.windows.all.values() if w.app == entry.app and not w.hidden and w.normal]
        # A window of a run that has just died is still there until the server says that it is gone.
        return self.windows.topmost([w for w in mine if w.owner is None or w.owner in self._runs.all])

    def _cold(self, app: str, files: list[str], done: Done, since_s: float) -> None:
        run = self._runs.start(self._entry(app), hidden=False, files=files)
        self._wait(Waiter(done, run.app, "cold", since_s))

    def _wait(self, waiter: Waiter) -> None:
        limit_s = HIDDEN_LIMIT_S if waiter.path == "hidden" else LAUNCH_LIMIT_S

        def give_up() -> None:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                waiter.done(AgentFault("no-window", f"{waiter.app} showed no window within {limit_s:.0f} s"))

        waiter.timer = self._loop.later(limit_s, give_up)
        self._waiters.append(waiter)

    def _reveal(self, run: Run, windows: list[Window], *, thaw: bool) -> None:
        unmapped = any(window.hidden == UNMAPPED for window in windows)
        self._settling.pop(run.number, None)
        for window in windows:
            self.windows.end_watch(window)
            self.windows.reveal(window)
        top = self.windows.topmost(windows)
        if top is not None:
            self._screen.activate(top.window)
        self._screen.sync()  # from here on the picture is on the screen
        if thaw and run.frozen:
            if unmapped:
                self._runs.thaw(run)
            else:
                self._runs.thaw_soon(run, RAISE_LIMIT_S)

    def _keep_hidden(self, run: Run, window: Window) -> None:
        if not window.hidden:
            self.windows.conceal(window)
            self._screen.flush()
        if run.frozen:
            return
        self.windows.watch_drawing(window)
        if window.normal and run.number not in self._settling:
            now_s = time.monotonic()
            self._settling[run.number] = Settling(now_s, now_s, processes.cpu_ticks(run.group.pids()), now_s)
            self._loop.later(LOOK_EVERY_S, lambda: self._look(run))

    def _look(self, run: Run) -> None:
        settling = self._settling.get(run.number)
        if settling is None or run.number not in self._runs.all:
            return
        windows = self.windows.of(run.number)
        ticks = processes.cpu_ticks(run.group.pids())
        if any(w.normal for w in windows) and settling.look(time.monotonic(), ticks, processes.TICKS_PER_S):
            self._settled(run, windows)
            return
        for window in windows:
            self.windows.watch_again(window)
        self._screen.flush()
        self._loop.later(LOOK_EVERY_S, lambda: self._look(run))

    def _settled(self, run: Run, windows: list[Window]) -> None:
        del self._settling[run.number]
        for window in windows:
            self.windows.end_watch(window)
        self._screen.flush()
        with contextlib.suppress(AgentFault):  # hidden all the same, only not at rest
            self._runs.freeze(run)
        for waiter in [w for w in self._waiters if w.path == "hidden" and w.app == run.app]:
            self._waiters.remove(waiter)
            waiter.answer()

    def _focus_another(self) -> None:
        last = self._last_shown
        if last is None or last.hidden or last.window not in self.windows.all:
            last = self.windows.topmost([w for w in self.windows.all.values() if not w.hidden and w.normal])
        if last is not None:
            self._screen.activate(last.window)
        else:
            self._screen.drop_focus()
        self._screen.flush()

    # Ends

    def _on_end(self, run: Run) -> None:
        self._settling.pop(run.number, None)
        # A first process that ends well may have handed over to another one, whose window will come.
        failed = run.process is not None and run.process.returncode not in (0, None)
        for waiter in [w for w in self._waiters if w.app == run.app and (failed or w.path == "hidden")]:
            self._waiters.remove(waiter)
            waiter.done(AgentFault("exited", f"{run.app} ended before it showed a window"))
        if run.had_window:
            self._usage.exited(run.app)

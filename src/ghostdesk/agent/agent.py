"""The agent as a whole: what it is told, who does it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ghostdesk.agent import catalogue, wire
from ghostdesk.agent.apps import Applications, Done, Result
from ghostdesk.agent.freezer import Freezer
from ghostdesk.agent.launching import LAUNCH_PROPERTY, AgentFault
from ghostdesk.agent.link import Link
from ghostdesk.agent.loop import Loop
from ghostdesk.agent.merging import end_merging
from ghostdesk.agent.reporting import Reporter
from ghostdesk.agent.screen import NoDisplay, Screen
from ghostdesk.agent.usage import Usage

if TYPE_CHECKING:
    from ghostdesk.agent.samples import Samples

MAX_PREFETCH_FILES = 256


@dataclass(frozen=True, slots=True)
class Place:
    """Where this agent is.

    Args:
        ghost: the desktop's id.
        socket: path of the control plane's socket.
        token_file: the file that holds the credential.
        cgroup: the ghost's own cgroup; None where there is none.
        cgroup_kind: "v2", "v1" or "none".
        home: the user's home.
        video_folder: where camera devices are.
        ghost_file: where the desktop's id is read from, in desktops that are clones of one that had another.
        ahead: applications to launch hidden at once, before anybody asks.
        settled_file: made once those have painted.
    """

    ghost: str
    socket: str
    token_file: str
    cgroup: Path | None
    cgroup_kind: str
    home: str
    video_folder: str = "/dev"
    ghost_file: str = ""
    ahead: tuple[str, ...] = ()
    settled_file: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """Read from the environment that the engine sets. Raises `KeyError` naming a variable that is missing."""
        cgroup = environment.get("GHOSTDESK_CGROUP", "")
        return cls(
            ghost=environment["GHOSTDESK_GHOST"],
            socket=environment["GHOSTDESK_AGENT_SOCKET"],
            token_file=environment["GHOSTDESK_TOKEN_FILE"],
            cgroup=Path(cgroup) if cgroup else None,
            cgroup_kind=environment.get("GHOSTDESK_CGROUP_KIND", "none"),
            home=environment.get("HOME", "/"),
            video_folder=environment.get("GHOSTDESK_VIDEO_FOLDER", "/dev"),
            ghost_file=environment.get("GHOSTDESK_GHOST_FILE", ""),
            ahead=tuple(environment.get("GHOSTDESK_LAUNCH_AHEAD", "").split()),
            settled_file=environment.get("GHOSTDESK_SETTLED_FILE", ""),
        )


class Collector(Protocol):
    """Something that looks while its source is switched on."""

    def start(self) -> None:
        """Begin; twice does no harm."""
        ...

    def stop(self) -> None:
        """Look no more."""
        ...


class Agent:
    """Ties the parts together. `run` returns when the X server is gone."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._loop = Loop()
        self._screen = Screen()
        self._link = Link(self._loop, place.socket, self._hello, self._call)
        self._reporter = Reporter(self._link.event)
        self._freezer = freezer = Freezer(place.cgroup_kind, place.cgroup, place.socket)
        self._usage = Usage(self._loop, self._reporter, self._screen.idle_s)
        self._apps = Applications(self._loop, self._screen, freezer, self._usage, LAUNCH_PROPERTY)
        self._samples: Samples | None = None
        self._collectors: dict[str, Collector] = {}
        self._sample_every_s = 30.0

    def run(self) -> None:
        """Serve until the X server is gone."""
        self._apps.recover()
        self._loop.watch(self._screen, self._events)
        self._loop.before_wait(self._events)  # Xlib reads ahead: what lies in its queue wakes no selector
        self._link.connect()
        if self._place.settled_file:
            self._loop.later(0.0, self._launch_ahead)
        self._loop.run()
        self._link.close()

    def _events(self) -> None:
        try:
            for event in self._screen.events():
                self._apps.windows.handle(event)
        except NoDisplay:
            self._loop.stop()

    def _hello(self) -> wire.Message:
        token = Path(self._place.token_file).read_text().strip()
        ghost = Path(self._place.ghost_file).read_text().strip() if self._place.ghost_file else self._place.ghost
        return {"type": "hello", "version": wire.VERSION, "ghost": ghost, "token": token}

    def _launch_ahead(self) -> None:
        """For a desktop that is about to be imaged: have its clones find these applications launched."""
        waiting = set(self._place.ahead)

        def done(app: str) -> Done:
            def answered(_: Result | AgentFault) -> None:
                waiting.discard(app)
                if not waiting:
                    Path(self._place.settled_file).touch()

            return answered

        if not waiting:
            Path(self._place.settled_file).touch()
        for app in self._place.ahead:
            try:
                self._apps.launch(app, hidden=True, files=(), done=done(app))
            except AgentFault as fault:
                done(app)(fault)

    def _call(self, message: wire.Message) -> None:
        number, method, params = message.get("id"), message.get("method"), message.get("params", {})

        def done(result: Result | AgentFault) -> None:
            if isinstance(result, AgentFault):
                self._link.refuse(number, result.code, str(result))
            else:
                self._link.reply(number, result)

        handler = getattr(self, f"_do_{method}", None) if isinstance(method, str) and method.isalpha() else None
        if handler is None:
            done(AgentFault("unknown-method", f"There is no method {str(method)[:64]!r}"))
            return
        try:
            handler(params if isinstance(params, dict) else {}, done)
        except AgentFault as fault:
            done(fault)
        except (KeyError, TypeError, ValueError) as problem:
            done(AgentFault("bad-params", f"{method}: {problem}"))
        except OSError as problem:
            done(AgentFault("failed", f"{method}: {problem}"))

    # Methods, as agent/wire.py lists them

    def _do_ping(self, _: Result, done: Done) -> None:
        done({})

    def _do_catalogue(self, _: Result, done: Done) -> None:
        done({"apps": [self._described(app) for app in self._apps.known().values()]})

    def _do_launch(self, params: Result, done: Done) -> None:
        self._apps.launch(text(params, "app"), hidden=flag(params, "hidden"), files=texts(params, "files"), done=done)

    def _do_show(self, params: Result, done: Done) -> None:
        self._apps.show(text(params, "app"), done=done, thaw=flag(params, "thaw", True))

    def _do_hide(self, params: Result, done: Done) -> None:
        timed(
            done,
            lambda: self._apps.hide(
                text(params, "app"), freeze=flag(params, "freeze", True), unmap=flag(params, "unmap")
            ),
        )

    def _do_freeze(self, params: Result, done: Done) -> None:
        timed(done, lambda: self._apps.freeze(text(params, "app")))

    def _do_thaw(self, params: Result, done: Done) -> None:
        timed(done, lambda: self._apps.thaw(text(params, "app")))

    def _do_close(self, params: Result, done: Done) -> None:
        self._apps.close(text(params, "app"))
        done({})

    def _do_list(self, _: Result, done: Done) -> None:
        done({"apps": self._apps.listing()})

    def _do_sources(self, params: Result, done: Done) -> None:
        self._reporter.set_sources(texts(params, "enabled"))
        every_s = params.get("sample_every_s")
        if isinstance(every_s, int | float) and 0.2 <= every_s <= 86_400:
            self._sample_every_s = float(every_s)
        self._switch()
        done({})

    def _do_bound(self, params: Result, done: Done) -> None:
        first = not self._reporter.bound
        self._reporter.bound = True
        end_merging()
        self._apps.reload_catalogue()
        prefetch(self._place.home, texts(params, "files"))
        if first:
            self._usage.start()
        self._switch()
        done({})

    def _do_sample(self, _: Result, done: Done) -> None:
        if self._samples is not None:
            self._samples.sample()
        done({})

    def _do_notify(self, params: Result, done: Done) -> None:
        notify(text(params, "text")[:500])
        done({})

    def _switch(self) -> None:
        """Let exactly the collectors run whose source is switched on: a source that is off does not even look."""
        if self._reporter.bound and not self._collectors:
            self._make_collectors()
        if self._samples is not None:
            self._samples.every_s = self._sample_every_s
        for source, collector in self._collectors.items():
            if self._reporter.wants(source):
                collector.start()
            else:
                collector.stop()

    def _make_collectors(self) -> None:
        """Only now: a generic desktop in waiting needs none of their memory."""
        from ghostdesk.agent.devices import Camera, Microphone
        from ghostdesk.agent.filetypes import FileTypes
        from ghostdesk.agent.samples import Samples

        self._samples = Samples(self._loop, self._reporter, self._freezer)
        app_of_pid = self._apps.app_of_pid
        self._collectors = {
            "resources": self._samples,
            "files": FileTypes(self._loop, self._reporter, self._place.home),
            "microphone": Microphone(self._loop, self._reporter, app_of_pid),
            "camera": Camera(self._loop, self._reporter, app_of_pid, self._place.video_folder),
        }

    def _described(self, app: catalogue.App) -> Result:
        return {
            "id": app.app,
            "name": app.name,
            "categories": list(app.categories),
            "icon": catalogue.icon_data_url(app.icon, os.environ),
            "mime_types": list(app.mime_types),
        }


def text(params: Result, name: str) -> str:
    """A parameter that must be text; raises `AgentFault`."""
    value = params.get(name)
    if not isinstance(value, str):
        raise AgentFault("bad-params", f"{name!r} must be text")
    return value


def texts(params: Result, name: str) -> list[str]:
    """A parameter that is a list of texts, or absent; raises `AgentFault`."""
    value = params.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise AgentFault("bad-params", f"{name!r} must be a list of texts")
    return value


def flag(params: Result, name: str, default: bool = False) -> bool:
    """A parameter that is true, false or absent; raises `AgentFault`."""
    value = params.get(name, default)
    if not isinstance(value, bool):
        raise AgentFault("bad-params", f"{name!r} must be true or false")
    return value


def timed(done: Done, work: Any) -> None:
    """Do it and answer with how long it took, in seconds."""
    import time

    since_s = time.monotonic()
    work()
    done({"duration_s": round(time.monotonic() - since_s, 6)})


def prefetch(home: str, files: list[str]) -> None:
    """Ask the kernel to read files of the home that are likely to be wanted; it does so in the background."""
    for name in files[:MAX_PREFETCH_FILES]:
        path = Path(home, name).resolve()
        if not path.is_relative_to(Path(home).resolve()):
            continue
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(fd)


def notify(message: str) -> None:
    """Show a short message for some seconds, with whatever this desktop has for it."""
    import shutil
    import subprocess

    choices = (
        ["notify-send", "--expire-time=5000", "--", "ghostdesk", message],
        ["xmessage", "-timeout", "5", message],
    )
    for command in choices:
        if shutil.which(command[0]):
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return
    raise AgentFault("no-notifier", "This desktop has no program that shows messages")

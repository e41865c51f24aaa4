"""Reads with a time limit, of things that can hang: drivers, management controllers, other machines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Hung(Exception):
    """The read took longer than it may; the text is for people."""


class TimedReader(Generic[_T]):
    """Does one kind of read in a thread of its own, so that one that hangs stops nobody.

    While a read hangs no other is begun: a stuck driver costs one thread, not one a minute. The thread is a daemon:
    it does not keep the program from ending.

    Args:
        name: of what is read, for people.
        timeout_s: how long a read may take.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._running: threading.Thread | None = None

    def read(self, work: Callable[[], _T]) -> _T:
        """What `work` returns or raises; raises `Hung` after the time limit, and while an earlier read still hangs."""
        answer: list[_T] = []
        error: list[BaseException] = []

        def run() -> None:
            try:
                answer.append(work())
            except BaseException as raised:
                error.append(raised)

        with self._lock:
            if self._running is not None and self._running.is_alive():
                raise Hung(f"{self._name} still hangs from an earlier read")
            thread = threading.Thread(target=run, name=f"read {self._name}", daemon=True)
            self._running = thread
            thread.start()
        thread.join(self._timeout_s)
        if error:
            raise error[0]
        if not answer:
            raise Hung(f"{self._name} did not answer within {self._timeout_s:g} s")
        return answer[0]

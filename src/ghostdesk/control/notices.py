"""What users' pages are told while they are open."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

from ghostdesk.control.service import Notice
from ghostdesk.kernel.ids import UserId

_MOST_WAITING = 32


class NoticeBoard:
    """One queue for each open page; a page that does not read loses its oldest notices, not the server's memory."""

    def __init__(self) -> None:
        self._queues: defaultdict[UserId, set[asyncio.Queue[Notice]]] = defaultdict(set)

    def post(self, user: UserId, notice: Notice) -> None:
        """Tell every open page of this user."""
        for queue in self._queues.get(user, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(notice)

    def forget(self, user: UserId) -> None:
        """Take back what waits for this user's pages: it may tell of what they deleted."""
        for queue in self._queues.get(user, ()):
            while not queue.empty():
                queue.get_nowait()

    def present(self, user: UserId) -> bool:
        """Whether a page of this user is open."""
        return bool(self._queues.get(user))

    async def follow(self, user: UserId) -> AsyncIterator[Notice]:
        """Notices from now on, until the caller stops."""
        queue: asyncio.Queue[Notice] = asyncio.Queue(_MOST_WAITING)
        self._queues[user].add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues[user].discard(queue)
            if not self._queues[user]:
                del self._queues[user]

"""Markov chains with back-off: what followed the last one or two applications, and where that is unknown, fewer.

Back-off after Katz (1987): an application that was seen after the longest context has its share there; what that
context leaves open (escape method C, Moffat 1990) goes to the others, in proportion to the next shorter context.
"""

from __future__ import annotations

from collections import deque

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.next_app.expert import Shares
from ghostdesk.profiles.next_app.tally import MOST_APPS, Tally
from ghostdesk.profiles.situation import UNKNOWN, Situation

_CONTEXTS = 4096
_FOLLOWERS = 128


class Markov:
    """A `NextAppExpert` of a given order.

    Args:
        order: how many applications it looks back at; 0 counts how often each came.
        contexts: how many contexts are kept at most; beyond it the less seen half is forgotten.
    """

    __slots__ = ("_after", "_before", "_contexts", "_order", "_overall")

    def __init__(self, order: int = 1, contexts: int = _CONTEXTS) -> None:
        if order < 0:
            raise ValueError("the order of a Markov chain is 0 or more")
        self._order = order
        self._contexts = contexts
        self._overall = Tally(MOST_APPS)
        self._after: dict[tuple[AppId, ...], Tally] = {}
        self._before: deque[AppId] = deque(maxlen=order)

    def shares(self, situation: Situation = UNKNOWN) -> Shares:  # noqa: ARG002 - the seam's signature
        """See `NextAppExpert.shares`."""
        found = self._overall.shares()
        before = tuple(self._before)
        for length in range(1, len(before) + 1):
            tally = self._after.get(before[-length:])
            if tally is None:
                break
            found = _backed_off(tally, found)
        return found

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:  # noqa: ARG002
        """See `NextAppExpert.learn`."""
        before = tuple(self._before)
        self._overall.add(app)
        for length in range(1, len(before) + 1):
            context = before[-length:]
            tally = self._after.get(context)
            if tally is None:
                tally = self._after[context] = Tally(_FOLLOWERS)
            tally.add(app)
        self._before.append(app)
        if len(self._after) > self._contexts:
            self._forget()

    def _forget(self) -> None:
        ranked = sorted(self._after, key=lambda context: (self._after[context].total, -len(context)), reverse=True)
        for context in ranked[self._contexts // 2 :]:
            del self._after[context]


def _backed_off(tally: Tally, shorter: Shares) -> Shares:
    counts, escape = tally.counts, tally.escape()
    whole = tally.total + len(counts)
    seen = sum(shorter.get(app, 0.0) for app in counts)
    scale = escape / max(1.0 - seen, 1e-9)
    found = {app: count / whole for app, count in counts.items()}
    for app, share in shorter.items():
        if app not in counts:
            found[app] = share * scale
    return found

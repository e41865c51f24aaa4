"""The hand-over: which event makes a matched ghost the user's desktop. Pure; the steps are in `ghosts.lifecycle`."""

from __future__ import annotations

from ghostdesk.ghosts.events import BindRequested, ClaimRequested
from ghostdesk.kernel.errors import Conflict
from ghostdesk.kernel.ids import UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.transition.match import Match


class SeamlessTransition:
    """Turns a matched ghost into the user's desktop."""

    def activate_instance(self, found: Match, user: UserId, limits: Resources) -> ClaimRequested:
        """The claim that lifts the ghost's limits, thaws it and attaches what is missing, in this order.

        Raises:
            Conflict: the ghost belongs to somebody else.
        """
        _rightful(found, user)
        return ClaimRequested(user, limits, found.why)

    def prepare_instance(self, found: Match, user: UserId) -> BindRequested:
        """The user is at the door: bind a generic ghost to them, so that their browser can connect to it, hidden.

        Raises:
            Conflict: the ghost belongs to somebody else.
        """
        _rightful(found, user)
        return BindRequested(user, "prepared when you came to this page")


def _rightful(found: Match, user: UserId) -> None:
    if found.ghost is None or found.ghost.owner not in (None, user):
        raise Conflict("The desktop found belongs to somebody else.", "Open the desktop again.")

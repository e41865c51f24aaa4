"""What can be wrong with a calendar."""

from __future__ import annotations

from ghostdesk.kernel.errors import GhostdeskError


class CalendarError(GhostdeskError):
    """A calendar cannot be read at all (single bad entries are counted, not raised)."""

    code = "calendar"


class CalendarRefused(CalendarError):
    """The address is one that ghostdesk must not, or need not, turn to; trying again changes nothing."""

    code = "calendar-refused"


class CalendarSignInFailed(CalendarError):
    """The server did not take the user name and password."""

    code = "calendar-sign-in"

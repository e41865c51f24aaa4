"""What may be recorded of whom, in memory: asked for every event, so it never waits for the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ghostdesk.kernel.ids import UserId
from ghostdesk.store.personal import Deletion
from ghostdesk.telemetry.consent import Consent, allowed_sources
from ghostdesk.telemetry.events import SOURCE_OF, TelemetrySource, UsageEvent

_NEVER_S = float("-inf")


class ConsentBook:
    """The choices of all people, over what the operator allows, and when they last deleted something.

    Args:
        operator: sources that the operator allows; what is not among them is off for everybody.
    """

    def __init__(self, operator: Collection[TelemetrySource]) -> None:
        self.operator = frozenset(operator)
        self.known = True
        """False while the choices could not be read: then nothing is recorded that anybody could have refused."""
        self._choices: dict[UserId, dict[TelemetrySource, bool]] = {}
        self._deleted: dict[tuple[UserId, TelemetrySource | None], float] = {}

    def put(self, consents: Iterable[Consent]) -> frozenset[UserId]:
        """Take choices over; returns whose changed."""
        changed = set()
        for consent in consents:
            choices = self._choices.setdefault(consent.user, {})
            if choices.get(consent.source) != consent.allowed:
                choices[consent.source] = consent.allowed
                changed.add(consent.user)
        return frozenset(changed)

    def put_deletions(self, deletions: Iterable[Deletion]) -> list[Deletion]:
        """Take deletions over; returns those that were not known."""
        new = []
        for deletion in deletions:
            key = (deletion.user, deletion.source)
            if deletion.time_s > self._deleted.get(key, _NEVER_S):
                self._deleted[key] = deletion.time_s
                new.append(deletion)
        return new

    def choices(self, user: UserId) -> dict[TelemetrySource, bool]:
        """What the person chose themselves."""
        return dict(self._choices.get(user, {}))

    def sources_of(self, user: UserId) -> frozenset[TelemetrySource]:
        """What may be recorded of this person."""
        if not self.known:
            return frozenset()
        return allowed_sources(self._choices.get(user, {}), self.operator)

    def deleted_before_s(self, user: UserId, source: TelemetrySource | None) -> float:
        """Until when the person deleted what came from `source` (None: what comes from no source, as sign-ins)."""
        return max(self._deleted.get((user, None), _NEVER_S), self._deleted.get((user, source), _NEVER_S))

    def keeps(self, user: UserId, source: TelemetrySource | None, time_s: float) -> bool:
        """Whether something of that source (None: of the service itself) and time may be kept of the person."""
        if source is not None and source not in self.sources_of(user):
            return False
        return time_s > self.deleted_before_s(user, source)

    def admits(self, event: UsageEvent) -> bool:
        """Whether the event may be learnt from and written. Events of nobody are nobody's to refuse."""
        return event.user is None or self.keeps(event.user, SOURCE_OF.get(event.kind), event.time_s)

"""Job roles and calendars reach the engine from a real database; trouble there leaves the engine as it was."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ghostdesk.control.calendar_sync import CalendarOptions, CalendarSync, SyncOutcome
from ghostdesk.control.profile_feed import ProfileFeed
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.location import Place
from ghostdesk.profiles.modes import Mode
from ghostdesk.profiles.next_app.pool import Attributes
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sqlite import open_store
from ghostdesk.telemetry.calendars.entries import BusyTime
from ghostdesk.telemetry.calendars.secret_files import SecretFiles
from ghostdesk.telemetry.consent import Consent
from ghostdesk.telemetry.events import TelemetrySource

ANN = UserId("ann")


class Listener:
    """An engine that remembers what it was told."""

    def __init__(self) -> None:
        self.attributes: Mapping[UserId, Attributes] = {}
        self.personal: Mapping[UserId, Sequence[BusyTime]] = {}
        self.modes: Mapping[UserId, Sequence[Mode]] = {}
        self.places: Mapping[UserId, Sequence[Place]] = {}

    def set_attributes(self, attributes: Mapping[UserId, Attributes]) -> None:
        self.attributes = attributes

    def set_calendars(self, personal: Mapping[UserId, Sequence[BusyTime]], everyone: Sequence[BusyTime]) -> None:
        self.personal = personal

    def set_ways(self, modes: Mapping[UserId, Sequence[Mode]], places: Mapping[UserId, Sequence[Place]]) -> None:
        self.modes, self.places = modes, places


class Broken(CalendarSync):
    """A database that does not answer."""

    def sync_all(self, *_args: object, **_options: object) -> list[SyncOutcome]:
        raise StoreError("The database does not answer.", "")


ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//tests//
BEGIN:VEVENT
UID:weekly
DTSTART:20240108T090000Z
DTEND:20240108T100000Z
RRULE:FREQ=DAILY
SUMMARY:secret title
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")


async def test_calendars_reach_the_engine_with_consent_alone(tmp_path: Path) -> None:
    clock = SystemClock()
    store = open_store(tmp_path / "db", now_s=clock.now_s())
    store.put_user(StoredUser(ANN, "Ann", job_role="surveyor", department="roads"))
    sync = CalendarSync(store, SecretFiles(tmp_path / "secrets"), CalendarOptions())
    listener = Listener()
    feed = ProfileFeed(store, listener, sync, clock)
    store.put_consent(Consent(ANN, TelemetrySource.CALENDAR, True, clock.now_s()))
    sync.add_text(ANN, "work", ICS, clock.now_s())
    await feed.renew()
    assert listener.attributes == {ANN: Attributes("surveyor", "roads")}
    assert len(listener.personal[ANN]) >= 7
    assert "secret title" not in repr(listener.personal)
    store.put_consent(Consent(ANN, TelemetrySource.CALENDAR, False, clock.now_s()))
    await feed.renew()
    assert listener.personal == {}
    told = listener.attributes
    store.close()
    await ProfileFeed(store, listener, Broken(store, SecretFiles(tmp_path / "s"), CalendarOptions()), clock).renew()
    assert listener.attributes is told

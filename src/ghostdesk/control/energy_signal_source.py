"""Reads a carbon or price signal from a file or an HTTPS address, bounded in time and size."""

from __future__ import annotations

import stat
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from ghostdesk.allocator.energy_signal import MOST_BYTES, EnergySignal, parse_signal
from ghostdesk.kernel.errors import ConfigError, GhostdeskError
from ghostdesk.telemetry.calendars.addresses import AddressPolicy
from ghostdesk.telemetry.calendars.web import CalendarSession, asked

_TOTAL_TIMEOUT_S = 20.0
_OK = 200


class SignalSource(Protocol):
    """Where a signal is. Blocking: call it in a thread."""

    def read(self) -> EnergySignal:
        """Read it; raises `GhostdeskError`, with the reason, where it cannot be had or is rubbish."""
        ...


class SignalFile:
    """A CSV or JSON file that something else keeps fresh."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> EnergySignal:
        """See `SignalSource`."""
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):  # opening a pipe might wait for ever
                raise ConfigError(f"The energy signal {self._path} is no file.", "Set energy.signal to a file or URL.")
            with self._path.open("rb") as file:
                held = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise ConfigError(
                f"The energy signal {self._path} cannot be read: {error.strerror}.", "Check energy.signal."
            ) from None
        return _parsed(held, str(self._path))


class SignalAddress:
    """An HTTPS address, read through the guards that calendars are read with.

    Args:
        url: the address.
        allowed_hosts: those inside the operator's network that may be reached.
        ca_file: certificates to trust besides; None for the usual ones.
    """

    def __init__(self, url: str, allowed_hosts: Collection[str] = (), ca_file: str | None = None) -> None:
        self._url, self._ca_file = url, ca_file
        self._policy = AddressPolicy(frozenset(host.lower() for host in allowed_hosts))

    def read(self) -> EnergySignal:
        """See `SignalSource`."""
        session = CalendarSession(self._policy, ca_file=self._ca_file, total_timeout_s=_TOTAL_TIMEOUT_S)
        try:
            answer = asked(session, lambda: session.get(self._url), "The energy signal's server")
        except GhostdeskError as error:
            cause = error.cause.replace("calendar", "energy signal")
            raise ConfigError(cause, "Check energy.signal and energy.signal_allowed_hosts.") from None
        finally:
            session.close()
        if answer.status_code != _OK:
            raise ConfigError(f"The energy signal's server answers {answer.status_code}.", "Check energy.signal.")
        return _parsed(answer.content, "the energy signal's address")


def signal_source(where: str, allowed_hosts: Collection[str] = (), ca_file: str | None = None) -> SignalSource | None:
    """The source that a setting names: nothing, an address, or a file."""
    if not where:
        return None
    return SignalAddress(where, allowed_hosts, ca_file) if "://" in where else SignalFile(Path(where))


def _parsed(held: bytes, what: str) -> EnergySignal:
    try:
        return parse_signal(held.decode("utf-8-sig", "replace"))
    except ValueError as error:
        raise ConfigError(f"{what} is no signal: {error}.", "It needs a time and a value in each row.") from None

"""Keeps the account of energy while the service runs, follows the signal, and tells the loop and the page."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from ghostdesk.allocator.energy_model import Calibration, HostPowerModel, UseReading, calibrated, kwh
from ghostdesk.allocator.energy_signal import USUAL, EnergySignal, Worth, at_this_price, worth_now
from ghostdesk.allocator.plan import PoolPolicy, Reason
from ghostdesk.allocator.service_target import ServiceTarget
from ghostdesk.control.energy_account import EnergyAccount
from ghostdesk.control.energy_signal_source import SignalSource
from ghostdesk.control.energy_view import EnergyView
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.conditions import HostConditions, PowerReading
from ghostdesk.kernel.errors import GhostdeskError

log = logging.getLogger(__name__)
READ_EVERY_S = 10.0
_REMEMBERED = 5_000
_REFIT_EVERY = 60


class EnergyFeed:
    """One host's energy.

    Args:
        model: answers where no sensor does.
        conditions: what was read of the host last.
        clock: tells the time.
        source: of the signal; None without one.
        signal_every_s: how often it is read.
        held: state and resident bytes of each ghost that waits.
    """

    def __init__(
        self,
        model: HostPowerModel,
        conditions: Callable[[], HostConditions | None],
        clock: Clock,
        source: SignalSource | None = None,
        signal_every_s: float = 900.0,
        held: Callable[[], Sequence[tuple[GhostState, float]]] = lambda: (),
    ) -> None:
        self._model, self._conditions, self._clock = model, conditions, clock
        self._source, self._signal_every_s = source, signal_every_s
        self._held = held
        self._signal: EnergySignal | None = None
        self._signal_problem = ""
        self._signal_read_s = float("-inf")
        self._account = EnergyAccount(clock.now_s())
        self._reading: PowerReading | None = None
        self._readings: deque[UseReading] = deque(maxlen=_REMEMBERED)
        self._fit = Calibration(model, 0, 0, 0.0, "no sensor has told of this host's power yet")
        self._seen_s = float("-inf")

    @property
    def readings(self) -> Sequence[UseReading]:
        """What sensors said, with the use at the time."""
        return tuple(self._readings)

    def note(self) -> None:
        """Account for the time since the last call."""
        seen = self._conditions()
        self._reading = self._read(seen)
        self._account = self._account.add(self._clock.now_s(), self._reading)
        if seen is None or seen.time_s <= self._seen_s:
            return
        self._seen_s = seen.time_s
        if seen.power is not None and not seen.power.modelled and not seen.power.problem:
            self._readings.append(UseReading(seen.cpu_share, seen.power.power_w))
            if len(self._readings) % _REFIT_EVERY == 0:
                self._fit = calibrated(self._model, self._readings)

    def _read(self, seen: HostConditions | None) -> PowerReading | None:
        """What the host draws: what its engine says, else the model at its use; nothing where its use is not known."""
        if seen is None:
            return None
        if seen.power is not None:
            return seen.power
        model = self._fit.model
        return PowerReading(model.power_w(seen.cpu_share), f"model of a {model.host_type}, {model.source}", True)

    def worth(self) -> Worth:
        """What a watt is worth now."""
        if self._signal is None:
            return Worth(1.0, Reason("unread", self._signal_problem)) if self._signal_problem else USUAL
        return worth_now(self._signal, self._clock.now_s())

    def under(self, policy: PoolPolicy, service: ServiceTarget) -> tuple[PoolPolicy, ServiceTarget, Reason | None]:
        """The operator's policy at what a watt is worth now (see `at_this_price`)."""
        return at_this_price(policy, service, self.worth())

    async def renew_signal(self) -> None:
        """Read the signal if it is time. One that cannot be read leaves the last one, which grows stale by itself."""
        now_s = self._clock.now_s()
        if self._source is None or 0.0 <= now_s - self._signal_read_s < self._signal_every_s:
            return
        self._signal_read_s = now_s
        try:
            self._signal = await asyncio.to_thread(self._source.read)
            self._signal_problem = ""
        except GhostdeskError as error:
            self._signal_problem = f"the energy signal is ignored: {error.cause}"
            log.warning("%s", self._signal_problem)

    async def follow_every(self, every_s: float = READ_EVERY_S) -> None:
        """Account, and renew the signal, for ever."""
        while True:
            try:
                self.note()
                await self.renew_signal()
            except Exception:  # whatever a sensor or a signal says, the account goes on
                log.exception("energy could not be accounted for")
            await self._clock.sleep(every_s)

    def view(self) -> EnergyView:
        """For the status."""
        account, reading, worth, fit = self._account, self._reading, self.worth(), self._fit
        problems = [reading.problem if reading is not None else "", self._signal_problem]
        shown = EnergyView(
            problem="; ".join(p for p in problems if p),
            held_w=sum(fit.model.rung_w(state, memory_bytes=held_bytes) for state, held_bytes in self._held()),
            since_s=account.since_s,
            measured_kwh=kwh(account.measured_j),
            modelled_kwh=kwh(account.modelled_j),
            saved_kwh=kwh(account.saved_j),
            unknown_s=account.unknown_s,
            worth=worth.factor,
            worth_reason=worth.reason.text,
            fitted_idle_w=fit.model.idle_w,
            fitted_busy_w=fit.model.busy_w,
            fitted_kept=fit.kept,
            fitted_dropped=fit.dropped,
            fitted_problem=fit.problem,
        )
        if reading is None:
            return shown
        return replace(shown, power_w=reading.power_w, source=reading.source, modelled=reading.modelled)

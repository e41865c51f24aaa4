"""A new trained model is taken up while the service runs: loaded, learnt with beside the forecasts in use, swapped in.

Reading and learning are done in threads; the engine is told in the event loop, where it is asked. A file that cannot
be used changes nothing but what is said of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ghostdesk.control.service import ForecastView
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.profiles.forecast_watch import ArrivalHealth, NextAppHealth
from ghostdesk.profiles.refit import OnJudged, Refit, TrainedExperts
from ghostdesk.telemetry.history import History

log = logging.getLogger(__name__)
_TRIES = 3


@dataclass(frozen=True)
class ServedModel:
    """A trained model in use, or none.

    Args:
        name: its number, such as "0003"; empty where there is none.
        digest: of its file.
        trained: makes one person's experts from it.
        judged: told what each step cost that had been forecast; keeps what `drift` says.
        drift: what its own watch says of it, in words for people; empty while it holds.
        problem: why the model that should be in use is not; empty when all is well.
    """

    name: str = ""
    digest: str = ""
    trained: TrainedExperts = dict
    judged: OnJudged = lambda _step: None
    drift: Callable[[], str] = str
    problem: str = ""


class ModelSource(Protocol):
    """Where the live model is kept. Nothing here raises."""

    def stamp(self) -> str:
        """Changes when the live model, or its file, does. Cheap."""
        ...

    def load(self) -> ServedModel:
        """Read it."""
        ...


class TakesModels(Protocol):
    """An engine that can be told of another model (see `UserProfileEngine`)."""

    def begin_refit(self, trained: TrainedExperts, judged: OnJudged = ...) -> Refit:
        """Begin to learn anew."""
        ...

    def adopt(self, refit: Refit) -> bool:
        """Take what was learnt anew into use."""
        ...

    def health(self) -> tuple[NextAppHealth, ArrivalHealth]:
        """Whether the forecasts come true."""
        ...


class ModelFeed:
    """Follows the live model of a folder.

    Args:
        source: where it is.
        engine: what learns with it.
        history: reads what is to be learnt from, given the present (UTC seconds); called in a thread.
        flush: writes waiting events to the store, so that the history is whole.
        clock: tells the time.
        served, stamp: the model in use and the source's stamp from before it was read.
    """

    def __init__(
        self,
        source: ModelSource,
        engine: TakesModels,
        history: Callable[[float], History],
        flush: Callable[[], Awaitable[None]],
        clock: Clock,
        served: ServedModel,
        stamp: str,
    ) -> None:
        self._source, self._engine, self._history, self._flush, self._clock = source, engine, history, flush, clock
        self._served, self._stamp = served, stamp
        self._problem = served.problem
        self._learning = ""

    async def renew(self) -> bool:
        """Take up the live model if it is another; True when it was."""
        stamp = await asyncio.to_thread(self._source.stamp)
        if stamp == self._stamp:
            return False
        found = await asyncio.to_thread(self._source.load)
        if found.problem:
            kept = f"Model {self._served.name} stays in use." if self._served.name else "None is in use."
            self._problem, self._stamp = f"{found.problem} {kept}", stamp
            log.warning("%s", self._problem)
            return False
        if found.digest == self._served.digest:
            self._problem, self._stamp = "", stamp
            return False
        self._learning = found.name
        try:
            taken = await self._take_up(found)
        finally:
            self._learning = ""
        if taken:
            log.info("model %s is in use now (%s was)", found.name or "none", self._served.name or "none")
            self._served, self._problem, self._stamp = found, "", stamp
        return taken

    async def _take_up(self, found: ServedModel) -> bool:
        """Learn with it and swap; somebody who is forgotten meanwhile makes it begin anew, a few times."""
        for _ in range(_TRIES):
            refit = self._engine.begin_refit(found.trained, found.judged)
            now_s = self._clock.now_s()
            await self._flush()
            await asyncio.to_thread(self._learn, refit, now_s)
            if self._engine.adopt(refit):
                return True
        return False

    def _learn(self, refit: Refit, until_s: float) -> None:
        refit.learn(self._history(until_s), until_s)

    async def follow_every(self, every_s: float) -> None:
        """Renew for ever."""
        while True:
            await self._clock.sleep(every_s)
            try:
                await self.renew()
            except GhostdeskError as error:
                log.warning("a new model waits: %s", error)
            except Exception:  # whatever a model does when it learns, the one in use goes on
                log.exception("a new model could not be taken up")

    def view(self) -> ForecastView:
        """What the status view shows."""
        next_app, arrivals = self._engine.health()
        return forecast_view(self._served, self._learning, self._problem, next_app, arrivals)


def forecast_view(
    served: ServedModel, learning: str, problem: str, next_app: NextAppHealth, arrivals: ArrivalHealth
) -> ForecastView:
    """In words: what drifted, and what helps."""
    found, mends = [], []
    drift = served.drift()
    if next_app.loss_before_nats is not None:
        found.append(
            f"The next application is forecast worse than before: a step costs {next_app.loss_nats:.2f} nats, "
            f"{next_app.loss_before_nats:.2f} before."
        )
    if next_app.hit_rate_before is not None:
        found.append(
            f"The first choice is right {next_app.hit_rate:.0%} of the time, {next_app.hit_rate_before:.0%} before."
        )
    if drift:
        found.append(drift)
    if next_app.drifted or drift:
        mends.append("Train again: `ghostdesk train`.")
        if served.name:
            mends.append("If it began with this model, go back: `ghostdesk model rollback`.")
    if arrivals.drifted:
        word = "More" if arrivals.more else "Fewer"
        found.append(
            f"{word} people sign in than is forecast: {arrivals.came:.0f} a week against {arrivals.expected:.0f}."
        )
        mends.append("The forecast follows within weeks; meanwhile `pool.floor` holds more or fewer desktops.")
    if problem:
        mends.append("See `ghostdesk model list`; roll back or train again.")
    return ForecastView(
        model=served.name,
        learning=learning,
        problem=problem,
        steps=next_app.steps,
        loss_nats=_finite(next_app.loss_nats),
        loss_before_nats=next_app.loss_before_nats,
        hit_rate=_finite(next_app.hit_rate),
        hit_rate_before=next_app.hit_rate_before,
        sign_ins_expected_a_week=arrivals.expected,
        sign_ins_came_a_week=arrivals.came,
        half_hours=arrivals.half_hours,
        drifted=bool(found),
        words=" ".join(found) or _fine(next_app, arrivals),
        mend=" ".join(mends),
    )


def _fine(next_app: NextAppHealth, arrivals: ArrivalHealth) -> str:
    if not next_app.steps and not arrivals.half_hours:
        return "Nothing was forecast and seen to happen yet."
    return "The forecasts come true as they did before."


def _finite(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124  (not a number)

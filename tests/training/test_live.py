"""The running service takes a new model up without a restart, keeps the old one when a file is bad, and says so."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from training_fakes import SMALL, RankTrainer

from ghostdesk.control.model_feed import ModelFeed, forecast_view
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.profiles.forecast_watch import ArrivalHealth, NextAppHealth
from ghostdesk.profiles.model_file import ModelHeader
from ghostdesk.profiles.next_app.mixture import TRAINED
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.history import History
from ghostdesk.training.live import LiveModels
from ghostdesk.training.registry import ModelRegistry, ModelVersion

ADA, BOB = UserId("ada"), UserId("bob")


def add(registry: ModelRegistry, seed: int) -> ModelVersion:
    trainer = RankTrainer(SMALL, seed)
    trainer.scores = np.random.default_rng(seed).normal(size=trainer.scores.shape)
    header = ModelHeader(SMALL, 1.7e9 + seed, "data", {"gate_log_loss": 1.5})
    return registry.add(header, trainer.weights(), "fine", {"app_shares": {"a": 0.5}})


@dataclass
class Service:
    """An engine, a folder of models, and the history that the store would hold."""

    folder: Path
    clock: SystemClock = field(default_factory=SystemClock)
    past: list[UsageEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = ModelRegistry(self.folder)
        now_s = self.clock.now_s()
        for user in (ADA, BOB):
            for step in range(60):
                at_s = now_s - 4_000.0 + 60.0 * step
                self.past.append(UsageEvent(at_s, EventKind.APP_FOCUS, user, AppId("abc"[step % 3])))
        self.past.sort()
        models = LiveModels(self.folder)
        stamp, served = models.stamp(), models.load()
        self.engine = UserProfileEngine(trained=served.trained, judged=served.judged)
        self.engine.fit(History.of(self.past), now_s)
        self.reads = 0
        self.feed = ModelFeed(models, self.engine, self.history, self.flush, self.clock, served, stamp)

    def history(self, now_s: float) -> History:
        self.reads += 1
        return History.of(self.past)

    async def flush(self) -> None:
        return None

    def experts(self) -> set[str]:
        return set(self.engine._apps.weights(ADA))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path / "models")


async def test_nothing_is_read_while_nothing_changes(service: Service) -> None:
    assert not await service.feed.renew()
    assert service.reads == 0
    assert service.feed.view().model == ""


async def test_a_promoted_model_is_taken_up_and_a_rollback_too(service: Service) -> None:
    first, second = add(service.registry, 1), add(service.registry, 2)
    assert not await service.feed.renew(), "none is live yet"
    assert TRAINED not in service.experts()
    service.registry.promote(first, "first", 1.0)
    assert await service.feed.renew()
    assert TRAINED in service.experts()
    assert service.feed.view().model == "0001"
    assert service.engine.predict_resource_needs(ADA, service.clock.now_s()).apps, "the past was learnt again"
    service.registry.promote(second, "better", 2.0)
    assert await service.feed.renew()
    assert service.feed.view().model == "0002"
    service.registry.rollback(3.0)
    assert await service.feed.renew()
    assert service.feed.view().model == "0001"
    assert not await service.feed.renew()


async def test_a_damaged_file_keeps_the_old_model_and_says_so_until_it_is_mended(service: Service) -> None:
    first, second = add(service.registry, 1), add(service.registry, 2)
    service.registry.promote(first, "first", 1.0)
    await service.feed.renew()
    service.registry.promote(second, "better", 2.0)
    whole = second.path.read_bytes()
    second.path.write_bytes(whole[: len(whole) // 2])
    assert not await service.feed.renew()
    view = service.feed.view()
    assert view.model == "0001"
    assert "0002" in view.problem and "Model 0001 stays in use." in view.problem
    assert "roll back" in view.mend
    reads = service.reads
    assert not await service.feed.renew(), "the same bad file is not read again and again"
    assert service.reads == reads
    second.path.write_bytes(whole)
    assert await service.feed.renew()
    assert (service.feed.view().model, service.feed.view().problem) == ("0002", "")


async def test_rubbish_in_the_folder_changes_nothing(service: Service) -> None:
    service.folder.mkdir(parents=True)
    (service.folder / "current").write_bytes(b"\xff\x00../../etc/passwd\n")
    assert not await service.feed.renew()
    assert "not name a model" in service.feed.view().problem
    assert "None is in use." in service.feed.view().problem


async def test_going_back_to_the_model_in_use_ends_the_problem(service: Service) -> None:
    first, second = add(service.registry, 1), add(service.registry, 2)
    service.registry.promote(first, "first", 1.0)
    await service.feed.renew()
    service.registry.promote(second, "better", 2.0)
    second.path.write_bytes(b"gone bad")
    await service.feed.renew()
    service.registry.rollback(3.0)
    reads = service.reads
    assert not await service.feed.renew()
    assert (service.feed.view().problem, service.reads) == ("", reads), "it is in use: nothing is learnt again"


async def test_somebody_who_is_forgotten_meanwhile_is_not_in_what_is_taken_up(service: Service) -> None:
    service.registry.promote(add(service.registry, 1), "first", 1.0)
    told_s = service.clock.now_s()

    def history(now_s: float) -> History:
        service.reads += 1
        read = History.of(service.past)
        if service.reads == 1:  # while the past is learnt, Ada deletes all that is stored of her
            service.past = [event for event in service.past if event.user != ADA]
            service.engine.forget(ADA)
        return read

    service.history = history  # type: ignore[method-assign]
    service.feed._history = history
    assert await service.feed.renew()
    assert service.reads == 2
    assert service.engine._apps.version(ADA, told_s)[0] == -1, "nobody knows her"
    assert service.engine._apps.version(BOB, told_s)[0] > 0


async def test_live_steps_are_judged_against_what_was_promised(service: Service) -> None:
    service.registry.promote(add(service.registry, 1), "first", 1.0)
    await service.feed.renew()
    rng, now_s = np.random.default_rng(1), service.clock.now_s()
    for step in range(450):  # applications that nobody could foretell cost the model far more than it promised
        app = AppId(f"app{rng.integers(200)}")
        service.engine.observe(UsageEvent(now_s + step, EventKind.APP_FOCUS, ADA, app))
    view = service.feed.view()
    assert view.drifted
    assert "The model has drifted" in view.words and "1.50 at promotion" in view.words
    assert "ghostdesk train" in view.mend and "ghostdesk model rollback" in view.mend


def test_what_drifted_is_said_in_words_with_a_mend() -> None:
    served = LiveModels(Path("/nonexistent/models")).load()
    fine = forecast_view(served, "", "", NextAppHealth(900, 1.2, None, 0.6, None), ArrivalHealth(90, 40.0, 41.0))
    assert (fine.drifted, fine.mend) == (False, "")
    assert "come true as they did before" in fine.words
    worse = forecast_view(
        served, "", "", NextAppHealth(900, 1.9, 1.2, 0.4, 0.62), ArrivalHealth(90, 40.0, 12.0, fewer=True)
    )
    assert worse.drifted
    assert "1.90 nats, 1.20 before" in worse.words and "40% of the time, 62% before" in worse.words
    assert "Fewer people sign in than is forecast: 12 a week against 40." in worse.words
    assert "Train again" in worse.mend and "rollback" not in worse.mend, "there is no model to leave"
    nothing = forecast_view(served, "", "", NextAppHealth(), ArrivalHealth())
    assert (nothing.loss_nats, nothing.hit_rate) == (None, None)

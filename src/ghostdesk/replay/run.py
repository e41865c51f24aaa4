"""Replays many settings of many policies, side by side in processes."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from ghostdesk.allocator.policies.choosing import chosen_family, chosen_setting, spread_settings, written
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.history import Sessions, Window
from ghostdesk.replay.metrics import CostModel, Figures, Timeline, busiest_week_s, measure, timeline
from ghostdesk.replay.world import ReplayFigures, replay

_LOOK_EVERY_S = 0.2
SETTINGS_A_POLICY = 4

Progress = Callable[[float], None]
"""Told which share of the work is done, 0 to 1."""


@dataclass(frozen=True)
class ReplayJob:
    """What is the same for every policy.

    Args:
        sessions, window: what is replayed.
        figures: durations and limits of the simulated world.
        model: amounts and prices.
        timezone: IANA name of the zone by whose clock people live.
    """

    sessions: Sessions
    window: Window
    figures: ReplayFigures
    model: CostModel
    timezone: str


@dataclass(frozen=True)
class Point:
    """One setting of one policy, and what it would have done.

    Args:
        policy, title: the family's name, and what tables show.
        setting: what operators write: "static:5".
        label: the parameter alone.
        figures: what came of it.
        week: the busiest week, where it is shown.
        wall_s, cpu_s: what replaying took.
    """

    policy: str
    title: str
    setting: str
    label: str
    figures: Figures
    week: Timeline | None
    wall_s: float
    cpu_s: float


def settings_of(names: Sequence[str], most: int = SETTINGS_A_POLICY) -> list[str]:
    """What to replay: "static" is some settings of that family from its cheapest to its dearest, "static:5" is one.

    Raises:
        ConfigError: there is no such policy or setting.
    """
    found: dict[str, None] = {}
    for name in names:
        if ":" in name:
            found[written(*chosen_setting(name))] = None
        else:
            family = chosen_family(name)
            found |= dict.fromkeys(written(family, setting) for setting in spread_settings(family, most))
    return list(found)


def replay_one(job: ReplayJob, text: str, progress: Progress = lambda _share: None) -> Point:
    """Replay one setting, written as operators write it."""
    family, setting = chosen_setting(text)
    zone = ZoneInfo(job.timezone)
    wall_s, cpu_s = time.monotonic(), time.process_time()
    recording = replay(job.sessions, job.window, setting.make(), job.figures, zone, progress)
    monday_s = busiest_week_s(job.sessions.start_s, job.window, zone)
    return Point(
        family.name,
        family.title,
        text,
        setting.label,
        measure(recording, job.window, job.model, zone),
        timeline(recording, monday_s, job.window),
        time.monotonic() - wall_s,
        time.process_time() - cpu_s,
    )


def replay_all(
    job: ReplayJob, texts: Sequence[str], jobs: int, progress: Progress = lambda _share: None
) -> list[Point]:
    """Replay every setting in up to `jobs` processes; the order is that of `texts`.

    Raises:
        ConfigError: a process was ended from outside.
    """
    if jobs <= 1 or len(texts) == 1:
        points = []
        for place, text in enumerate(texts):
            points.append(replay_one(job, text, lambda share, at=place: progress((at + share) / len(texts))))  # type: ignore[misc]
        return points
    context = multiprocessing.get_context("spawn")  # forking with threads about (a progress bar, BLAS) may hang
    shares = context.Array("d", len(texts))
    workers = min(jobs, len(texts))
    executor = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(job, shares))
    try:
        futures = [executor.submit(_work, place, text) for place, text in enumerate(texts)]
        waiting: set[Future[Point]] = set(futures)
        while waiting:
            done, waiting = wait(waiting, _LOOK_EVERY_S, FIRST_COMPLETED)
            for one in done:
                one.result()  # a failure is told at once
            progress(sum(shares[:]) / len(texts))
        return [one.result() for one in futures]
    except BrokenProcessPool:
        raise ConfigError(
            "A replaying process was ended from outside, likely for lack of memory.", "Replay with --jobs 1."
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """What a process was given when it began."""

    job: ReplayJob
    shares: Any


def _begin(job: ReplayJob, shares: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process; one message is enough
    _Worker.job, _Worker.shares = job, shares


def _work(place: int, text: str) -> Point:
    def progress(share: float) -> None:
        _Worker.shares[place] = share

    point = replay_one(_Worker.job, text, progress)
    _Worker.shares[place] = 1.0
    return point

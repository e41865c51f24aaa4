"""Replays many settings of many policies, side by side in processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from ghostdesk.allocator.policies.choosing import chosen_family, chosen_setting, spread_settings, written
from ghostdesk.evaluate.processes import SPAWN, worker_processes
from ghostdesk.replay.energy import FleetEnergy, fleet_energy
from ghostdesk.replay.history import Sessions, Window, parts_of
from ghostdesk.replay.metrics import CostModel, Figures, Timeline, busiest_week_s, measure_parts, timeline
from ghostdesk.replay.recorder import Recording
from ghostdesk.replay.world import ReplayFigures, replay
from ghostdesk.training.cluster import Cluster

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
        fleet: what all desktops would have drawn, modelled, against always on.
        week: the busiest week, where it is shown.
        wall_s, cpu_s: what replaying took.
    """

    policy: str
    title: str
    setting: str
    label: str
    figures: Figures
    fleet: FleetEnergy
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


@dataclass(frozen=True)
class _Part:
    """A part of the window, replayed."""

    recording: Recording
    window: Window
    wall_s: float
    cpu_s: float


def _replay_part(job: ReplayJob, text: str, window: Window, progress: Progress) -> _Part:
    _, setting = chosen_setting(text)
    wall_s, cpu_s = time.monotonic(), time.process_time()
    recording = replay(job.sessions, window, setting.make(), job.figures, ZoneInfo(job.timezone), progress)
    return _Part(recording, window, time.monotonic() - wall_s, time.process_time() - cpu_s)


def _point(job: ReplayJob, text: str, parts: Sequence[_Part]) -> Point:
    """What the parts of one setting come to."""
    family, setting = chosen_setting(text)
    zone = ZoneInfo(job.timezone)
    monday_s = busiest_week_s(job.sessions.start_s, job.window, zone)
    told = [(part.recording, part.window) for part in parts]
    shown = next(part for part in parts if monday_s < part.window.until_s)  # parts are cut at Mondays
    return Point(
        family.name,
        family.title,
        text,
        setting.label,
        measure_parts(told, job.model, zone),
        fleet_energy(told, _desktops(job), job.model),
        timeline(shown.recording, monday_s, shown.window),
        max(part.wall_s for part in parts),
        sum(part.cpu_s for part in parts),
    )


def _desktops(job: ReplayJob) -> int:
    """Desktops of the history that are used in the judged window."""
    start_s, end_s = job.sessions.start_s, job.sessions.end_s
    used = (start_s < job.window.until_s) & (end_s > job.window.judge_s)
    return len(np.unique(job.sessions.row[used]))


def parts_for(job: ReplayJob, texts: Sequence[str], jobs: int) -> list[list[Window]]:
    """The windows in which each setting is replayed: several where processes would be idle and the policy allows it."""
    spare = max(1, jobs // len(texts))
    zone = ZoneInfo(job.timezone)
    return [
        parts_of(
            job.window, job.sessions.start_s, spare if chosen_family(text.partition(":")[0]).from_starts else 1, zone
        )
        for text in texts
    ]


def replay_all(
    job: ReplayJob,
    texts: Sequence[str],
    jobs: int,
    progress: Progress = lambda _share: None,
    cluster: Cluster | None = None,
) -> list[Point]:
    """Replay every setting in up to `jobs` processes; the order is that of `texts`.

    With a `cluster` the work is cut as for `jobs` processes and done there: equal jobs give equal figures.

    Raises:
        ConfigError: a process was ended from outside, or see `Cluster.map`.
    """
    windows = parts_for(job, texts, jobs)
    work = [(text, window) for text, own in zip(texts, windows, strict=True) for window in own]
    if cluster is not None:
        done = cluster.map(_on_a_node, job, work, lambda count: progress(count / len(work)))
    elif jobs <= 1 or len(work) == 1:
        done = _one_by_one(job, work, progress)
    else:
        done = _side_by_side(job, work, jobs, progress)
    parts = iter(done)
    return [_point(job, text, list(islice(parts, len(own)))) for text, own in zip(texts, windows, strict=True)]


def _on_a_node(job: ReplayJob, work: tuple[str, Window]) -> _Part:
    return _replay_part(job, *work, lambda _share: None)


def _one_by_one(job: ReplayJob, work: Sequence[tuple[str, Window]], progress: Progress) -> list[_Part]:
    found = []
    for place, (text, window) in enumerate(work):
        told = partial(lambda at, share: progress((at + share) / len(work)), place)
        found.append(_replay_part(job, text, window, told))
    return found


def _side_by_side(job: ReplayJob, work: Sequence[tuple[str, Window]], jobs: int, progress: Progress) -> list[_Part]:
    shares = SPAWN.Array("d", len(work))
    mend = "Replay with --jobs 1."
    with worker_processes(min(jobs, len(work)), "replaying", mend, _begin, (job, shares)) as executor:
        futures = [executor.submit(_work, place, text, window) for place, (text, window) in enumerate(work)]
        waiting: set[Future[_Part]] = set(futures)
        while waiting:
            done, waiting = wait(waiting, _LOOK_EVERY_S, FIRST_COMPLETED)
            for one in done:
                one.result()  # a failure is told at once
            progress(sum(shares[:]) / len(work))
        return [one.result() for one in futures]


class _Worker:
    """What a process was given when it began."""

    job: ReplayJob
    shares: Any


def _begin(job: ReplayJob, shares: Any) -> None:
    _Worker.job, _Worker.shares = job, shares


def _work(place: int, text: str, window: Window) -> _Part:
    def progress(share: float) -> None:
        _Worker.shares[place] = share

    part = _replay_part(_Worker.job, text, window, progress)
    _Worker.shares[place] = 1.0
    return part

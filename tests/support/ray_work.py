"""A Ray cluster of two nodes on this machine, one of which goes in the middle of the work; says what came of it.

A program of its own (`python ray_work.py FOLDER`, JSON on its output), so that Ray's threads, signals and
warnings stay out of the tests.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ghostdesk.kernel.errors import ConfigError, NotFound
from ghostdesk.kernel.ids import UserId
from ghostdesk.replay.history import DAY_S, Sessions, Window
from ghostdesk.replay.metrics import CostModel
from ghostdesk.replay.run import Point, ReplayJob, replay_all
from ghostdesk.replay.world import ReplayFigures
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.training import cluster as cluster_module
from ghostdesk.training import curves as curves_module
from ghostdesk.training.cluster import Cluster, connected
from ghostdesk.training.curve_hours import CurveHours
from ghostdesk.training.curves import train_curves_on
from ghostdesk.training.sources import HistorySource

HOUR = 3600.0
MONDAY_S = 1_736_121_600.0  # 2025-01-06, 00:00 UTC
PIECES = 8
SETTINGS = ("static:1", "static:2", "spare-buffer:2%, at least 1")


def held(folder: str, number: int) -> int:
    """A piece that says where it is begun, and goes on when it may."""
    import ray

    Path(folder, f"{number}-{ray.get_runtime_context().get_node_id()}").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.02)
    return number * number


def refuses(_shared: None, number: int) -> int:
    """A piece that fails as ours do."""
    raise NotFound(f"There is no {number}.", "Take another.")


def wait_for(true: Callable[[], Any], what: str) -> Any:
    deadline_s = time.monotonic() + 90
    while not (found := true()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(what)
        time.sleep(0.02)
    return found


class Nodes:
    """The head, and a second node that can be taken away, at once and for good."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as LocalCluster

        options = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
        self._cluster = LocalCluster(initialize_head=True, head_node_args=options)
        self.address: str = self._cluster.address
        self._second: Any = None

    def add(self) -> str:
        for left in (2, 1, 0):
            try:
                self._second = self._cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
                break
            except Exception:  # Ray gives a node 30 s to start, which a busy machine may exceed
                if not left:
                    raise
        self._cluster.wait_for_nodes()
        return str(self._second.node_id)

    def remove(self) -> None:
        self._cluster.remove_node(self._second, allow_graceful=False)

    def end(self) -> None:
        self._cluster.shutdown()


def pieces_are_done_again(cluster: Cluster, nodes: Nodes, second: str, folder: Path) -> dict[str, Any]:
    folder.mkdir()

    def take_away() -> None:
        wait_for(lambda: list(folder.glob(f"*-{second}")), "a piece on the second node")
        nodes.remove()
        (folder / "go").touch()

    taking = threading.Thread(target=take_away)
    taking.start()
    found = cluster.map(held, str(folder), range(PIECES))
    taking.join()
    begun = [path.name.split("-") for path in folder.glob("*-*")]
    lost = {number for number, node in begun if node == second}
    again = {number for number, node in begun if node != second}
    return {"found": found, "lost": sorted(lost), "again": sorted(lost & again)}


def replayed(cluster: Cluster, nodes: Nodes) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    day = np.repeat(np.arange(10), 30)
    start_s = np.sort(MONDAY_S + DAY_S * day + HOUR * rng.uniform(8, 18, len(day)))
    names = tuple(f"d{n}" for n in range(60))
    sessions = Sessions(names, np.arange(len(day)) % 60, start_s, start_s + 1800.0, named=False)
    window = Window(MONDAY_S + 2 * DAY_S, MONDAY_S + 9 * DAY_S)
    job = ReplayJob(sessions, window, ReplayFigures(lead_s=90.0, lead_spread=0.4, seed=3), CostModel(), "UTC")
    removed: list[float] = []

    def progress(share: float) -> None:
        if share > 0 and not removed:
            removed.append(share)
            nodes.remove()

    there = replay_all(job, SETTINGS, 2, progress, cluster)
    here = replay_all(job, SETTINGS, 1)
    return {"removed_at": removed, "points": len(there), "same": results(there) == results(here)}


def results(points: list[Point]) -> str:
    """All but what the work took."""
    return repr([replace(point, wall_s=0.0, cpu_s=0.0) for point in points])


def trained(cluster: Cluster, nodes: Nodes, folder: Path) -> dict[str, Any]:
    quick = replace(curves_module._OPTIONS, rows=600, members=1, batch=64)
    curves_module._OPTIONS, curves_module._ROWS_JUDGED = quick, 400  # type: ignore[misc]
    start_s = 473_352 * HOUR
    now_s = start_s + 15 * DAY_S
    rng = np.random.default_rng(5)
    events = []
    for hour in range(15 * 24):
        for person in range(6):
            high = 3.0 if 9 <= hour % 24 - person % 3 < 11 else 0.2
            user, time_s = UserId(f"synthetic{person}"), start_s + hour * HOUR + 60.0 * person
            for kind, scale in ((EventKind.CPU, 1.0), (EventKind.MEMORY, 1e9)):
                events.append(UsageEvent(time_s, kind, user, value=scale * high * float(rng.gamma(16.0, 1 / 16.0))))
    found: dict[str, Any] = {}
    for name, where in (("here", None), ("there", cluster)):
        source = HistorySource("a list", lambda: "same", lambda _notes: iter(events))
        told: list[float] = []

        def watch(_what: str, share: float, told: list[float] = told, where: Cluster | None = where) -> None:
            if where is not None and share > 0 and not told:
                nodes.remove()
            told.append(share)

        report = train_curves_on(source, CurveHours(now_s), folder / name, identity="same", told=watch, cluster=where)
        assert report.model is not None
        found[name] = [report.model.digest, repr(report.resources)]
    return found


def outcomes(folder: Path) -> Iterator[tuple[str, Any]]:
    nodes = Nodes()
    try:
        second = nodes.add()
        with connected(nodes.address) as cluster:
            yield "nodes", [cluster.nodes, cluster.cpus]
            yield "pieces", pieces_are_done_again(cluster, nodes, second, folder / "held")
            nodes.add()
            yield "replay", replayed(cluster, nodes)
            nodes.add()
            yield "train", trained(cluster, nodes, folder)
            try:
                cluster.map(refuses, None, range(2))
            except NotFound as error:
                yield "refused", [error.cause, error.mend]
            given = cluster_module.versions
            cluster_module.versions = lambda: ("0.0.0", "3.1", "0.1")
            try:
                cluster.map(held, "", range(1))
            except ConfigError as error:
                yield "versions", [error.cause, error.mend]
            cluster_module.versions = given
    finally:
        nodes.end()


if __name__ == "__main__":
    os.environ.update(
        {
            "RAY_USAGE_STATS_ENABLED": "0",
            # a node that was killed is found out within 5 s; one that is slow, on a busy machine, has 10 s to answer
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "10000",
        }
    )
    logging.disable(logging.WARNING)
    began_s = time.monotonic()
    told = {}
    for name, outcome in outcomes(Path(sys.argv[1])):
        told[name] = outcome
        sys.stderr.write(f"{time.monotonic() - began_s:.1f} s: {name}\n")
    sys.stdout.write(json.dumps(told) + "\n")

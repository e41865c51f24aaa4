"""Work spread over a Ray cluster. Ray is an extra (`pip install 'ghostdesk[ray]'`) and imported here alone, when asked.

What is spread is pure: it depends on what it is given alone, never on where or when it runs, so the results are those
of one process, bit for bit. A node that goes takes nothing along: what it was doing, and results that lay on it alone,
are made again elsewhere (Ray: "Fault tolerance").
"""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ghostdesk import __version__
from ghostdesk.kernel.errors import ConfigError, GhostdeskError

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

_LOOK_EVERY_S = 0.5
_IN_FLIGHT_A_CPU = 2
_CONNECT_WITHIN_S = 5.0
_AGAIN = 10
"""How often a piece of work is begun again when the node under it goes."""

Progress = Callable[[int], None]
"""Told how many pieces are done."""


class Cluster:
    """A Ray cluster that this process is connected to."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    @property
    def cpus(self) -> int:
        """Processors of all nodes that are there now; one at least."""
        return max(int(self._ray.cluster_resources().get("CPU", 1)), 1)

    @property
    def nodes(self) -> int:
        """Nodes that live."""
        return sum(1 for node in self._ray.nodes() if node["Alive"])

    def map(
        self, work: Callable[[S, T], R], shared: S, each: Iterable[T], progress: Progress = lambda _done: None
    ) -> list[R]:
        """``[work(shared, one) for one in each]``, on the cluster, a processor a piece.

        Args:
            work: a function of a module that every node has.
            shared: given to every piece, and sent to each node once.
            each: the pieces; taken as they are needed, so that few are in memory at once.
            progress: told how many are done.

        Raises:
            ConfigError: a node has another ghostdesk, Python or numpy, or too many nodes went.
            GhostdeskError: what a piece raised.
        """
        ray = self._ray
        remote = ray.remote(max_retries=_AGAIN, num_cpus=1)(_run)
        given = ray.put((work, shared))
        pieces = iter(each)
        refs: list[Any] = []
        waiting: set[Any] = set()
        done = 0
        try:
            while True:
                room = _IN_FLIGHT_A_CPU * self.cpus - len(waiting)  # below 0 once nodes went
                for one in islice(pieces, max(room, 0)):
                    refs.append(remote.remote(versions(), given, one))
                    waiting.add(refs[-1])
                if not waiting:
                    break
                ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK_EVERY_S, fetch_local=True)
                for one in ready:
                    ray.get(one)  # a failure is told at once
                    waiting.discard(one)
                    done += 1
                progress(done)
            return list(ray.get(refs))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, GhostdeskError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise ConfigError(
                f"The Ray cluster lost work for good: {str(error).strip().splitlines()[0]}.",
                "See whether its nodes live (`ray status`), and start the same command again.",
            ) from None


def versions() -> tuple[str, str, str]:
    """What must be the same everywhere for the same results: ghostdesk, Python and numpy."""
    return __version__, ".".join(platform.python_version_tuple()[:2]), np.__version__


def _run(wanted: tuple[str, str, str], given: tuple[Callable[[Any, Any], Any], Any], one: Any) -> Any:
    here = versions()
    if here != wanted:
        raise ConfigError(
            f"Node {platform.node()} has ghostdesk {here[0]}, Python {here[1]} and numpy {here[2]}; "
            f"this one has {wanted[0]}, {wanted[1]} and {wanted[2]}.",
            "Install the same on every node.",
        )
    work, shared = given
    return work(shared, one)


def cluster_or_none(address: str) -> AbstractContextManager[Cluster | None]:
    """`connected`, or nothing where no address is given."""
    return connected(address) if address else nullcontext()


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """The cluster at `address` ("HOST:6379", "ray://HOST:10001", or "auto" for the one that this machine is part of).

    Raises:
        ConfigError: Ray is not installed, or no cluster answers there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of ours goes to Ray's makers
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"A Ray cluster needs Ray, which is not installed ({error}).", "Install it: pip install 'ghostdesk[ray]'."
        ) from None
    _see_that_something_answers(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="ghostdesk")
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        words = str(error).strip().splitlines()
        raise _no_cluster(address, words[0] if words else type(error).__name__) from None
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


def _see_that_something_answers(address: str) -> None:
    """Ray itself asks an address at which nobody is for more than a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host and address not in ("auto", "local"):
        raise ConfigError(f"{address!r} is no address of a Ray cluster.", "Write HOST:6379, ray://HOST:10001 or auto.")
    if host:
        try:
            socket.create_connection((host, int(port)), _CONNECT_WITHIN_S).close()
        except (OSError, ValueError, OverflowError) as error:
            raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str, why: str) -> ConfigError:
    return ConfigError(
        f"No Ray cluster answers at {address!r}: {why}",
        "Start one (`ray start --head`, and `ray start --address=HOST:6379` on the others), or give its address.",
    )

"""Drift told from history: the live model is run over what people did lately, in the order of time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.model_file import Model
from ghostdesk.profiles.sequences import batches_from_sequences
from ghostdesk.training.drift import DriftReport, DriftWatch
from ghostdesk.training.files import private_folder, told
from ghostdesk.training.plan import CONTEXT, WINDOW, Room, groups
from ghostdesk.training.registry import ModelRegistry, ModelVersion
from ghostdesk.training.scoring import ModelRun
from ghostdesk.training.shards import StepShards, write_shards
from ghostdesk.training.sources import HistorySource, ReadNotes, check_not_empty
from ghostdesk.training.spool import EventSpool

CONTEXT_S: Final = 30 * 86_400.0
"""Read so much before the days that are asked about, so that no forecast begins in the dark."""
_SLOT_S: Final = 3_600


def new_watch(version: ModelVersion) -> DriftWatch:
    """The watch of a model, from what the registry knows of it at promotion."""
    shares = version.gate.get("app_shares", {})
    named = {str(app): float(share) for app, share in shares.items()} if isinstance(shares, dict) else {}
    return DriftWatch(version.metrics.get("gate_log_loss", float("nan")), named)


def check_drift(
    registry: ModelRegistry,
    source: HistorySource,
    timezone: str,
    span_s: float,
    now_s: float,
    room: Room,
    folder: Path,
) -> DriftReport:
    """Run the live model over the end of a history.

    Args:
        registry: the models.
        source: the history, with some weeks before what is foretold.
        timezone: the people's.
        span_s: foretold is what happened in so many seconds before the history's last event.
        now_s: the present.
        room: the memory there is.
        folder: where work may be put for the moment; nothing stays in it.

    Raises:
        NotFound: no model is live.
        ConfigError: it cannot be used, or the history is too small.
    """
    live, model = registry.live(), registry.current()
    if model is None:
        raise ConfigError("No model is live.", "Train one: `ghostdesk train`.")
    notes = ReadNotes()
    with told(folder), tempfile.TemporaryDirectory(dir=private_folder(folder), prefix="drift-") as place:
        spool = EventSpool(Path(place) / "spool", now_s)
        for event in source.events(notes):
            spool.add(event)
        check_not_empty(spool.finish().events, notes, source.name)
        shards = write_shards(Path(place), spool, WeekSlots(timezone, _SLOT_S), source.facts(), {})
        return _watched(shards, model, new_watch(live), shards.last_s - span_s, room)


def _watched(shards: StepShards, model: Model, watch: DriftWatch, since_s: float, room: Room) -> DriftReport:
    spans = []
    for person in range(len(shards.people)):
        times_s = shards.times_s(person)
        scored = int(np.searchsorted(times_s, since_s))
        if scored < len(times_s):
            spans.append((person, max(scored - CONTEXT, 0), scored))
    found: list[tuple[float, int, str, float]] = []
    for group in groups([shards.people[p].length - first for p, first, _ in spans], room, 0):
        chosen = [spans[place] for place in group.people]
        sequences = [shards.steps(person, first, None, scored - first) for person, first, scored in chosen]
        run, at = ModelRun.begin(model.header.config, model.weights, len(chosen)), 0
        for batch in batches_from_sequences(sequences, WINDOW):
            costs = run.take(batch)
            for row, t in zip(*np.nonzero(np.isfinite(costs)), strict=True):
                one = sequences[row][at + t]
                found.append((one.situation.time_s or 0.0, len(found), one.app or "", float(costs[row, t])))
            at += batch.steps
        shards.release()
    for _, _, app, loss in sorted(found):
        watch.observe(app, loss)
    return watch.report()

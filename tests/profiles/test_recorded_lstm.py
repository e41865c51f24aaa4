"""The LSTM on recorded sequences of people it was not trained on, where the data and torch are at hand.

Run as a script, it trains on the training rows of half of the users of a file of `next-app` and prints the scores on
the test rows of the others; as a test, it checks a part against partial matching.
"""

import csv
import lzma
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra `train`)")

from ghostdesk.kernel.ids import AppId  # noqa: E402
from ghostdesk.profiles.features import Step  # noqa: E402
from ghostdesk.profiles.lstm import LstmTrainer  # noqa: E402
from ghostdesk.profiles.lstm_step import LossReport, LstmConfig, added  # noqa: E402
from ghostdesk.profiles.next_app.ppm import PpmRecencyExpert  # noqa: E402
from ghostdesk.profiles.sequences import batches_from_sequences  # noqa: E402
from ghostdesk.profiles.situation import UNKNOWN  # noqa: E402

DATA = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "next-app"
MACS = DATA / "macos-desktops.csv.xz"
Rows = list[tuple[AppId, bool]]
"""Application, and whether it is a test row; in order."""


def halves(path: Path, draws: frozenset[str]) -> tuple[list[Rows], list[Rows]]:
    """The draws of every second user, and those of the others."""
    found: dict[tuple[str, str], list[tuple[bool, int, AppId]]] = {}
    with lzma.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            if row["draw"] in draws:
                step = (row["split"] == "test", int(row["position"]), AppId(row["app"]))
                found.setdefault((row["user"], row["draw"]), []).append(step)
    users = sorted({user for user, _ in found})
    parts: tuple[list[Rows], list[Rows]] = ([], [])
    for (user, _), steps in found.items():
        parts[users.index(user) % 2].append([(app, test) for test, _, app in sorted(steps)])
    return parts


def scores(train: list[Rows], test: list[Rows], config: LstmConfig, epochs: int) -> LossReport:
    """Trained on the training rows of `train`; the test rows of `test` are foretold, all rows before them streamed."""
    learnt = [[Step(app, UNKNOWN) for app, last in rows if not last] for rows in train]
    asked = [[Step(app, UNKNOWN, scored=last) for app, last in rows] for rows in test]
    trainer = LstmTrainer(config, seed=1)
    batches = list(batches_from_sequences(learnt, 64))
    for epoch in range(epochs):
        trainer.set_learning_rate(config.learning_rate * (0.05 + 0.475 * (1 + math.cos(math.pi * epoch / epochs))))
        for batch in batches:
            trainer.train_batch(batch)
    return added(trainer.evaluate_batch(batch) for batch in batches_from_sequences(asked, 64))


def partial_matching(test: Sequence[Rows]) -> tuple[float, float]:
    """Hit rate at 1 and log loss of PPM with recency on the test rows; new applications have a share of 1e-4."""
    hits, loss, steps = 0, 0.0, 0
    for rows in test:
        expert = PpmRecencyExpert()
        for app, last in rows:
            if last:
                shares = expert.shares()
                hits += app == max(shares, key=lambda one: shares[one], default=None)
                loss -= math.log(0.999 * shares.get(app, 0.0) + 1e-4)
                steps += 1
            expert.learn(app)
    return hits / steps, loss / steps


@pytest.mark.skipif(not MACS.exists(), reason=f"recorded data is not at hand: {MACS.name}")
def test_people_it_was_not_trained_on_are_foretold_better_than_by_partial_matching() -> None:
    torch.set_num_threads(1)
    train, test = halves(MACS, frozenset("1"))
    test = [rows[-900:] for rows in test]
    report = scores(train, test, LstmConfig(), epochs=2)
    hit_rate, log_loss = partial_matching(test)
    assert report.steps == 600
    assert report.log_loss() < log_loss - 0.02
    assert report.hits[0] / report.steps > hit_rate - 0.02


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ("macos-desktops", "phones"):
        train, test = halves(DATA / f"{name}.csv.xz", frozenset("12345"))
        for ours, theirs in ((train, test), (test, train)):
            report = scores(ours, theirs, LstmConfig(), epochs=4)
            rates = [round(hits / report.steps, 4) for hits in report.hits]
            hit_rate, log_loss = partial_matching(theirs)
            told = f"{name}: hit rates {rates}, log loss {report.log_loss():.4f}, {report.steps} steps"
            sys.stdout.write(f"{told}; partial matching {hit_rate:.4f}, {log_loss:.4f}\n")
            sys.stdout.flush()

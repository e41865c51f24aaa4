"""The next application on recorded sequences of real desktops, where the data is at hand.

Run as a script, it prints the hit rates of every row present; as a test, it checks a part against a simpler predictor.
"""

import csv
import lzma
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.next_app.ppm import PpmRecencyExpert

DATA = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "next-app"
MACS, WINDOWS = DATA / "macos-desktops.csv.xz", DATA / "windows-pcs.csv.xz"
Row = tuple[AppId, bool]
"""Application, and whether it is one to be foretold."""


def mac_sequences(path: Path, draws: frozenset[str]) -> dict[tuple[UserId, str], list[Row]]:
    """Each user's draws: 2,000 steps to learn from and 100 to foretell."""
    found: dict[tuple[UserId, str], list[tuple[bool, int, AppId]]] = {}
    with lzma.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            if row["draw"] in draws:
                step = (row["split"] == "test", int(row["position"]), AppId(row["app"]))
                found.setdefault((UserId(row["user"]), row["draw"]), []).append(step)
    return {key: [(app, judged) for judged, _, app in sorted(steps)] for key, steps in found.items()}


def windows_sequences(path: Path) -> dict[tuple[UserId, str], list[Row]]:
    """Each user's foreground applications, repeats removed; the last fifth is to be foretold."""
    found: dict[UserId, list[tuple[float, AppId]]] = {}
    with lzma.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            time_s = datetime.fromisoformat(row["time"]).replace(tzinfo=UTC).timestamp()
            found.setdefault(UserId(row["user"]), []).append((time_s, AppId(row["app"])))
    sequences = {}
    for user, steps in found.items():
        steps.sort(key=lambda step: step[0])
        turns = [step for i, step in enumerate(steps) if i == 0 or steps[i - 1][1] != step[1]]
        sequences[user, "1"] = [(app, i >= int(len(turns) * 0.8)) for i, (_, app) in enumerate(turns)]
    return sequences


def hit_rates(sequences: dict[tuple[UserId, str], list[Row]]) -> dict[str, list[float]]:
    """Share of steps found among the first 1, 3 and 5, by our predictor and by the list of most recent ones."""
    hits = {"ppm and recency": [0, 0, 0], "most recent": [0, 0, 0]}
    steps = 0
    for rows in sequences.values():
        expert, recent = PpmRecencyExpert(), list[AppId]()
        for app, judged in rows:
            if judged:
                steps += 1
                shares = expert.shares()
                ours = sorted(shares, key=lambda one: (-shares[one], one))[:5]
                for name, ranked in (("ppm and recency", ours), ("most recent", [*recent[1:], *recent[:1]])):
                    for i, most in enumerate((1, 3, 5)):
                        hits[name][i] += app in ranked[:most]
            expert.learn(app)
            recent = [app, *(other for other in recent if other != app)]
    return {name: [round(count / steps, 3) for count in counts] for name, counts in hits.items()}


@pytest.mark.skipif(not MACS.exists(), reason=f"recorded data is not at hand: {MACS.name}")
def test_macs_are_foretold_better_than_by_the_most_recent() -> None:
    some = {key: rows[-1100:] for key, rows in mac_sequences(MACS, frozenset({"1"})).items()}
    rates = hit_rates(some)
    assert all(ours > simple for ours, simple in zip(rates["ppm and recency"], rates["most recent"], strict=True)), (
        rates
    )


@pytest.mark.skipif(not WINDOWS.exists(), reason=f"recorded data is not at hand: {WINDOWS.name}")
def test_windows_pcs_are_foretold_better_than_by_the_most_recent() -> None:
    latest = {key: rows[-3000:] for key, rows in windows_sequences(WINDOWS).items()}
    rates = hit_rates(latest)
    assert all(ours > simple for ours, simple in zip(rates["ppm and recency"], rates["most recent"], strict=True)), (
        rates
    )


if __name__ == "__main__":
    everything = mac_sequences(MACS, frozenset("12345"))
    sys.stdout.write(f"macOS: {hit_rates(everything)}\n")
    sys.stdout.write(f"Windows: {hit_rates(windows_sequences(WINDOWS))}\n")

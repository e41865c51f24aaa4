"""Figures of application sequences: how many, how skewed, how soon back, how far simple predictors get. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from ghostdesk.evaluate.predictability import entropy_rate_bits
from ghostdesk.replay.synthetic.figures_starts import Figures

STEPS = 1500
"""Entropy and the number of applications grow with the length, so every sequence is cut to so many steps."""
_RANKS = (2, 3, 4, 5)
_TEST_SHARE = 0.2


def app_figures(sequences: Sequence[Sequence[str]]) -> Figures:
    """Means over sequences, immediate repeats removed, of the first `STEPS` steps; shorter ones are left out.

    Returns:
        `apps`: different applications; `top_1_share`, `top_3_share`: of the most used; `zipf_exponent`: slope of log
        share against log rank over the first ten (Zipf 1949); `entropy_bits`: Lempel-Ziv entropy rate (Kontoyiannis et
        al. 1998); `recency_rank_N`: share of steps that go to the N-th most recent application (1 is in front, and
        cannot be); `recency_rank_6_up`; `new_share`: steps to one never seen before; `hr1_frequent`, `hr1_recent`,
        `hr1_markov`: share of the last fifth foretold by the most frequent, the last but one, and the commonest
        successor, all learning on.

    Raises:
        ValueError: no sequence is long enough.
    """
    found: list[dict[str, float]] = []
    for sequence in sequences:
        turns = [app for app, _ in groupby(sequence)][:STEPS]
        if len(turns) == STEPS:
            found.append(_of_one(turns))
    if not found:
        raise ValueError(f"no sequence has {STEPS} steps without repeats")
    means: Figures = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    means["sequences"] = float(len(found))
    return means


def _of_one(turns: list[str]) -> dict[str, float]:
    shares = np.sort(np.array(list(Counter(turns).values()), dtype=np.float64))[::-1] / len(turns)
    ten = shares[:10]
    slope = np.polyfit(np.log(np.arange(1, len(ten) + 1)), np.log(ten), 1)[0] if len(ten) > 2 else 0.0
    ranks, hits = _ranks_and_hits(turns)
    return {
        "apps": float(len(shares)),
        "top_1_share": float(shares[0]),
        "top_3_share": float(shares[:3].sum()),
        "zipf_exponent": float(-slope),
        "entropy_bits": entropy_rate_bits(turns),
        **{f"recency_rank_{rank}": ranks[rank] / len(turns) for rank in _RANKS},
        "recency_rank_6_up": sum(n for rank, n in ranks.items() if rank > _RANKS[-1]) / len(turns),
        "new_share": ranks[0] / len(turns),
        **hits,
    }


def _ranks_and_hits(turns: list[str]) -> tuple[Counter[int], dict[str, float]]:
    """How often each recency rank was turned to (0: never seen before), and the hit rates on the last part."""
    recent: list[str] = []
    ranks: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    after: defaultdict[str, Counter[str]] = defaultdict(Counter)
    frequent = last_but_one = markov = 0
    test_from = int(len(turns) * (1.0 - _TEST_SHARE))
    for step, app in enumerate(turns):
        before = recent[0] if recent else ""
        if step >= test_from:
            guess = max((one for one in counts if one != before), key=counts.__getitem__, default="")
            frequent += guess == app
            last_but_one += len(recent) > 1 and recent[1] == app
            follow = after[before]
            markov += (max(follow, key=follow.__getitem__) if follow else guess) == app
        counts[app] += 1
        if before:
            after[before][app] += 1
        if app in recent:
            ranks[recent.index(app) + 1] += 1
            recent.remove(app)
        else:
            ranks[0] += 1
        recent.insert(0, app)
    tests = len(turns) - test_from
    return ranks, {"hr1_frequent": frequent / tests, "hr1_recent": last_but_one / tests, "hr1_markov": markov / tests}

"""How predictable a sequence is at all: its entropy rate, and the hit rate that no predictor can pass on average. Pure.

Song et al. (2010, "Limits of predictability in human mobility"): the entropy rate by the Lempel-Ziv estimator of
Kontoyiannis et al. (1998), and from it, by Fano's inequality, the highest share of steps that can be foretold. Both
speak of a stationary source and of what the sequence itself holds: time, calendar and other people may tell more, and
on short sequences the estimate is rough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 10_000
"""Of longer sequences the latest steps are taken, as the work grows with the square of the length."""
_FIRST_LETTER = 0xE000  # private use: one character an application, all searchable, none combining
_PLANE_16 = 0x100000
_PRIVATE_LETTERS = 6400


@dataclass(frozen=True, slots=True)
class Predictability:
    """Of one sequence.

    Args:
        entropy_bits: estimated entropy rate, bits a step.
        apps: how many different applications it has.
        highest_hit_rate: Fano's bound on HR@1 for that entropy.
    """

    entropy_bits: float
    apps: int
    highest_hit_rate: float


def predictability(apps: Sequence[str]) -> Predictability:
    """The estimate for one sequence of at least two steps; raises `ValueError` for a shorter one."""
    latest = apps[-LONGEST:]
    bits, distinct = entropy_rate_bits(latest), len(set(latest))
    return Predictability(bits, distinct, highest_hit_rate(bits, distinct))


def entropy_rate_bits(apps: Sequence[str]) -> float:
    """Entropy rate in bits a step: ``n log2 n / sum of L_i`` (Kontoyiannis et al. 1998).

    ``L_i`` is the length of the shortest run from step i on that did not occur wholly before step i.
    """
    n = len(apps)
    if n < 2:
        raise ValueError("an entropy rate needs two steps or more")
    letters: dict[str, str] = {}
    for app in apps:
        if app not in letters:
            letters[app] = _letter(len(letters))
    text = "".join(letters[app] for app in apps)
    total, length = 0, 0
    for start in range(n):
        length = max(length - 1, 0)  # a run that was there before is still there without its first step
        while start + length < n and text.find(text[start : start + length + 1], 0, start) >= 0:
            length += 1
        total += length + 1
    return n * math.log2(n) / total


def highest_hit_rate(entropy_bits: float, apps: int) -> float:
    """The root p in [1/N, 1] of Fano's equation ``S = H(p) + (1 - p) log2(N - 1)``; 1/N where S is more than log2 N."""
    if apps <= 1 or entropy_bits <= 0.0:
        return 1.0
    if entropy_bits >= math.log2(apps):
        return 1.0 / apps
    low, high = 1.0 / apps, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if _fano_bits(middle, apps) > entropy_bits:  # it falls from log2 N to 0
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _fano_bits(p: float, apps: int) -> float:
    q = 1.0 - p
    entropy = -p * math.log2(p) - (q * math.log2(q) if q > 0.0 else 0.0)
    return entropy + q * math.log2(apps - 1) if apps > 1 else entropy


def _letter(number: int) -> str:
    first = _FIRST_LETTER if number < _PRIVATE_LETTERS else _PLANE_16 - _PRIVATE_LETTERS
    return chr(first + number)

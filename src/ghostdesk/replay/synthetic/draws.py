"""Random numbers by their place: a number depends on the seed, what it is for, and whose it is, and on no other draw.

So one person's history is the same alone, in a crowd of a million, and in whatever block it is made: counter-based
generation (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). numpy's generators that work so start
anew for every person, which costs more than the person's whole day; here an array of places gives an array of numbers,
by the mixing function of SplitMix64 (Steele, Lea, Flood 2014). They serve imaginary people, never secrets.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


class Draws:
    """All the random numbers of one purpose.

    Args:
        seed: of the history.
        purpose: what they are for; purposes are independent of each other.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
        self._key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)

    def uniform(self, *places: npt.ArrayLike) -> Floats:
        """In (0, 1), of the places' common shape (at least one dimension)."""
        return _unit(self._words(places))

    def normal(self, *places: npt.ArrayLike) -> Floats:
        """Standard normal (Box and Muller 1958), of the places' common shape."""
        words = self._words(places)
        return np.sqrt(-2.0 * np.log(_unit(words))) * np.cos(2.0 * np.pi * _unit(_mixed(words + _GOLDEN)))

    def lognormal(self, middle: npt.ArrayLike, spread: npt.ArrayLike, *places: npt.ArrayLike) -> Floats:
        """Log-normal with the median `middle`, its logarithm's standard deviation being `spread`."""
        return np.asarray(middle * np.exp(np.asarray(spread) * self.normal(*places)), dtype=np.float64)

    def poisson(self, mean: npt.ArrayLike, *places: npt.ArrayLike) -> Ints:
        """Poisson counts by inversion; of means above 300 the normal approximation."""
        means, chance = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), self.uniform(*places))
        large = means > 300.0
        small = np.where(large, 0.0, means)
        term, counts = np.exp(-small), np.zeros(means.shape, dtype=np.int64)
        total = term.copy()
        step = 0
        while (above := chance > total).any() and step < 700:
            step += 1
            counts += above
            term = term * small / step
            total += term
        if large.any():
            counts[large] = np.maximum(np.round(means + np.sqrt(means) * self.normal(*places, 1)), 0)[large]
        return counts

    def _words(self, places: tuple[npt.ArrayLike, ...]) -> Words:
        words: Words = self._key
        for place in places:
            there = np.asarray(place, dtype=np.int64).astype(np.uint64)
            words = _mixed(words ^ (np.atleast_1d(there) * _GOLDEN + _FIRST))
        return words


def from_quantiles(chance: Floats, levels: npt.ArrayLike, values: npt.ArrayLike) -> Floats:
    """Numbers with `values` (positive) as quantiles at `levels` (0 to 1, rising); logarithms run straight between."""
    return np.asarray(np.exp(np.interp(chance, np.asarray(levels), np.log(np.asarray(values)))))


def _mixed(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return np.asarray(words ^ (words >> np.uint64(31)))


def _unit(words: Words) -> Floats:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54

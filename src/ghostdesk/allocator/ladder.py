"""The ladder priced: how far a ghost climbs for a person, step by step, as they become likelier to come. Pure.

Each rung saves its user some seconds against what the pool gives anyway, and holds some memory meanwhile. A step up
pays where

    probability * seconds saved by the step  >=  memory held by the step * price of a byte

(docs/explanation/pre-warming.md). The operator says what idle memory may cost with one number that people can picture:
`PoolPolicy.warm_threshold`, the probability from which the last step, from parked to warm, pays. That fixes the price
of a byte, and with it the probabilities from which the lower steps pay. Where memory is short the fleet plan raises
the price (allocator/host_plan.py); where energy is dear, the signal raises the threshold (allocator/energy_signal.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from ghostdesk.ghosts.ghost import RUNG, GhostState

_KEEPS = 0.5
"""A ghost is kept down to this share of the probability that it was made for, so that a wavering one is not made and
destroyed by turns."""
_STAYS_WARM = 0.8
"""The same between parked and warm, where a change costs a tenth of a second."""


@dataclass(frozen=True, slots=True)
class LadderFigures:
    """What each rung saves its user, and what it holds, in shares of a warm ghost's memory.

    The defaults are medians of this project's own benchmarks (`ghostdesk bench launch`, `bench density`), rounded.

    Args:
        warm_saves_s: against a ready ghost of the pool: the cold start of the first application.
        seen_s: what it is worth that a hand-over is not noticed at all, in seconds; a parked ghost's wake is seen.
        wake_s: how long a parked ghost takes to answer.
        cached_saves_s: a start with its files in the page cache against one from disk.
        parked_share: what a parked ghost holds, its compressed pages included.
        cached_share: what cached files count: the kernel gives their memory up as soon as anybody needs it.
        cached_bytes: most that is loaded into the page cache for one person.
    """

    warm_saves_s: float = 3.0
    seen_s: float = 0.85
    wake_s: float = 0.15
    cached_saves_s: float = 0.7
    parked_share: float = 0.24
    cached_share: float = 0.02
    cached_bytes: float = 256e6

    @property
    def parked_saves_s(self) -> float:
        """What a parked ghost saves: nearly as much, less what is seen of its wake."""
        return max(self.warm_saves_s - self.wake_s - self.seen_s, 0.0)

    def saves_s(self, rung: GhostState) -> float:
        """Seconds that a rung saves against a ready ghost of the pool."""
        saves = {GhostState.CACHED: self.cached_saves_s, GhostState.PARKED: self.parked_saves_s}
        return saves.get(rung, self.warm_saves_s if rung is GhostState.WARM else 0.0)

    def share(self, rung: GhostState) -> float:
        """Memory that a rung holds, as a share of a warm ghost's."""
        shares = {GhostState.CACHED: self.cached_share, GhostState.PARKED: self.parked_share, GhostState.WARM: 1.0}
        return shares.get(rung, 0.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One step up the ladder.

    Args:
        rung: where it leads.
        pays_from: the probability of an arrival from which it pays.
        saves_s: what it saves against the rung below.
        memory_bytes: what it holds more than the rung below.
    """

    rung: GhostState
    pays_from: float
    saves_s: float
    memory_bytes: float

    def why(self) -> str:
        """Price and gain, for people."""
        size = f"{self.memory_bytes / 1e6:.0f} MB"
        return f"{self.rung} pays from {self.pays_from:.0%} (saves {self.saves_s:.2g} s for {size})"


@dataclass(frozen=True, slots=True)
class Ladder:
    """The steps that a person's ghost may climb on this host, lowest first."""

    steps: tuple[Step, ...]

    @classmethod
    def priced(
        cls,
        figures: LadderFigures,
        warm_threshold: float,
        ghost_memory_bytes: float,
        *,
        can_park: bool,
    ) -> Ladder:
        """The steps with their prices.

        Args:
            figures: what rungs save and hold.
            warm_threshold: probability from which the step to warm pays.
            ghost_memory_bytes: what a warm ghost holds.
            can_park: whether parking frees memory here; without it there is no such rung.
        """
        gain_s = figures.saves_s(GhostState.WARM) - figures.parked_saves_s
        share = 1.0 - figures.parked_share
        price_s = warm_threshold * gain_s / share if share > 0 else 0.0  # seconds for one warm ghost's memory
        below, steps = GhostState.ABSENT, []
        for rung in (GhostState.CACHED, GhostState.PARKED, GhostState.WARM):
            if rung is GhostState.PARKED and not can_park:
                continue
            saves_s = figures.saves_s(rung) - figures.saves_s(below)
            more = figures.share(rung) - figures.share(below)
            pays_from = price_s * more / saves_s if saves_s > 0 else 1.0
            if rung is GhostState.WARM:
                pays_from = warm_threshold  # with no rung below to keep, the same probability still says when
            steps.append(Step(rung, min(pays_from, warm_threshold), saves_s, more * ghost_memory_bytes))
            below = rung
        return cls(tuple(steps))

    @property
    def lowest(self) -> float:
        """The probability below which nothing is ever done, or kept, for a person."""
        kept = (s.pays_from * (1.0 if s.rung is GhostState.CACHED else _KEEPS) for s in self.steps)
        return min(kept, default=1.0)

    def rung_for(self, probability: float, held: GhostState = GhostState.ABSENT) -> Step | None:
        """The highest step that pays for a person who comes with this probability; None when none does.

        `held` is the rung that their ghost is on: it is left only when the probability is clearly below.
        """
        if held is GhostState.ABSENT:  # as of most, and there are many to ask about
            return next((step for step in reversed(self.steps) if probability >= step.pays_from), None)
        parks = any(step.rung is GhostState.PARKED for step in self.steps)
        best: Step | None = None
        for step in self.steps:
            needed = step.pays_from
            if held in RUNG and RUNG[held] >= RUNG[step.rung]:
                needed *= _STAYS_WARM if step.rung is GhostState.WARM and parks else _KEEPS
            if probability >= needed:
                best = step
        return best

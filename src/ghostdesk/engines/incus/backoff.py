"""How often a call is tried again, and after how long. Pure.

Full jitter (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015): each pause is drawn up to
a bound that grows with each failure, so that many calls that a server refused at once do not all come back at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """A policy.

    Args:
        tries: in all, the first among them.
        first_s: bound of the pause after the first try.
        factor: by which each next bound is larger.
        longest_s: bound of all bounds.
        budget_s: no try begins later than this after the first.
    """

    tries: int = 4
    first_s: float = 0.1
    factor: float = 3.0
    longest_s: float = 2.0
    budget_s: float = 15.0

    def bound_s(self, failures: int) -> float:
        """The longest pause after so many failures in a row; a number of failures beyond all sense is one too."""
        exponent = min(max(failures, 1) - 1, 64)
        return min(self.longest_s, self.first_s * self.factor**exponent)

    def pause_s(self, failures: int, passed_s: float, draw: float, asked_s: float = 0.0) -> float | None:
        """How long to wait before the next try; None when there is none.

        Args:
            failures: tries so far.
            passed_s: since the first began.
            draw: a random number from 0 to 1.
            asked_s: what the server asks for (Retry-After); it is kept to where the budget allows.
        """
        if failures >= self.tries:
            return None
        pause_s = max(asked_s, self.bound_s(failures) * min(max(draw, 0.0), 1.0))
        return pause_s if passed_s + pause_s <= self.budget_s else None


ONCE = Backoff(tries=1)
"""For what makes something: whether the first try did is unknown, so state is read anew instead."""


def retry_after_s(text: str) -> float:
    """The header of that name, in seconds (RFC 9110, 10.2.3); dates and nonsense ask for nothing."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0

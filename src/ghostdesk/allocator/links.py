"""What a line to a browser is good for: connecting ahead over it, and how much network a ghost may wish for. Pure.

A hidden connection costs the line one whole picture, and whatever changes on the hidden screen afterwards. On a line
that takes long for a picture that is worse than to connect when the desktop is opened. A long round trip alone is no
reason: the longer it is, the more a connection that was made beforehand saves.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.ids import UserId
from ghostdesk.kernel.resources import Resources

_FOLLOWS = 2.0
"""A desktop may fetch this many times as fast as its screen can be shown: a page is more than its picture."""


@dataclass(frozen=True, slots=True)
class LinkRules:
    """What a line must do.

    Args:
        picture_bytes: what a first picture takes, compressed.
        budget_s: longest time that it may keep the line busy.
        far_rtt_s: round trip from which a line is called far, for people.
        remember_s: how long a line that was measured counts.
    """

    picture_bytes: float = 200e3
    budget_s: float = 2.0
    far_rtt_s: float = 0.15
    remember_s: float = 900.0

    @property
    def least_bytes_per_s(self) -> float:
        """The throughput from which connecting ahead stays within the budget."""
        return self.picture_bytes / self.budget_s


DEFAULT_LINK_RULES = LinkRules()


@dataclass(frozen=True, slots=True)
class LinkVerdict:
    """A line judged.

    Args:
        quality: "good", "far" (a long way, but wide) or "slow".
        text: what it is like, for people.
    """

    quality: str
    text: str

    @property
    def slow(self) -> bool:
        """Whether nothing should be sent over it ahead of time."""
        return self.quality == "slow"


def judge(link: ClientLink, rules: LinkRules = DEFAULT_LINK_RULES) -> LinkVerdict:
    """What the line is good for."""
    parts = [f"round trip {link.rtt_best_s * 1e3:.0f} ms"]
    if link.rtt_s > 2.0 * link.rtt_best_s + 0.02:
        parts.append(f"{link.rtt_s * 1e3:.0f} ms at present")
    if link.bytes_per_s is not None:
        parts.append(f"{link.bytes_per_s / 1e6:.2g} MB/s")
    text = ", ".join(parts)
    if link.bytes_per_s is not None and link.bytes_per_s < rules.least_bytes_per_s:
        return LinkVerdict("slow", text)
    return LinkVerdict("far" if link.rtt_best_s > rules.far_rtt_s else "good", text)


def network_wish(limits: Resources, least: Resources, link: ClientLink | None, rules: LinkRules) -> Resources:
    """A waiting ghost's limits with no more network than its user's line makes use of, but never below `least`."""
    if link is None or link.bytes_per_s is None or not judge(link, rules).slow or not limits.network_bytes_per_s:
        return limits
    wish = max(_FOLLOWS * link.bytes_per_s, least.network_bytes_per_s)
    if wish >= limits.network_bytes_per_s:
        return limits
    amounts = limits.as_tuple()
    return Resources(*amounts[:3], wish, amounts[4])


def slow_line_text(user: UserId, verdict: LinkVerdict) -> str:
    """What the plan says of somebody on a slow line."""
    return f"{user}'s line is slow ({verdict.text}): their desktop is not connected ahead, and wishes for less network"

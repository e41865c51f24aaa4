"""The methods that `ghostdesk evaluate next-app` scores side by side. A new one is one line here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from ghostdesk.evaluate.sequences import AppSequence
from ghostdesk.profiles.next_app.expert import ExpertFactory
from ghostdesk.profiles.next_app.ipam import Ipam
from ghostdesk.profiles.next_app.markov import Markov
from ghostdesk.profiles.next_app.most_frequent import MostFrequent
from ghostdesk.profiles.next_app.most_recent import Current, MostRecent
from ghostdesk.profiles.next_app.ppm import PpmRecencyExpert


class PooledMethod(Protocol):
    """A method that lends a person what others do. It must be picklable; what `fit` returns need not be."""

    def fit(self, others: Sequence[AppSequence]) -> ExpertFactory:
        """Learn from the training steps of other people.

        Args:
            others: never of a person who is then scored, and never a step to be foretold. Draws of one person may
                overlap in time. May be empty.
        """
        ...

    def alone(self) -> ExpertFactory:
        """The same method with nothing learnt from others, for showing what they lend."""
        ...


def methods() -> dict[str, ExpertFactory]:
    """Methods that know one person only, by name; the factories are picklable."""
    return {
        "most-frequent": MostFrequent,
        "most-recent": MostRecent,
        "most-recent-current-last": partial(MostRecent, Current.LAST),
        "most-recent-current-dropped": partial(MostRecent, Current.DROPPED),
        "markov-1": partial(Markov, 1),
        "markov-2": partial(Markov, 2),
        "ipam": Ipam,
        "ppm-3-recency": PpmRecencyExpert,
    }


def pooled_methods() -> dict[str, PooledMethod]:
    """Methods that also learn from other people, by name."""
    from ghostdesk.evaluate.lstm_method import LstmMethod, torch_is_here
    from ghostdesk.evaluate.mixture_method import MixtureMethod

    lstm = LstmMethod()
    if not torch_is_here():  # the extra `train`
        return {"mixture": MixtureMethod()}
    return {"lstm": lstm, "mixture": MixtureMethod(lstm=lstm)}

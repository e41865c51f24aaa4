"""From what an operator writes to a policy: "static:5" is the static pool of five."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ghostdesk.allocator.policies.catalogue import families
from ghostdesk.allocator.policies.seam import PolicyFamily, Setting
from ghostdesk.kernel.errors import ConfigError

ALIASES = {"ours": "marginal-value"}
"""Other names of families: ghostdesk's own policy for a pool."""


def written(family: PolicyFamily, setting: Setting) -> str:
    """How a setting is written: its family's name, a colon, its label."""
    return f"{family.name}:{setting.label}"


def can_run_live(setting: Setting) -> bool:
    """Whether it decides from the past alone. A bound that is told the future cannot, and has `foretell`."""
    return not hasattr(setting.make(), "foretell")


def live_families(known: Mapping[str, PolicyFamily] | None = None) -> dict[str, PolicyFamily]:
    """Those of the catalogue that can run live, by name."""
    every = families() if known is None else known
    return {name: family for name, family in every.items() if can_run_live(family.settings[0])}


def chosen_family(name: str, known: Mapping[str, PolicyFamily] | None = None) -> PolicyFamily:
    """The family of that name; raises `ConfigError` naming those that there are."""
    live = live_families(known)
    found = live.get(ALIASES.get(name.strip(), name.strip()))
    if found is not None:
        return found
    if name.strip() in (families() if known is None else known):
        raise ConfigError(f"The policy {name!r} is told the future: it is a bound, and cannot run.", _listed(live))
    raise ConfigError(f"There is no policy {name!r}.", _listed(live))


def chosen_setting(text: str, known: Mapping[str, PolicyFamily] | None = None) -> tuple[PolicyFamily, Setting]:
    """The family and setting that `text` names; raises `ConfigError` naming those that there are."""
    name, colon, label = text.partition(":")
    family = chosen_family(name, known)
    if not colon and len(family.settings) == 1:
        return family, family.settings[0]
    wanted = _plain(label)
    for setting in family.settings:
        if _plain(setting.label) == wanted:
            return family, setting
    labels = ", ".join(f'"{written(family, setting)}"' for setting in family.settings)
    raise ConfigError(f"{text!r} does not say which {family.title}.", f"Write one of {labels}.")


def spread_settings(family: PolicyFamily, most: int) -> list[Setting]:
    """At most so many settings of a family, from the cheapest to the dearest."""
    count = len(family.settings)
    if count <= most:
        return list(family.settings)
    places = sorted({round(step * (count - 1) / (most - 1)) for step in range(most)}) if most > 1 else [count // 2]
    return [family.settings[place] for place in places]


def _plain(label: str) -> str:
    return "".join(label.split()).casefold()


def _listed(names: Iterable[str]) -> str:
    return f"Policies: {', '.join(names)}."

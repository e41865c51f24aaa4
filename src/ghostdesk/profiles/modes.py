"""Modes of work that a person defined and picks: what each needs, and when each is likely."""

from __future__ import annotations

from dataclasses import dataclass

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId
from ghostdesk.kernel.resources import NOTHING, Resources
from ghostdesk.profiles.location import checked_name

_MOST_APPS = 32
_MOST_FILE_TYPES = 32


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode of work such as "video editing".

    Args:
        name: what its owner calls it.
        apps: applications that it needs, the most important first.
        file_types: MIME types that are opened in it.
        resources: what it takes; zero where its owner did not say.
    """

    name: str
    apps: tuple[AppId, ...] = ()
    file_types: tuple[str, ...] = ()
    resources: Resources = NOTHING

    def __post_init__(self) -> None:
        checked_name(self.name)
        if len(self.apps) > _MOST_APPS or len(self.file_types) > _MOST_FILE_TYPES:
            raise ConfigError(
                f"The mode {self.name!r} is too long.",
                f"Give {_MOST_APPS} applications and {_MOST_FILE_TYPES} file types at most.",
            )
        if any(not 0 <= amount < float("inf") for amount in self.resources.as_tuple()):
            raise ConfigError(f"The mode {self.name!r} asks for less than nothing.", "Give amounts of 0 or more.")

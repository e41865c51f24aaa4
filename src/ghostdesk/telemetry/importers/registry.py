"""Finds importers by entry point, and the one that reads a given file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points

from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.telemetry.importers.opening import HistoryFile
from ghostdesk.telemetry.importers.protocol import Importer

GROUP = "ghostdesk.importers"


def load_importers() -> dict[str, Importer]:
    """Every importer that is installed, by the name of its entry point, in order of name.

    Raises:
        ImportFileError: an installed importer cannot be loaded.
    """
    found: dict[str, Importer] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            found[point.name] = point.load()()
        except Exception as error:  # a stranger's package: whatever it raises, say whose fault it is
            raise ImportFileError(
                f"The importer {point.name!r} ({point.value}) cannot be loaded: {error}.",
                "Mend or remove the package that brings it.",
            ) from error
    return found


def sniff_importer(file: HistoryFile, importers: Sequence[Importer]) -> Importer:
    """The one importer that knows the file by its first characters.

    Raises:
        ImportFileError: none does, or several do.
    """
    head = file.head()
    if not head and file.broken is not None:
        raise ImportFileError(f"{file.path} cannot be read: {file.broken}.", "Get a whole copy of it.")
    fitting = [importer for importer in importers if importer.sniff(head)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(importer.name for importer in fitting or importers)
    if fitting:
        raise ImportFileError(f"{file.path} fits several formats: {names}.", "Name one with --format.")
    what = "is not text" if "\0" in head or head.count("\ufffd") > len(head) // 20 else "begins like no known format"
    raise ImportFileError(
        f"{file.path} {what}.",
        f"Known formats: {names}; docs/reference/history-formats.md shows how each begins.",
    )

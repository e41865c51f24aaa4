"""Writes a report as JSON: whole or not at all, and without NaN, which JSON does not know."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TextIO

from ghostdesk.kernel.errors import ConfigError


def write_json(report: object, path: Path, standard_output: TextIO) -> None:
    """Write a report (dataclasses, mappings, sequences, numbers) to `path`, or to standard output for ``-``.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = json.dumps(plain(report), indent=1, allow_nan=False) + "\n"
    if str(path) == "-":
        standard_output.write(text)
        return
    write_text(text, path)


def write_text(text: str, path: Path) -> None:
    """Write a file beside its place and move it there: what was there stays if anything fails, or Ctrl-C is pressed.

    Raises:
        ConfigError: the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.", "Check the folder and its rights.") from None
    finally:
        beside.unlink(missing_ok=True)


def check_folder(path: Path | None) -> None:
    """Refuse a file whose folder is not there before the work is done; raises `ConfigError`."""
    if path is not None and str(path) != "-" and (path.is_dir() or not path.parent.is_dir()):
        raise ConfigError(f"{path} cannot be written there.", "Name a file in a folder that exists.")


def plain(value: Any) -> Any:
    """Objects and lists of plain values; NaN and infinities become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):  # numpy
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)

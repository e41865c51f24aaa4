"""The models of one ghostdesk on disk: numbered files, one of them live, and a history of why.

A model is one safetensors file with its own JSON header (see `profiles.model_file`); beside it is a small JSON file
with what was decided about it. `current` holds the name of the live one, and is replaced in one step. Nothing is ever
unpickled, and no file names a class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from ghostdesk.kernel.errors import ConfigError, NotFound
from ghostdesk.profiles.features import FloatArray
from ghostdesk.profiles.model_file import Model, ModelHeader, model_bytes, model_version, read_model
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.model_file import (
    CurveHeader,
    StoredCurves,
    curve_models_bytes,
    read_curve_models,
)
from ghostdesk.training.files import private_folder, sole_user, told, write_whole

_FILE: Final = re.compile(r"(\d{4,})-([0-9a-f]{16})\.safetensors")
_CURRENT, _HISTORY, _LOCK = "current", "promotions.jsonl", "lock"
_MOST_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One model that is kept.

    Args:
        number: 1 for the first.
        digest: of the file, 16 hexadecimal digits.
        path: the file.
        live: whether the service uses it.
        problem: why it cannot be used; empty for a good one.
        trained_at_s: UTC seconds; None when it cannot be read.
        metrics: as in its header.
        verdict: what the comparison with the model before it said.
        gate: the comparison's figures.
    """

    number: int
    digest: str
    path: Path
    live: bool = False
    problem: str = ""
    trained_at_s: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    verdict: str = ""
    gate: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as "0003"."""
        return f"{self.number:04d}"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of the live model: when, from which to which (empty: none), and why."""

    time_s: float
    before: str
    after: str
    reason: str


class _Header(Protocol):
    @property
    def trained_at_s(self) -> float: ...

    @property
    def metrics(self) -> Mapping[str, float]: ...


class _Kept(Protocol):
    """What every kind of model tells of itself."""

    @property
    def header(self) -> _Header: ...

    @property
    def version(self) -> str: ...


M = TypeVar("M", bound=_Kept)


class Registry(Generic[M]):
    """A folder of models of one kind. Reading needs no lock; changes are one at a time.

    Args:
        folder: it is made with the first model.
    """

    option: ClassVar[str] = ""
    """What `ghostdesk model` needs to be told to mean this kind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def versions(self) -> list[ModelVersion]:
        """All that are kept, oldest first; damaged ones with their problem."""
        live = self._current_name()
        found = []
        for path in self._files():
            number, digest = _parts(path.name)
            found.append(self._version(path, number, digest, live=path.name == live))
        return sorted(found, key=lambda version: version.number)

    def version(self, name: str) -> ModelVersion:
        """One by number ("3", "0003") or by the beginning of its digest; raises `NotFound`."""
        wanted = name.strip().lower()
        all_of_them = self.versions()
        by_number = [one for one in all_of_them if wanted.isdigit() and one.number == int(wanted)]
        by_digest = [one for one in all_of_them if len(wanted) >= 6 and one.digest.startswith(wanted)]
        found = by_number or by_digest
        if len(found) != 1:
            known = ", ".join(one.name for one in all_of_them[-8:]) or "none yet"
            raise NotFound(f"There is no model {name!r}.", f"Models here: {known}. `ghostdesk train` makes one.")
        return found[0]

    def live(self) -> ModelVersion:
        """The live one; raises `NotFound` when there is none."""
        found = next((one for one in self.versions() if one.live), None)
        if found is None:
            raise NotFound("No model is live.", "`ghostdesk train` makes one; `ghostdesk model promote` chooses one.")
        return found

    def _parse(self, data: bytes) -> M:
        """The model in a file's bytes; raises `ConfigError` for whatever else it is."""
        raise NotImplementedError

    def _keep(self, data: bytes, verdict: str, gate: dict[str, Any] | None) -> ModelVersion:
        """Keep a model; it is not live yet. The very same model again gets no second number."""
        digest = model_version(data)
        with self._lock():
            numbers = [0]
            for path in self._files():
                number, known = _parts(path.name)
                if known == digest:
                    write_whole(path, data)  # it may have been damaged since
                    return self._version(path, number, digest, live=path.name == self._current_name())
                numbers.append(number)
            name = f"{max(numbers) + 1:04d}-{digest}"
            side = json.dumps({"verdict": verdict, "gate": gate or {}}, indent=1, allow_nan=False)
            write_whole(self._folder / f"{name}.json", side.encode())
            write_whole(self._folder / f"{name}.safetensors", data)
        return self.version(str(max(numbers) + 1))

    def promote(self, version: ModelVersion, reason: str, now_s: float) -> Promotion:
        """Make a model live; raises `ConfigError` when its file is damaged, and changes nothing then."""
        self.read(version)
        with self._lock():
            change = Promotion(now_s, self._number_of(self._current_name()), version.name, reason)
            with told(self._folder), (self._folder / _HISTORY).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(change)) + "\n")
            write_whole(self._folder / _CURRENT, f"{version.path.name}\n".encode())
        return change

    def rollback(self, now_s: float, reason: str = "rolled back by the operator") -> Promotion:
        """Make the model live that was so before the present one; again, the one before that.

        Raises:
            ConfigError: there is none before it that can be used.
        """
        earlier = self._before(self._number_of(self._current_name()))
        for name in earlier:
            try:
                version = self.version(name)
                return self.promote(version, reason, now_s)
            except (ConfigError, NotFound):
                continue
        raise ConfigError(
            "There is no earlier model that was live and can be used.",
            f"`ghostdesk model list{self.option}` shows what there is.",
        )

    def promotions(self) -> list[Promotion]:
        """Every change of the live model, oldest first; lines that cannot be read are passed over."""
        try:
            lines = (self._folder / _HISTORY).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                told_line = json.loads(line)
                found.append(
                    Promotion(
                        float(told_line["time_s"]), str(told_line["before"]), str(told_line["after"]),
                        str(told_line["reason"]),
                    )
                )  # fmt: skip
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def current(self) -> M | None:
        """The live model, None when there is none; raises `ConfigError` when it cannot be used."""
        name = self._current_name()
        if name is None:
            return None
        if not _FILE.fullmatch(name):
            raise ConfigError(
                f"{self._folder / _CURRENT} does not name a model of this folder.",
                f"Choose one: `ghostdesk model list{self.option}`, then `ghostdesk model promote{self.option} NUMBER`.",
            )
        return self._read(self._folder / name, _parts(name)[1])

    def stamp(self) -> str:
        """Changes when another model becomes the live one, or its file is written anew. Cheap; never raises."""
        try:
            name = self._current_name()
            if name is None or not _FILE.fullmatch(name):
                return name or ""
            found = (self._folder / name).stat()
            return f"{name} {found.st_mtime_ns} {found.st_size}"
        except (ConfigError, OSError) as error:
            return f"unreadable: {error}"

    def current_version(self) -> ModelVersion | None:
        """What is kept of the live one, None when there is none; other models are not read."""
        name = self._current_name()
        if name is None or not _FILE.fullmatch(name):
            return None
        number, digest = _parts(name)
        return self._version(self._folder / name, number, digest, live=True)

    def read(self, version: ModelVersion) -> M:
        """A model of this folder; raises `ConfigError` when its file is damaged or was changed."""
        return self._read(version.path, version.digest)

    def _read(self, path: Path, digest: str) -> M:
        mend = f"Roll back (`ghostdesk model rollback{self.option}`), or train anew."
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ConfigError(f"{path} is no model file: it is far too large.", mend)
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"The model {path} cannot be read: {error.strerror}.", mend) from None
        try:
            model = self._parse(data)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.cause}", mend) from error
        if model.version != digest:
            raise ConfigError(f"{path} was changed after it was written: its digest differs.", mend)
        return model

    def _version(self, path: Path, number: int, digest: str, *, live: bool) -> ModelVersion:
        side = _side(path.with_suffix(".json"))
        try:
            header = self._read(path, digest).header
        except ConfigError as error:
            return ModelVersion(number, digest, path, live, error.cause, **side)
        return ModelVersion(number, digest, path, live, "", header.trained_at_s, dict(header.metrics), **side)

    def _files(self) -> Sequence[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if _FILE.fullmatch(path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"{self._folder} cannot be read: {error.strerror}.", "Check its rights.") from None

    def _current_name(self) -> str | None:
        try:
            return (self._folder / _CURRENT).read_text(encoding="utf-8", errors="replace").strip()[:200]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{self._folder / _CURRENT} cannot be read: {error.strerror}.", "Check it.") from None

    def _number_of(self, name: str | None) -> str:
        return f"{_parts(name)[0]:04d}" if name and _FILE.fullmatch(name) else ""

    def _before(self, name: str) -> list[str]:
        """Those that were live before the present one became so, latest first: a rollback steps on an undone one."""
        stack: list[str] = []
        for change in self.promotions():
            if change.after in stack:
                del stack[stack.index(change.after) + 1 :]  # went back to it: what came after is undone
            else:
                stack.append(change.after)
        if name in stack:
            stack = stack[: stack.index(name)]
        return list(reversed(stack))

    def _lock(self) -> AbstractContextManager[None]:
        private_folder(self._folder)
        return sole_user(self._folder / _LOCK, "changes the models")


class ModelRegistry(Registry[Model]):
    """The models of the next application: `models` in the state folder."""

    def add(
        self, header: ModelHeader, weights: dict[str, FloatArray], verdict: str = "", gate: dict[str, Any] | None = None
    ) -> ModelVersion:
        """Keep a model; it is not live yet. The very same model again gets no second number."""
        return self._keep(model_bytes(header, weights), verdict, gate)

    def _parse(self, data: bytes) -> Model:
        return read_model(data)


class CurveRegistry(Registry[StoredCurves]):
    """The models of the usage curves: `models/curves` in the state folder."""

    option = " --curves"

    def add(
        self,
        header: CurveHeader,
        models: Mapping[str, CurveModel],
        verdict: str = "",
        gate: dict[str, Any] | None = None,
    ) -> ModelVersion:
        """Keep the models of some resources; they are not live yet. The very same again get no second number."""
        return self._keep(curve_models_bytes(header, models), verdict, gate)

    def _parse(self, data: bytes) -> StoredCurves:
        return read_curve_models(data)


def load_current(folder: Path) -> tuple[Model | None, str]:
    """The live model for the running service: None and no words when there is none, None and the problem otherwise.

    Never raises: the service goes on with the simple predictors.
    """
    try:
        return ModelRegistry(folder).current(), ""
    except ConfigError as error:
        return None, f"The trained model is not used: {error.cause} {error.mend}".strip()


def load_current_curves(folder: Path) -> tuple[Mapping[str, CurveModel], str]:
    """The live models of the usage curves by resource, and the problem where they cannot be used.

    Never raises: the service goes on with the plain mean of the simple predictors.
    """
    try:
        current = CurveRegistry(folder).current()
    except ConfigError as error:
        return {}, f"The trained usage curves are not used: {error.cause} {error.mend}".strip()
    return ({} if current is None else current.models), ""


def _parts(name: str) -> tuple[int, str]:
    found = _FILE.fullmatch(name)
    assert found is not None
    return int(found[1]), found[2]


def _side(path: Path) -> dict[str, Any]:
    try:
        told_side = json.loads(path.read_text(encoding="utf-8"))
        return {"verdict": str(told_side["verdict"]), "gate": dict(told_side["gate"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}

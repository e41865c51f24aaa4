"""Scores what is loaded ahead for people: hit rate and wasted bytes of each way to choose files, at several budgets.

The world that is judged: a session begins when a person opens a file after half an hour without. Before it, while the
desktop is warmed, a way to choose loads files within the budget; again when an application opens its first file of the
session, for that application, with what is left of the budget. What was loaded or opened stays until the session ends.
A hit is an opening, the first of its file in the session, of a file that was loaded; a byte is wasted that was loaded
and belongs to no file that the session opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Protocol

from ghostdesk.evaluate.files_reading import FileLog
from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.choose_files import FileBudget, choose_files
from ghostdesk.prefetch.file_history import FileOpened
from ghostdesk.prefetch.next_files import SESSION_GAP_S, LikelyFile, NextFiles

Asked = tuple[str, int]
"""A file and its size in bytes."""


class Chooser(Protocol):
    """A way to choose what to load, for one person."""

    def choose(self, now_s: float, app: AppId | None, session: Sequence[FileOpened], budget: FileBudget) -> list[Asked]:
        """What to load now, in this order.

        Args:
            app: the application that is launched; None while the desktop is warmed.
            session: what will be opened in the rest of this session: only the clairvoyant may look.
        """
        ...

    def learn(self, opened: FileOpened) -> None:
        """This was opened."""
        ...


class Mixture:
    """ghostdesk's own."""

    def __init__(self, zone: tzinfo) -> None:
        self.model = NextFiles(zone)
        self._asked: dict[AppId | None, tuple[LikelyFile, ...]] = {}

    def choose(self, now_s: float, app: AppId | None, session: Sequence[FileOpened], budget: FileBudget) -> list[Asked]:  # noqa: ARG002
        """By value per byte, of the likely ones."""
        likely = self.likely(now_s, app)
        return [(one.path, one.size_bytes) for one in choose_files(likely, budget).files]

    def likely(self, now_s: float, app: AppId | None) -> tuple[LikelyFile, ...]:
        """What may be opened; questions of the same moment share the answer."""
        if app not in self._asked:
            self._asked[app] = self.model.likely(now_s, app)
        return self._asked[app]

    def learn(self, opened: FileOpened) -> None:
        """See `Chooser.learn`."""
        self._asked.clear()
        self.model.apply(opened)


class Ranked:
    """Everything that was opened before, in an order: the latest first, or the most frequent first.

    Args:
        frequent: by number of openings, else by the last one.
        most: files that are loaded at most at a time.
    """

    def __init__(self, *, frequent: bool, most: int) -> None:
        self._frequent, self._most = frequent, most
        self._files: dict[str, tuple[int, float, int, AppId]] = {}

    def choose(self, now_s: float, app: AppId | None, session: Sequence[FileOpened], budget: FileBudget) -> list[Asked]:  # noqa: ARG002
        """See `Chooser.choose`."""
        known = [(path, one) for path, one in self._files.items() if app is None or one[3] == app]
        known.sort(key=lambda item: item[1][:2] if self._frequent else item[1][1], reverse=True)
        return [(path, one[2]) for path, one in known[: self._most]]

    def learn(self, opened: FileOpened) -> None:
        """See `Chooser.learn`."""
        times = self._files.get(opened.path, (0,))[0] + 1
        self._files[opened.path] = (times, opened.time_s, opened.size_bytes, opened.app)


class Nothing:
    """Loads nothing: what is opened for the first time in a session is always read from the disk."""

    def choose(self, now_s: float, app: AppId | None, session: Sequence[FileOpened], budget: FileBudget) -> list[Asked]:  # noqa: ARG002
        """Nothing."""
        return []

    def learn(self, opened: FileOpened) -> None:
        """Nothing."""


class Clairvoyant:
    """A bound: loads what the session will open, the smallest first. Files that are new then are loaded, too."""

    def choose(self, now_s: float, app: AppId | None, session: Sequence[FileOpened], budget: FileBudget) -> list[Asked]:  # noqa: ARG002
        """See `Chooser.choose`."""
        coming = {one.path: one.size_bytes for one in session if app is None or one.app == app}
        return sorted(coming.items(), key=lambda item: item[1])

    def learn(self, opened: FileOpened) -> None:
        """Nothing: it knows."""


FEW, MANY = 5, 10_000
BINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
"""Least probability of each bin of the calibration."""
WAYS: Mapping[str, Callable[[tzinfo], Chooser]] = {
    "ghostdesk": Mixture,
    "most recent 5": lambda _zone: Ranked(frequent=False, most=FEW),
    "most frequent 5": lambda _zone: Ranked(frequent=True, most=FEW),
    "most recent to the budget": lambda _zone: Ranked(frequent=False, most=MANY),
    "most frequent to the budget": lambda _zone: Ranked(frequent=True, most=MANY),
    "nothing": lambda _zone: Nothing(),
    "clairvoyant bound": lambda _zone: Clairvoyant(),
}


@dataclass
class FileScore:
    """What one way came to at one budget.

    Args:
        opens: first openings of a file in a session.
        known: of those, files that the person had opened before at all: no history can tell of the others.
        hits: of the openings, those of a loaded file.
        warm_hits: of the hits, those loaded while the desktop was warmed, before any application was known.
        loaded_bytes, wasted_bytes: in all sessions.
    """

    way: str
    budget_bytes: float
    sessions: int = 0
    opens: int = 0
    known: int = 0
    hits: int = 0
    warm_hits: int = 0
    loaded_bytes: int = 0
    wasted_bytes: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of the openings whose file was loaded."""
        return self.hits / self.opens if self.opens else 0.0

    @property
    def wasted_share(self) -> float:
        """Share of the loaded bytes that nobody opened."""
        return self.wasted_bytes / self.loaded_bytes if self.loaded_bytes else 0.0

    def add(self, other: FileScore) -> None:
        """Put another person's to it."""
        for name in ("sessions", "opens", "known", "hits", "warm_hits", "loaded_bytes", "wasted_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Forecasts of about this probability, and how often they came true."""

    forecast: float
    observed: float
    files: int


@dataclass(frozen=True)
class FilesReport:
    """All scores, and how the probabilities fared.

    Args:
        calibration_error: mean distance of forecast and observed share over all bins, weighed by files.
    """

    source: str
    people: int
    judged_share: float
    scores: tuple[FileScore, ...]
    calibration: tuple[CalibrationBin, ...] = ()
    calibration_error: float = 0.0
    notes: tuple[str, ...] = field(default=())


def evaluate_files(
    log: FileLog,
    budgets: Sequence[FileBudget],
    zone: tzinfo,
    *,
    judged_share: float = 0.2,
    ways: Sequence[str] = tuple(WAYS),
    progress: Callable[[int, int], None] = lambda _done, _whole: None,
) -> FilesReport:
    """Judge the last sessions of everybody; every way learns from what came before, and goes on learning.

    Args:
        judged_share: of each person's openings, the last so many are judged.
    """
    scores = {(way, place): FileScore(way, one.most_bytes) for way in ways for place, one in enumerate(budgets)}
    bins = [[0.0, 0.0, 0.0] for _ in BINS]
    for done, opens in enumerate(log.people.values()):
        sessions = sessions_of(opens)
        judged_from = len(opens) * (1.0 - judged_share)
        for way in ways:
            chooser, seen, known = WAYS[way](zone), 0, set[str]()
            for session in sessions:
                judged = [scores[way, at] for at in range(len(budgets))] if seen >= judged_from else None
                if judged and isinstance(chooser, Mixture):
                    _note_calibration(chooser, session[0], {one.path for one in session}, None, bins)
                _play(chooser, session, budgets, known, judged, bins)
                seen += len(session)
        progress(done + 1, len(log.people))
    table = tuple(CalibrationBin(s / n, h / n, int(n)) for s, h, n in bins if n)
    files = sum(one.files for one in table)
    error = sum(abs(one.forecast - one.observed) * one.files for one in table) / files if files else 0.0
    return FilesReport(log.source, len(log.people), judged_share, tuple(scores.values()), table, error, log.notes)


def sessions_of(opens: Sequence[FileOpened]) -> list[list[FileOpened]]:
    """Openings parted where a person opened nothing for `SESSION_GAP_S`."""
    sessions: list[list[FileOpened]] = []
    for one in opens:
        if sessions and one.time_s - sessions[-1][-1].time_s <= SESSION_GAP_S:
            sessions[-1].append(one)
        else:
            sessions.append([one])
    return sessions


def _play(
    chooser: Chooser,
    session: Sequence[FileOpened],
    budgets: Sequence[FileBudget],
    known: set[str],
    scores: Sequence[FileScore] | None,
    bins: list[list[float]],
) -> None:
    """One session: at every budget the same questions, and one person who learns."""
    loaded: list[dict[str, int]] = [{} for _ in budgets]
    warm: list[set[str]] = [set() for _ in budgets]
    begin_s = session[0].time_s
    if scores is not None:
        for place, budget in enumerate(budgets):
            _load(loaded[place], chooser.choose(begin_s, None, session, budget), budget, set())
            warm[place] = set(loaded[place])
    opened: set[str] = set()
    apps: set[AppId] = set()
    for at, one in enumerate(session):
        if scores is not None:
            if one.app not in apps:
                if isinstance(chooser, Mixture):
                    _note_calibration(chooser, one, {later.path for later in session[at:]}, one.app, bins)
                for place, budget in enumerate(budgets):
                    asked = chooser.choose(one.time_s, one.app, session[at:], budget)
                    _load(loaded[place], asked, budget, opened)
            if one.path not in opened:
                for place, score in enumerate(scores):
                    score.opens += 1
                    score.known += one.path in known
                    score.hits += one.path in loaded[place]
                    score.warm_hits += one.path in warm[place]
        apps.add(one.app)
        opened.add(one.path)
        known.add(one.path)
        chooser.learn(one)
    for place, score in enumerate(scores or ()):
        score.sessions += 1
        score.loaded_bytes += sum(loaded[place].values())
        score.wasted_bytes += sum(size for path, size in loaded[place].items() if path not in opened)


def _load(loaded: dict[str, int], asked: Sequence[Asked], budget: FileBudget, opened: set[str]) -> None:
    """Load what still fits, in this order; what is too large alone never is."""
    left_bytes = budget.most_bytes - sum(loaded.values())
    for path, size_bytes in asked:
        if path not in loaded and path not in opened and size_bytes <= min(left_bytes, budget.largest_bytes):
            loaded[path] = size_bytes
            left_bytes -= size_bytes


def _note_calibration(
    chooser: Mixture, at: FileOpened, coming: set[str], app: AppId | None, bins: list[list[float]]
) -> None:
    """How likely each file was said to be, and whether it was opened in what was left of the session."""
    for one in chooser.likely(at.time_s, app):
        into = bins[max(place for place, least in enumerate(BINS) if one.probability >= least)]
        into[0] += one.probability
        into[1] += one.path in coming
        into[2] += 1.0

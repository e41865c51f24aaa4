"""What scoring next-application methods found: as values for JSON, as tables, and as a reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from ghostdesk.evaluate.metrics import (
    BOOTSTRAP_RESAMPLES,
    ReliabilityBin,
    bootstrap_interval,
    calibration_error,
    macro_mean,
    micro_mean,
)
from ghostdesk.evaluate.next_app import Outcome, Scored
from ghostdesk.evaluate.next_app_scores import COLD_STEPS, Sums
from ghostdesk.evaluate.predictability import highest_hit_rate
from ghostdesk.evaluate.sequences import AppHistory, AppSequence
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId

_MEASURES: dict[str, Callable[[Sums], float]] = {
    "hr1": lambda sums: sums.hits[0],
    "hr3": lambda sums: sums.hits[1],
    "hr5": lambda sums: sums.hits[2],
    "mrr": lambda sums: sums.reciprocal_ranks,
    "log_loss_nats": lambda sums: sums.loss_nats,
}
_FEW_USERS = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % bootstrap interval by user; the ends are None with one user."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class MethodReport:
    """One method. `macro` and `micro` are by measure: hr1, hr3, hr5, mrr, log_loss_nats.

    Args:
        pooled: whether it also learns from other people.
        better_log_loss_by: how much lower its macro log loss is than that of the best method that knows one person
            only; None for that method itself.
        calibration_error: of the first choice; `calibration_error_every` of every application listed.
    """

    name: str
    pooled: bool
    steps: int
    macro: Mapping[str, Estimate]
    micro: Mapping[str, Estimate]
    better_log_loss_by: Estimate | None
    calibration_error: float | None
    calibration_error_every: float | None
    reliability: tuple[ReliabilityBin, ...]
    reliability_every: tuple[ReliabilityBin, ...]
    users: Mapping[UserId, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class NewUserReport:
    """A method on everybody's first steps, macro. `gain` is over the same method with nothing learnt from others."""

    name: str
    prior: str
    first_steps: int
    rates: Mapping[str, Estimate]
    gain: Mapping[str, Estimate] | None


@dataclass(frozen=True, slots=True)
class LimitReport:
    """What the data seems to allow, mean of users; see `predictability`.

    Args:
        entropy_bits: Lempel-Ziv entropy rate.
        highest_hit_rate: Fano's bound on HR@1 for it.
        best_log_loss_bits: log loss of the best method (macro), which no true entropy can be above by much.
        hit_rate_at_best_log_loss: the same bound, were that the entropy.
    """

    entropy_bits: float
    highest_hit_rate: float
    best_log_loss_bits: float
    hit_rate_at_best_log_loss: float


@dataclass(frozen=True, slots=True)
class NextAppReport:
    """Everything that was found."""

    source: str
    kind: str
    users: int
    sequences: int
    training_steps: int
    test_steps: int
    bootstrap_resamples: int
    wall_s: float
    notes: tuple[str, ...]
    methods: tuple[MethodReport, ...]
    new_users: tuple[NewUserReport, ...]
    limit: LimitReport | None


def next_app_report(
    history: AppHistory,
    sequences: Sequence[AppSequence],
    outcome: Outcome,
    pooled: Sequence[str],
    *,
    source: str,
    wall_s: float = 0.0,
) -> NextAppReport:
    """Put an outcome into figures.

    Args:
        history: as it was read, for its notes.
        sequences: those of its sequences that were scored.
        outcome: of `evaluate_next_app`.
        pooled: names of the methods that learn from others too.
        source: what was scored, for people.
        wall_s: how long it took.
    """
    users = {one.user for one in sequences}
    best_single = _best(outcome, [name for name in outcome.methods if name not in pooled])
    return NextAppReport(
        source=source,
        kind=str(history.kind),
        users=len(users),
        sequences=len(sequences),
        training_steps=sum(one.test_from for one in sequences),
        test_steps=sum(len(one.apps) - one.test_from for one in sequences),
        bootstrap_resamples=BOOTSTRAP_RESAMPLES,
        wall_s=round(wall_s, 2),
        notes=tuple(_notes(history, sequences, len(users))),
        methods=tuple(
            _method(name, scored, name in pooled, None if name == best_single else outcome.methods.get(best_single))
            for name, scored in outcome.methods.items()
        ),
        new_users=tuple(_new_users(outcome, pooled)),
        limit=_limit(outcome),
    )


def _notes(history: AppHistory, sequences: Sequence[AppSequence], users: int) -> list[str]:
    notes = history.notes.sentences()
    if history.users_left_out:
        notes.append(f"{history.users_left_out:,} users have too few steps to be scored.")
    if users < len({one.user for one in history.sequences}):
        notes.append(f"Only {users:,} of {len({one.user for one in history.sequences}):,} users were scored.")
    if users < _FEW_USERS:
        notes.append(f"{users} {'user' if users == 1 else 'users'}: intervals by user say little about other people.")
    if any(not one.test_from for one in sequences):
        notes.append("Some sequences have no training step: they are scored from a cold start.")
    return notes


def _method(name: str, scored: Scored, pooled: bool, rival: Scored | None) -> MethodReport:
    users = sorted(user for user, sums in scored.users.items() if sums.steps)
    counts = [float(scored.users[user].steps) for user in users]
    values = {key: [float(of(scored.users[user])) for user in users] for key, of in _MEASURES.items()}
    gain = None
    if rival is not None and users:
        theirs = [rival.users[user].loss_nats for user in users]
        saved = [other - own for other, own in zip(theirs, values["log_loss_nats"], strict=True)]
        gain = estimate(saved, counts, macro=True)
    first, every = scored.calibration.first.reliability(), scored.calibration.every.reliability()
    return MethodReport(
        name=name,
        pooled=pooled,
        steps=int(sum(counts)),
        macro={key: estimate(sums, counts, macro=True) for key, sums in values.items()},
        micro={key: estimate(sums, counts, macro=False) for key, sums in values.items()},
        better_log_loss_by=gain,
        calibration_error=_finite(calibration_error(first)),
        calibration_error_every=_finite(calibration_error(every)),
        reliability=tuple(first),
        reliability_every=tuple(every),
        users={
            user: {"steps": count, **{key: sums[place] / count for key, sums in values.items()}}
            for place, (user, count) in enumerate(zip(users, counts, strict=True))
        },
    )


def _new_users(outcome: Outcome, pooled: Sequence[str]) -> list[NewUserReport]:
    found = []
    for place, first in enumerate(COLD_STEPS):
        for name, scored in outcome.methods.items():
            alone = outcome.alone.get(name)
            with_others = _cold(scored, place)
            if not with_others:
                continue
            gain = None
            if alone is not None:
                without = _cold(alone, place)
                gain = _cold_estimates(with_others, without)
                found.append(NewUserReport(name, "none", first, _cold_estimates(without), None))
            prior = "other people" if name in pooled else "none"
            found.append(NewUserReport(name, prior, first, _cold_estimates(with_others), gain))
    return found


def _cold(scored: Scored, place: int) -> dict[UserId, Sums]:
    return {user: parts[place] for user, parts in sorted(scored.cold.items()) if parts[place].steps}


def _cold_estimates(sums: Mapping[UserId, Sums], less: Mapping[UserId, Sums] | None = None) -> dict[str, Estimate]:
    """Estimates of each hit rate, or of the difference to another method on the same steps."""
    counts = [float(one.steps) for one in sums.values()]
    found = {}
    for key in ("hr1", "hr3", "hr5"):
        of = _MEASURES[key]
        values = [float(of(one)) - (float(of(less[user])) if less is not None else 0.0) for user, one in sums.items()]
        found[key] = estimate(values, counts, macro=True)
    return found


def _limit(outcome: Outcome) -> LimitReport | None:
    best = _best(outcome, list(outcome.methods))
    users = [found for found in outcome.limits.values() if found]
    if not users or best not in outcome.methods:
        return None
    whole = float(len(users))
    bits = sum(sum(one.entropy_bits for one in found) / len(found) for found in users) / whole
    bound = sum(sum(one.highest_hit_rate for one in found) / len(found) for found in users) / whole
    sums = outcome.methods[best].users
    at_loss = []
    for user, found in outcome.limits.items():
        if found and sums[user].steps:
            apps = max(one.apps for one in found)
            at_loss.append(highest_hit_rate(sums[user].loss_nats / sums[user].steps / math.log(2), apps))
    return LimitReport(bits, bound, _loss(outcome.methods[best]) / math.log(2), sum(at_loss) / max(1, len(at_loss)))


def _best(outcome: Outcome, names: Sequence[str]) -> str:
    """The method of the lowest macro log loss; empty where there is none."""
    scored = [name for name in names if any(one.steps for one in outcome.methods[name].users.values())]
    return min(scored, key=lambda name: _loss(outcome.methods[name]), default="")


def _loss(scored: Scored) -> float:
    return macro_mean([one.loss_nats for one in scored.users.values()], [one.steps for one in scored.users.values()])


def estimate(sums: Sequence[float], counts: Sequence[float], *, macro: bool) -> Estimate:
    """The mean, macro or micro, and its interval by user."""
    value = (macro_mean if macro else micro_mean)(sums, counts)
    interval = bootstrap_interval(sums, counts, macro=macro)
    return Estimate(value, *((interval.low, interval.high) if interval else (None, None)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def tables(report: NextAppReport) -> list[Table]:
    """The report for a terminal: methods by mean of users, by mean of steps, and newcomers."""
    found = [
        _method_table(report, "macro", "mean of users"),
        _method_table(report, "micro", "mean of steps"),
    ]
    if report.new_users:
        found.append(_new_user_table(report))
    return found


def _method_table(report: NextAppReport, which: str, title: str) -> Table:
    table = Table(title=f"Next application, {title} ({report.users:,} users, {report.test_steps:,} steps)")
    table.add_column("method")
    for head in ("HR@1 \\[95 %]", "HR@3", "HR@5", "MRR", "log loss, nats \\[95 %]"):
        table.add_column(head, justify="right")
    if which == "macro":
        table.add_column("lower than the best single", justify="right")
    table.add_column("ECE", justify="right")
    for method in report.methods:
        rates: Mapping[str, Estimate] = method.macro if which == "macro" else method.micro
        row = [method.name + (" *" if method.pooled else ""), _with_interval(rates["hr1"])]
        row += [_plain(rates[key]) for key in ("hr3", "hr5", "mrr")]
        row.append(_with_interval(rates["log_loss_nats"]))
        if which == "macro":
            row.append("" if method.better_log_loss_by is None else _with_interval(method.better_log_loss_by))
        row.append("" if method.calibration_error is None else f"{100 * method.calibration_error:.1f} %")
        table.add_row(*row)
    if any(method.pooled for method in report.methods):
        table.caption = "* also learns from other people, never from those who are scored"
    return table


def _new_user_table(report: NextAppReport) -> Table:
    table = Table(title=f"New users: their first steps, from a cold start (mean of {report.users:,} users)")
    for head in ("first steps", "method", "learnt before from"):
        table.add_column(head)
    for head in ("HR@1", "HR@3", "HR@5", "gain in HR@3 \\[95 %]"):
        table.add_column(head, justify="right")
    for one in report.new_users:
        gain = "" if one.gain is None else _with_interval(one.gain["hr3"])
        rates = [_plain(one.rates[key]) for key in ("hr1", "hr3", "hr5")]
        table.add_row(str(one.first_steps), one.name, one.prior, *rates, gain)
    return table


def limit_sentence(limit: LimitReport) -> str:
    """What the data seems to allow, in words."""
    return (
        f"Entropy (Lempel-Ziv, Song et al. 2010): {limit.entropy_bits:.2f} bits a step, which allows HR@1 of "
        f"{limit.highest_hit_rate:.2f} at most; the best method loses {limit.best_log_loss_bits:.2f} bits, and were "
        f"that the entropy, {limit.hit_rate_at_best_log_loss:.2f}. Both are estimates."
    )


def _plain(one: Estimate) -> str:
    return f"{one.value:.3f}".replace("0.", ".", 1) if 0.0 <= one.value < 1.0 else f"{one.value:.3f}"


def _with_interval(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return _plain(one)
    return f"{_plain(one)} \\[{one.low:.3f}, {one.high:.3f}]"


def save_reliability_diagram(report: NextAppReport, path: Path) -> tuple[Path, ...]:
    """Draw the reliability of every method's first choice to `path` with the endings .png and .svg; gives the files.

    Raises `ConfigError` without matplotlib, or where the files cannot be written.
    """
    try:
        import matplotlib as mpl

        mpl.use("agg")
        from matplotlib import pyplot
    except ImportError:
        raise ConfigError("matplotlib is not installed.", "pip install 'ghostdesk[bench]'") from None
    figure, axes = pyplot.subplots(figsize=(7, 6), layout="constrained")
    try:
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
        for method in report.methods:
            xs, ys = [b.confidence for b in method.reliability], [b.frequency for b in method.reliability]
            error = "" if method.calibration_error is None else f" ({100 * method.calibration_error:.1f} %)"
            axes.plot(xs, ys, marker="o", markersize=3, linewidth=1, label=method.name + error)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the first choice", ylabel="share that came true")
        axes.set_title("Reliability, with expected calibration error", fontsize=11)
        axes.legend(fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        files = tuple(path.with_suffix(ending) for ending in (".png", ".svg"))
        for file in files:
            figure.savefig(file, dpi=150)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.", "Check the folder and its rights.") from None
    finally:
        pyplot.close(figure)
    return files

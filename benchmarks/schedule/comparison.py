"""A policy compared with the usual ones over many scenarios, and the targets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean, geometric_mean

from benchmarks.schedule.measure import Measured
from benchmarks.schedule.runs import Case, Run
from benchmarks.schedule.workloads import HARD, SILENT, SMALL_LOADS, STUDY, STUDY_LOADS

BACKOFF, ROUND_ROBIN, OLDEST_FIRST, CLAIRVOYANT = "exponential-backoff", "round-robin", "oldest-first", "clairvoyant"
COMPARED_WITH = (BACKOFF, ROUND_ROBIN, OLDEST_FIRST, CLAIRVOYANT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A policy on a case."""

    case: Case
    policy: str
    seeds: int
    means: Mapping[str, float]
    """Each figure of Measured: its mean over the seeds."""

    @property
    def mean(self) -> float:
        """The mean delay in seconds."""
        return self.means["mean_delay_seconds"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One figure of a policy, and its target."""

    group: str
    what: str
    value: float
    target: float | None = None
    more_is_better: bool = False

    @property
    def is_reached(self) -> bool | None:
        """Whether the value reaches the target; None without one."""
        if self.target is None:
            return None
        return self.value > self.target if self.more_is_better else self.value <= self.target


Table = Mapping[tuple[Case, str], Row]
"""The rows by case and policy."""


def table_of(runs: Iterable[Run]) -> Table:
    """The rows of runs. Runs in which no order counts have none."""
    by_key: dict[tuple[Case, str], list[Run]] = {}
    for run in runs:
        if run.measured.mean_delay_seconds is not None:
            by_key.setdefault((run.case, run.policy), []).append(run)
    return {key: _row(*key, same) for key, same in by_key.items()}


def findings(table: Table, policy: str) -> list[Finding]:
    """A policy against the others, for each group of workloads that was run with all policies to compare with."""
    cases = _complete(table, policy)
    study = [case for case in cases if case.workload in STUDY and case.load in STUDY_LOADS]
    silent = [case for case in cases if case.workload in SILENT and case.load not in SMALL_LOADS]
    hard = [case for case in cases if case.workload in HARD and case.load not in SMALL_LOADS]
    small = [case for case in cases if case.load in SMALL_LOADS]
    return [
        *_against_baselines("study", study, table, policy, (0.515, 0.715, None, 1.10, 1.05)),
        *_extremes(study, table, policy),
        *_against_baselines("silent", silent, table, policy, (None, None, 0.85, 1.05, None)),
        *_against_baselines("hard", hard, table, policy, (None, None, None, None, None)),
        *_against_baselines("5 to 50 a minute", small, table, policy, (None, None, 0.90, None, None)),
        *_worst("all above 5 a minute", [case for case in cases if case.load > 5], table, policy, 1.10),
        *_worst("1 and 5 a minute", [case for case in cases if case.load <= 5], table, policy, 1.20),
    ]


def _row(case: Case, policy: str, runs: Sequence[Run]) -> Row:
    means = {one.name: fmean(getattr(run.measured, one.name) for run in runs) for one in fields(Measured)}
    return Row(case=case, policy=policy, seeds=len(runs), means=means)


def _complete(table: Table, policy: str) -> list[Case]:
    cases = dict.fromkeys(case for case, _ in table)
    return [case for case in cases if all((case, name) in table for name in (policy, *COMPARED_WITH))]


def _ratios(
    cases: Sequence[Case], table: Table, policy: str, others: Sequence[str], key: Callable[[Row], float]
) -> list[float]:
    """The policy's figure on each case over the best of the others' figures."""
    return [key(table[case, policy]) / min(key(table[case, other]) for other in others) for case in cases]


def _against_baselines(
    group: str, cases: Sequence[Case], table: Table, policy: str, targets: tuple[float | None, ...]
) -> list[Finding]:
    if not cases:
        return []
    *of_means, of_worst, of_p99 = targets
    found = [
        ("mean against backoff, geometric mean", (BACKOFF,), _mean),
        ("mean against round robin, geometric mean", (ROUND_ROBIN,), _mean),
        ("mean against the better of the two, geometric mean", (BACKOFF, ROUND_ROBIN), _mean),
        ("p99 against the better of the two, geometric mean", (BACKOFF, ROUND_ROBIN), _p99),
    ]
    means = [
        Finding(group=group, what=what, value=geometric_mean(_ratios(cases, table, policy, others, key)), target=target)
        for (what, others, key), target in zip(found, (*of_means, of_p99), strict=True)
    ]
    return [*means, *_worst(group, cases, table, policy, of_worst)]


def _worst(group: str, cases: Sequence[Case], table: Table, policy: str, target: float | None) -> list[Finding]:
    if not cases:
        return []
    better = _ratios(cases, table, policy, (BACKOFF, ROUND_ROBIN), _mean)
    worst_case = cases[better.index(max(better))]
    what = f"mean against the better of the two, worst ({worst_case.title})"
    return [Finding(group=group, what=what, value=max(better), target=target)]


def _extremes(cases: Sequence[Case], table: Table, policy: str) -> list[Finding]:
    """Against oldest first, and what is never learned."""
    found: list[Finding] = []
    blocked = [case for case in cases if case.workload != "outage"]
    if blocked:
        least = min(table[case, OLDEST_FIRST].mean / table[case, policy].mean for case in blocked)
        what = "oldest first's mean against ours, least (the outage aside)"
        found.append(Finding(group="study", what=what, value=least, target=10.0, more_is_better=True))
    never = "never_learned_share"
    learnable = [case for case in cases if not table[case, CLAIRVOYANT].means[never]]
    if learnable:
        worst = max(learnable, key=lambda case: table[case, policy].means[never])
        share = table[worst, policy].means[never]
        what = f"never learned where the clairvoyant learns all, worst ({worst.title})"
        found.append(Finding(group="study", what=what, value=share, target=0.005))
    return found


def _mean(row: Row) -> float:
    return row.mean


def _p99(row: Row) -> float:
    return row.means["p99_delay_seconds"]

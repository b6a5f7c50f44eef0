"""A policy compared with the usual ones over many scenarios, and the targets."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean

from benchmarks.schedule.runs import Case, Run
from benchmarks.schedule.workloads import HARD, SILENT, STUDY

BACKOFF, ROUND_ROBIN, OLDEST_FIRST, CLAIRVOYANT = "exponential-backoff", "round-robin", "oldest-first", "clairvoyant"
COMPARED_WITH = (BACKOFF, ROUND_ROBIN, OLDEST_FIRST, CLAIRVOYANT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A policy on a case: each figure is the mean over the seeds, the delays in seconds."""

    case: Case
    policy: str
    seeds: int
    mean: float
    median: float
    p90: float
    p99: float
    worst: float
    """The longest delay."""
    never_learned_share: float
    queries: float
    ids: float


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
    return [
        *_against_baselines("study", _complete(table, policy, STUDY), table, policy, (0.515, 0.715, None, 1.10, 1.05)),
        *_extremes(_complete(table, policy, STUDY), table, policy),
        *_against_baselines("silent", _complete(table, policy, SILENT), table, policy, (None, None, 0.85, 1.05, None)),
        *_against_baselines("hard", _complete(table, policy, HARD), table, policy, (None, None, None, 1.12, None)),
    ]


def _row(case: Case, policy: str, runs: Sequence[Run]) -> Row:
    def mean(key: str) -> float:
        return fmean(getattr(run.measured, key) for run in runs)

    return Row(
        case=case,
        policy=policy,
        seeds=len(runs),
        mean=mean("mean_delay_seconds"),
        median=mean("median_delay_seconds"),
        p90=mean("p90_delay_seconds"),
        p99=mean("p99_delay_seconds"),
        worst=mean("max_delay_seconds"),
        never_learned_share=mean("never_learned_share"),
        queries=mean("queries"),
        ids=mean("ids"),
    )


def _complete(table: Table, policy: str, workloads: Collection[str]) -> list[Case]:
    cases = dict.fromkeys(case for case, _ in table if case.workload in workloads)
    return [case for case in cases if all((case, name) in table for name in (policy, *COMPARED_WITH))]


def _against_baselines(
    group: str, cases: Sequence[Case], table: Table, policy: str, targets: tuple[float | None, ...]
) -> list[Finding]:
    if not cases:
        return []

    def ratios(key: Callable[[Row], float], *others: str) -> list[float]:
        return [key(table[case, policy]) / min(key(table[case, other]) for other in others) for case in cases]

    better = ratios(_mean, BACKOFF, ROUND_ROBIN)
    worst_case = cases[better.index(max(better))]
    found = (
        ("mean against backoff, geometric mean", geometric_mean(ratios(_mean, BACKOFF))),
        ("mean against round robin, geometric mean", geometric_mean(ratios(_mean, ROUND_ROBIN))),
        ("mean against the better of the two, geometric mean", geometric_mean(better)),
        (f"mean against the better of the two, worst ({worst_case.title})", max(better)),
        ("p99 against the better of the two, geometric mean", geometric_mean(ratios(_p99, BACKOFF, ROUND_ROBIN))),
    )
    return [
        Finding(group=group, what=what, value=value, target=target)
        for (what, value), target in zip(found, targets, strict=True)
    ]


def _extremes(cases: Sequence[Case], table: Table, policy: str) -> list[Finding]:
    """Against oldest first, and what is never learned."""
    found: list[Finding] = []
    blocked = [case for case in cases if case.workload != "outage"]
    if blocked:
        least = min(table[case, OLDEST_FIRST].mean / table[case, policy].mean for case in blocked)
        what = "oldest first's mean against ours, least (the outage aside)"
        found.append(Finding(group="study", what=what, value=least, target=10.0, more_is_better=True))
    learnable = [case for case in cases if not table[case, CLAIRVOYANT].never_learned_share]
    if learnable:
        worst = max(learnable, key=lambda case: table[case, policy].never_learned_share)
        share = table[worst, policy].never_learned_share
        what = f"never learned where the clairvoyant learns all, worst ({worst.title})"
        found.append(Finding(group="study", what=what, value=share, target=0.005))
    return found


def _mean(row: Row) -> float:
    return row.mean


def _p99(row: Row) -> float:
    return row.p99

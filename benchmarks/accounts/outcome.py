"""The figures of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.accounts.plan import Plan
from benchmarks.accounts.platform import Seen

_ENOUGH = 95.0
"""Per cent of its budget that every account is to get."""
_BATCH = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the parts have used, at one moment."""

    at: float
    cpu: dict[str, float]
    """Seconds of processor time, by part."""
    worker_mb: float
    """The resident memory of the largest worker process, in MB (10^6 bytes)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One run's figures."""

    plan: Plan
    seen: Seen
    shares: Sequence[float]
    """Per cent of its budget that each measured account got."""
    first_round_seconds: float
    before: Usage
    after: Usage
    failures: dict[str, int]

    @property
    def is_enough(self) -> bool:
        """Whether every account got its share and none was queried too early."""
        return min(self.shares) >= _ENOUGH and self.seen.violations == 0

    @property
    def seconds(self) -> float:
        """How long it was measured."""
        return self.after.at - self.before.at

    @property
    def processors(self) -> dict[str, float]:
        """How many processors each part kept busy, on average."""
        return {part: (self.after.cpu[part] - used) / self.seconds for part, used in self.before.cpu.items()}

    def as_json(self) -> dict[str, object]:
        """All of it as JSON values."""
        plan, queries = self.plan, sum(len(one) for one in self.seen.arrivals.values())
        return {
            "accounts": plan.accounts,
            "hanging": plan.hanging,
            "workers": plan.workers,
            "processes": plan.processes,
            "window_seconds": plan.window_seconds,
            "stands_for_accounts": plan.stands_for,
            "latency_seconds": plan.latency,
            "measured_accounts": len(self.shares),
            "min_share_percent": round(min(self.shares), 2),
            "median_share_percent": round(median(self.shares), 2),
            "accounts_below_95_percent": sum(share < _ENOUGH for share in self.shares),
            "violations": self.seen.violations,
            "smallest_spacing_seconds": self.seen.smallest_spacing,
            "queries": queries,
            "first_round_seconds": round(self.first_round_seconds, 1),
            "measured_seconds": round(self.seconds, 1),
            "processors_busy": {part: round(value, 3) for part, value in self.processors.items()},
            "worker_mb_at_start": round(self.before.worker_mb, 1),
            "worker_mb_at_end": round(self.after.worker_mb, 1),
            "complaints": self.failures,
            "reached": self.is_enough,
        }


def shares_of(plan: Plan, seen: Seen) -> list[float]:
    """Each measured account's ids over what a full batch in every window would be, from its first to its last query."""
    shares = []
    for account in plan.busy_accounts():
        arrivals = seen.arrivals.get(account.sid, [])
        if len(arrivals) < 2:
            shares.append(0.0)
            continue
        ids = sum(count for _, count in arrivals[:-1])
        windows = (arrivals[-1][0] - arrivals[0][0]) / plan.window_seconds
        shares.append(100 * ids / _BATCH / windows)
    return shares

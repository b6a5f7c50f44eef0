"""The ages at which orders are counted and scheduled: a geometric grid, from a quarter of a window to the age limit."""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from worker.domain.records.parameters import Rules

_EDGES = 90
_FIRST_EDGE_WINDOWS = 0.25
BUCKETS = 24
"""Buckets by the age at the last poll; bucket 0 holds the orders that no answered query polled yet."""


@dataclass(frozen=True, slots=True)
class Ages:
    """The edges of the bins, in seconds; bin k is from edge k up to edge k + 1, and the last one has no upper edge."""

    edges: tuple[float, ...]

    def bin_of(self, age_seconds: float) -> int:
        """The bin that an age falls into."""
        return max(0, bisect_right(self.edges, age_seconds) - 1)


@lru_cache(maxsize=8)
def ages_of(rules: Rules) -> Ages:
    """The grid for these rules. The end of the grace is an edge: most first polls come there."""
    first, last = rules.window_seconds * _FIRST_EDGE_WINDOWS, rules.unresolved_after_seconds
    if last <= 2 * first:
        return Ages((0.0, first, 2 * first))
    step = (last / first) ** (1 / (_EDGES - 2))
    steps = {first * step**number for number in range(_EDGES - 1)}
    near = min(steps, key=lambda edge: abs(edge - rules.grace_seconds))
    if first < rules.grace_seconds < last:
        steps = steps - {near} | {rules.grace_seconds}
    return Ages((0.0, *sorted(steps)))


@lru_cache(maxsize=8)
def bucket_edges(rules: Rules) -> tuple[float, ...]:
    """Where each bucket ends and the next begins, from bucket 1 on, in seconds.

    They begin at the grace, before which hardly anything is polled: the narrower a bucket, the fewer orders without
    priority come before others that have one. Where these rules change, an order keeps its bucket until its next poll:
    it may be chosen a little sooner or later, by the same priority.
    """
    first = max(rules.window_seconds, rules.grace_seconds)
    last = max(rules.unresolved_after_seconds, 2 * first)
    step = (last / first) ** (1 / (BUCKETS - 2))
    return tuple(first * step**number for number in range(1, BUCKETS - 1))


def bucket_at(submitted_at: datetime, queried_at: datetime | None, rules: Rules) -> int:
    """The bucket of an order that was last polled at `queried_at`."""
    return bucket_of(None if queried_at is None else (queried_at - submitted_at).total_seconds(), rules)


def bucket_of(age_at_last_poll: float | None, rules: Rules) -> int:
    """The bucket, 0 to 23, of an order whose last poll was at this age (seconds); None: never polled."""
    return 0 if age_at_last_poll is None else 1 + bisect_right(bucket_edges(rules), age_at_last_poll)

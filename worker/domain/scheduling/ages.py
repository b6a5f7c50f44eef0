"""The ages at which orders are counted and scheduled: a geometric grid, from a quarter of a window to the age limit.

The settlement curve says which share of all orders the platform has settled by which age.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import pairwise

from worker.domain.records.accounts import Rules

_EDGES = 90
_FIRST_EDGE_WINDOWS = 0.25
BUCKETS = 24
"""Buckets by the age at the last poll; bucket 0 holds the orders that no answered query polled yet."""
PRIOR_EXPONENT = 0.3
"""Before anything is learned, an order of age a is assumed to settle at a rate of 0.3 / a."""
PRIOR_LOST_SHARE = 0.05


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


@dataclass(frozen=True)
class Curve:
    """F: `settled[k]` is the share of orders, stuck ones included, that are settled by edge k of the ages."""

    ages: Ages
    settled: tuple[float, ...]
    lost_share: float
    """Of the settled orders, the share whose callback never comes: 0 to 1."""

    @cached_property
    def areas(self) -> tuple[float, ...]:
        """The integral of F from 0 to each edge, in seconds."""
        total, areas = 0.0, [0.0]
        for (left, right), (low, high) in zip(pairwise(self.ages.edges), pairwise(self.settled), strict=True):
            total += (right - left) * (low + high) / 2
            areas.append(total)
        return tuple(areas)

    def settled_at(self, age_seconds: float) -> float:
        """F at any age, linear between two edges."""
        edges, number = self.ages.edges, self.ages.bin_of(age_seconds)
        if number == len(edges) - 1:
            return self.settled[-1]
        share = (max(0.0, age_seconds) - edges[number]) / (edges[number + 1] - edges[number])
        return self.settled[number] + share * (self.settled[number + 1] - self.settled[number])


def prior_chance(ages: Ages, number: int) -> float:
    """The chance, before anything is learned, that an order which enters bin `number` open settles in it."""
    left, right = ages.edges[number], ages.edges[number + 1]
    return float(1 - (max(left, ages.edges[1] / 2) / right) ** PRIOR_EXPONENT)


def curve_of(ages: Ages, chances: Sequence[float], lost_share: float) -> Curve:
    """The curve whose bins have these chances to settle an order that enters them open."""
    open_share, settled = 1.0, [0.0]
    for chance in chances:
        open_share *= 1 - chance
        settled.append(1 - open_share)
    return Curve(ages, tuple(settled), lost_share)


def prior_curve(ages: Ages) -> Curve:
    """The curve before anything is learned."""
    chances = [prior_chance(ages, number) for number in range(len(ages.edges) - 1)]
    return curve_of(ages, chances, PRIOR_LOST_SHARE)

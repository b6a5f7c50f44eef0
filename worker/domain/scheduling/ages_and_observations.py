"""The ages at which orders are counted and scheduled, and the observations of orders at these ages.

The ages are a geometric grid, from a quarter of a window to the age limit. The settlement curve gives the share of all
orders that the platform has settled by each age.

Three events are observed: an order comes in, a callback settles it, it is polled. An order that comes in long after its
submission may have had its callback already. Such an order is not counted in any cohort (the orders that were submitted
at about the same time), and its first poll is not observed. Its later polls are observed, because each of them follows
an earlier poll of ours.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import pairwise
from math import floor

from worker.domain.records.accounts import Rules
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Order, OrderState

_EDGES = 90
_FIRST_EDGE_WINDOWS = 0.25
BUCKETS = 24
"""The number of buckets into which orders are divided by their age at the last poll. Bucket 0 holds the orders that no
answered query polled yet."""
PRIOR_EXPONENT = 0.3
"""Before anything is learned, an order of age a is assumed to settle at a rate of 0.3 / a."""
PRIOR_LOST_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Ages:
    """The edges of the bins, in seconds. Bin k is from edge k up to edge k + 1; the last bin has no upper edge."""

    edges: tuple[float, ...]

    def bin_of(self, age_seconds: float) -> int:
        """The bin that an age falls into."""
        return max(0, bisect_right(self.edges, age_seconds) - 1)


@lru_cache(maxsize=8)
def ages_of(rules: Rules) -> Ages:
    """The grid for these rules. The end of the grace is an edge, because most first polls happen then."""
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
    """The edges between the buckets from bucket 1 on, in seconds.

    In a narrow bucket, few orders without a priority come before orders with one. So no edge is spent on ages below the
    grace, at which hardly any order is polled. If the rules change, an order keeps its old bucket until its next poll.
    A batch may then pick the order a little sooner or later, but its priority stays the same.
    """
    first = max(rules.window_seconds, rules.grace_seconds)
    last = max(rules.unresolved_after_seconds, 2 * first)
    step = (last / first) ** (1 / (BUCKETS - 2))
    return tuple(first * step**number for number in range(1, BUCKETS - 1))


def bucket_at(submitted_at: datetime, queried_at: datetime | None, rules: Rules) -> int:
    """The bucket of an order that was last polled at `queried_at`."""
    return bucket_of(None if queried_at is None else (queried_at - submitted_at).total_seconds(), rules)


def bucket_of(age_at_last_poll: float | None, rules: Rules) -> int:
    """The bucket, 0 to 23, of an order whose last poll was at this age in seconds; the age is None if it was never
    polled."""
    return 0 if age_at_last_poll is None else 1 + bisect_right(bucket_edges(rules), age_at_last_poll)


@dataclass(frozen=True)
class Curve:
    """The settlement curve F: `settled[k]` is the share of orders, including stuck ones, that are settled by edge k."""

    ages: Ages
    settled: tuple[float, ...]
    lost_share: float
    """The share of settled orders whose callback never comes, 0 to 1."""

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
    """The chance that an order which enters bin `number` open settles in that bin, before anything is learned."""
    left, right = ages.edges[number], ages.edges[number + 1]
    return float(1 - (max(left, ages.edges[1] / 2) / right) ** PRIOR_EXPONENT)


def curve_of(ages: Ages, chances: Sequence[float], lost_share: float) -> Curve:
    """The curve that follows from `chances`: for each bin, the chance that an order which enters the bin open settles
    in it."""
    open_share, settled = 1.0, [0.0]
    for chance in chances:
        open_share *= 1 - chance
        settled.append(1 - open_share)
    return Curve(ages, tuple(settled), lost_share)


def prior_curve(ages: Ages) -> Curve:
    """The curve before anything is learned."""
    chances = [prior_chance(ages, number) for number in range(len(ages.edges) - 1)]
    return curve_of(ages, chances, PRIOR_LOST_SHARE)


COHORT_WINDOWS = 10
NEVER = -1
"""The value of `Poll.last` if the order was never polled before."""


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll of an order: the order's cohort, the bin of its age at the poll before this one, and the bin at this
    poll."""

    cohort: int
    last: int
    bin: int
    is_hit: bool
    """Whether the poll found the order settled."""


@dataclass(slots=True)
class Observations:
    """Counts of what happened since the last fold (`Learned.fold`)."""

    submitted: Counter[int] = field(default_factory=Counter)
    """Orders that came in, by cohort."""
    called_back: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Orders that a callback settled, by cohort and by the bin of their age at that time."""
    polls: Counter[Poll] = field(default_factory=Counter)

    def add(self, other: "Observations") -> None:
        """Add other observations."""
        self.submitted.update(other.submitted)
        self.called_back.update(other.called_back)
        self.polls.update(other.polls)

    def __bool__(self) -> bool:
        return bool(self.submitted or self.called_back or self.polls)


def cohort_seconds(rules: Rules) -> float:
    """The span of one cohort, in seconds."""
    return COHORT_WINDOWS * rules.window_seconds


def cohort_of(submitted: float, rules: Rules) -> int:
    """The cohort of an order that was submitted at this time (seconds since the epoch)."""
    return floor(submitted / cohort_seconds(rules))


def is_seen_from_the_start(order: Order, rules: Rules) -> bool:
    """Whether an order came in within its grace (at least a window) after submission, and was never reopened."""
    return (
        order.reopened_at is None
        and order.created_at is not None
        and _came_in_young(order.submitted_at, order.created_at, rules)
    )


def observe_arrivals(arrivals: Iterable[tuple[str, datetime]], now: datetime, rules: Rules) -> dict[str, Observations]:
    """Observations of new orders, by account. `arrivals` holds the account and the submission time of each order."""
    observations: dict[str, Observations] = {}
    for account, submitted_at in arrivals:
        if _came_in_young(submitted_at, now, rules):
            observations.setdefault(account, Observations()).submitted[_cohort(submitted_at, rules)] += 1
    return observations


def observe_callbacks(changes: Iterable[Change], now: datetime, rules: Rules) -> dict[str, Observations]:
    """Observations of callbacks, by account: the ages at which they settled pending orders."""
    observations: dict[str, Observations] = {}
    for change in changes:
        order = change.before
        if change.settles and order.state is OrderState.PENDING and is_seen_from_the_start(order, rules):
            key = (_cohort(order.submitted_at, rules), _bin(order, now, rules))
            observations.setdefault(order.account, Observations()).called_back[key] += 1
    return observations


def observe_polls(changes: Iterable[Change], sent_at: datetime, rules: Rules) -> Observations:
    """Observations of an answer's polls. `changes` are the changes to the orders with a believed item.

    The age at a poll is the order's age when the query was sent. So the time that a poll covers begins where the time
    of the poll before it ended.
    """
    observations = Observations()
    for change in changes:
        order = change.before
        if order.reopened_at is not None:
            # The order had a result before, so it does not show when orders settle.
            continue
        if order.queried_at is not None:
            last = _bin(order, order.queried_at, rules)
        elif is_seen_from_the_start(order, rules):
            last = NEVER
        else:
            continue
        observations.polls[
            Poll(_cohort(order.submitted_at, rules), last, _bin(order, sent_at, rules), change.settles)
        ] += 1
    return observations


def _came_in_young(submitted_at: datetime, arrived_at: datetime, rules: Rules) -> bool:
    return (arrived_at - submitted_at).total_seconds() < max(rules.grace_seconds, rules.window_seconds)


def _cohort(submitted_at: datetime, rules: Rules) -> int:
    return cohort_of(submitted_at.timestamp(), rules)


def _bin(order: Order, at: datetime, rules: Rules) -> int:
    return ages_of(rules).bin_of((at - order.submitted_at).total_seconds())

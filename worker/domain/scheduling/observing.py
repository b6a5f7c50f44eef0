"""What is observed of an order, to learn from: that it came in, that a callback settled it, that it was polled.

An order that was submitted long before it came in may have had its callback before that. Such an order is counted in
no cohort, and only its polls after the first are observed, as each of these follows one of our own.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from math import floor

from worker.domain.records.accounts import Rules
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Order, OrderState
from worker.domain.scheduling.ages import ages_of

COHORT_WINDOWS = 10
NEVER = -1
"""The bin of the last poll of an order that was never polled."""


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll of an order of a cohort: the bins of its age, at the last poll and at this one."""

    cohort: int
    last: int
    bin: int
    is_hit: bool
    """Whether it found the order settled."""


@dataclass(slots=True)
class Observations:
    """What happened since the last fold."""

    submitted: Counter[int] = field(default_factory=Counter)
    """Orders by cohort."""
    called_back: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Orders by cohort, and by the bin of the age at which their callback settled them."""
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
    """Whether an order came in within its grace, or within a window where the grace is shorter."""
    return (
        order.reopened_at is None
        and order.created_at is not None
        and _came_in_young(order.submitted_at, order.created_at, rules)
    )


def observe_arrivals(arrivals: Iterable[tuple[str, datetime]], now: datetime, rules: Rules) -> dict[str, Observations]:
    """Observations of new orders, by account. `arrivals` are (account, submitted at) of those that came in now."""
    observations: dict[str, Observations] = {}
    for account, submitted_at in arrivals:
        if _came_in_young(submitted_at, now, rules):
            observations.setdefault(account, Observations()).submitted[_cohort(submitted_at, rules)] += 1
    return observations


def observe_callbacks(changes: Iterable[Change], now: datetime, rules: Rules) -> dict[str, Observations]:
    """Observations of callbacks, by account: at which age they settled pending orders."""
    observations: dict[str, Observations] = {}
    for change in changes:
        order = change.before
        if change.settles and order.state is OrderState.PENDING and is_seen_from_the_start(order, rules):
            key = (_cohort(order.submitted_at, rules), _bin(order, now, rules))
            observations.setdefault(order.account, Observations()).called_back[key] += 1
    return observations


def observe_polls(changes: Iterable[Change], sent_at: datetime, rules: Rules) -> Observations:
    """Observations of an answer's polls. `changes` are those of the orders with a believed item.

    An order's ages are those at which queries were sent, so that one poll begins where the last one ended.
    """
    observations = Observations()
    for change in changes:
        order = change.before
        if order.reopened_at is not None:
            # Its result was known once: it says nothing of when orders settle.
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

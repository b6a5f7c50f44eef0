"""Pick the due orders for a batch: those of highest poll priority, and a few that have waited longest.

A batch is chosen from the orders at both ends of each age bucket: those that became due first, and those that became
due last. The two ends differ most when the platform has just changed. Most buckets give a batch few orders or none. So
at first, one page is read at each end. If the batch would use up the first page of a bucket, the next page of this
bucket is read, too.

Positions that no due order needs are used to poll orders that are not due yet. The query is sent anyway, so this costs
nothing at the platform. An order may have settled even if the account's curve does not expect it: after a standstill,
the platform settles orders of every age at once. So these positions go to the orders whose last poll is most outdated:
it was longest ago, relative to the order's age at that poll.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from heapq import nlargest, nsmallest

from worker.domain.records.accounts import Rules
from worker.domain.records.queries import Candidate, Pick, Reason
from worker.domain.scheduling.poll_schedule import SHORTEST_WAIT_WINDOWS, PollSchedule

PAGE_SIZE = 25
"""How many orders are read at first from each end of an age bucket.

Some positions of a batch are for the orders that have been due for longest. There are fewer of them than a page has
orders.
"""
LONGEST_WAITING_OF = 50
"""One position in this many is for the order that has been due for longest: by priority it might never be chosen."""
SPARE_PAGE_SIZE = 25
"""How many of the orders that become due next are read from each age bucket."""
LEAST_WAIT_OF_AGE = 0.01
"""An order may take a spare position only after this share of its age at the last poll has passed since that poll."""


def priority_of(candidate: Candidate, schedule: PollSchedule, now: datetime) -> float:
    """The poll priority of an order now: the seconds of delay that a poll saves on average."""
    polled = candidate.queried_at
    last = None if polled is None else max(0.0, (polled - candidate.submitted_at).total_seconds())
    priority = schedule.priority(last, (now - candidate.submitted_at).total_seconds())
    return priority * schedule.factors.factor(candidate.submitted_at.timestamp(), last)


def page_size_of(age_bucket: int, limit: int) -> int:
    """How many orders of a bucket are read at first. First polls (bucket 0) have the highest priority and may fill a
    batch."""
    return limit if age_bucket == 0 else min(PAGE_SIZE, limit)


def last_page_size_of(age_bucket: int, limit: int) -> int:
    """How many of a bucket's orders that became due last are read. It is 0 for first polls (bucket 0), because there
    the orders that became due first have the highest priority."""
    return 0 if age_bucket == 0 else min(PAGE_SIZE, limit)


def exhausted(pages: Iterable[Candidate], picks: Iterable[Pick], limit: int) -> tuple[int, ...]:
    """The age buckets whose first page a batch would use up. The orders after that page may have enough priority, too.

    `pages`: the orders of the first pages at both ends, all of one id kind. `limit`: how many orders a batch may hold.
    Orders with a requested check were also read by another index. So if the batch leaves one of them out, this does not
    show that the page has an order left.
    """
    chosen = {pick.order_id for pick in picks}
    taken, left = defaultdict[int, list[Candidate]](list), defaultdict[int, list[Candidate]](list)
    for candidate in pages:
        is_taken = candidate.order_id in chosen or candidate.check_requested_at is not None
        (taken if is_taken else left)[candidate.age_bucket].append(candidate)

    def is_exhausted(bucket: int) -> bool:
        # Count the taken orders before the first one that is left out. The orders of the page at the other end became
        # due later than those of the first page, so the count stays the same if one of them is left out.
        first_left = min(map(by_due, left[bucket]), default=None)
        before = sum(first_left is None or by_due(candidate) < first_left for candidate in taken[bucket])
        return before >= page_size_of(bucket, limit)

    return tuple(
        bucket
        for bucket in sorted(taken)
        if len(taken[bucket]) >= page_size_of(bucket, limit) < limit and is_exhausted(bucket)
    )


def pick_batch(
    waiting: Sequence[Candidate], limit: int, *, priority: Callable[[Candidate], float], batch_number: int
) -> tuple[Pick, ...]:
    """Pick at most `limit` due orders of one id kind, sorted by reason. `waiting` holds each order once.

    `priority` returns the seconds of delay that a poll saves. Orders with a requested check fill at most half of the
    batch. Of the remaining positions, every fiftieth goes to the order that has been due for longest, the others to the
    orders of highest priority. Unresolved orders get only positions for requested checks. If no pending order waits,
    there is at least one of these.
    """
    priorities = {candidate.order_id: priority(candidate) for candidate in waiting}
    requested = [candidate for candidate in waiting if candidate.check_requested_at]
    pending = [candidate for candidate in waiting if not candidate.is_unresolved]
    checked = nsmallest(_half(limit, batch_number) or int(not pending), requested, key=_by_request)
    left = _without(pending, checked)
    remaining = limit - len(checked)
    # If all orders fit, no position is kept for those that have been due for longest.
    kept = _longest(remaining, batch_number) if len(left) > remaining else 0
    longest = nsmallest(kept, left, key=by_due)

    def by_priority(candidate: Candidate) -> tuple[float, datetime, int]:
        # If two orders have the same priority, the one that has been due for longer comes first.
        return (-priorities[candidate.order_id], candidate.due_at, candidate.order_id)

    best = nsmallest(remaining - kept, _without(left, longest), key=by_priority)
    return tuple(
        Pick(order_id=candidate.order_id, reason=reason, priority=priorities[candidate.order_id])
        for reason, chosen in ((Reason.CHECKED, checked), (Reason.PRIORITY, best), (Reason.LONGEST_DUE, longest))
        for candidate in chosen
    )


def _without(candidates: Sequence[Candidate], taken: Sequence[Candidate]) -> Sequence[Candidate]:
    if not taken:
        return candidates
    ids = {candidate.order_id for candidate in taken}
    return [candidate for candidate in candidates if candidate.order_id not in ids]


def _half(limit: int, batch_number: int) -> int:
    return limit // 2 if limit > 1 else batch_number % 2


def _longest(remaining: int, batch_number: int) -> int:
    """How many positions of a batch are for the orders that have been due for longest.

    Over fifty batches it is one position in fifty, even in small batches. Each run of fifty batches begins the count at
    another value. Otherwise, an id kind that gets every fifth batch might get all of these positions.
    """
    run, position = divmod(batch_number, LONGEST_WAITING_OF)
    turn = (position + run) % LONGEST_WAITING_OF
    return (turn + 1) * remaining // LONGEST_WAITING_OF - turn * remaining // LONGEST_WAITING_OF


def by_due(candidate: Candidate) -> tuple[datetime, int]:
    """The sort key that puts the order that has been due for longest first."""
    return (candidate.due_at, candidate.order_id)


def _by_request(candidate: Candidate) -> tuple[datetime, int]:
    return (candidate.check_requested_at or candidate.due_at, candidate.order_id)


def fill_spare_positions(
    candidates: Sequence[Candidate], free: int, schedule: PollSchedule, now: datetime, rules: Rules
) -> tuple[Pick, ...]:
    """Pick at most `free` of these orders, which are not due.

    The picked orders have waited longest since the last poll, relative to their age at that poll. Orders that were
    polled less than a window ago are left out. So are orders that were never polled: their callbacks may still come.
    """
    waited = _waited(candidates, now, rules)
    return tuple(
        Pick(order_id=candidate.order_id, reason=Reason.SPARE, priority=priority_of(candidate, schedule, now))
        for _, _, candidate in nlargest(free, waited)
    )


def _waited(candidates: Sequence[Candidate], now: datetime, rules: Rules) -> Iterator[tuple[float, int, Candidate]]:
    """Each order that may be polled, with the time since the last poll divided by the age at that poll.

    The order's id is negated, so that the smaller id wins if two quotients are equal.
    """
    for candidate in candidates:
        if candidate.queried_at is None:
            continue
        waited = (now - candidate.queried_at).total_seconds()
        # If the grace is very short, an order may be polled at an age of zero. So its age counts as at least a window.
        age = max((candidate.queried_at - candidate.submitted_at).total_seconds(), rules.window_seconds)
        if waited >= max(rules.window_seconds * SHORTEST_WAIT_WINDOWS, LEAST_WAIT_OF_AGE * age):
            yield waited / age, -candidate.order_id, candidate

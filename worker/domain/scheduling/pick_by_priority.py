"""Which due orders fill a batch: those of highest poll priority, and a few that have waited longest.

A batch is chosen from the orders at both ends of each age bucket: those that became due first, and those that became
due last. The two differ most where the platform has just changed. Most buckets give few orders or none: a page of each
end is read, then the next page of those buckets whose first page the batch would exhaust.

In positions that no due order needs, orders are polled that are not due yet: in a query that is sent anyway it costs
nothing at the platform. What the account's curve expects nothing of may have settled all the same: after a standstill
the platform settles orders of every age at once. So the positions go to the orders whose last poll says least about
them by now.
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

More than a batch keeps positions for the orders that have been due for longest.
"""
LONGEST_WAITING_OF = 50
"""One of so many positions is for the order that has been due for longest: by priority it might never be chosen."""
SPARE_PAGE_SIZE = 25
"""How many orders of each age bucket are read, of those that become due next."""
LEAST_WAIT_OF_AGE = 0.01
"""No order is polled in a spare position before this share of its age at the last poll has passed."""


def priority_of(candidate: Candidate, schedule: PollSchedule, now: datetime) -> float:
    """The poll priority of an order now: the seconds of delay that a poll saves on the average."""
    polled = candidate.queried_at
    last = None if polled is None else max(0.0, (polled - candidate.submitted_at).total_seconds())
    priority = schedule.priority(last, (now - candidate.submitted_at).total_seconds())
    return priority * schedule.factors.factor(candidate.submitted_at.timestamp(), last)


def page_size_of(age_bucket: int, limit: int) -> int:
    """How many orders of a bucket are read at first. First polls have the highest priority: they may fill a batch."""
    return limit if age_bucket == 0 else min(PAGE_SIZE, limit)


def last_page_size_of(age_bucket: int, limit: int) -> int:
    """How many of those that became due last are read. Of first polls none: the earliest have the highest priority."""
    return 0 if age_bucket == 0 else min(PAGE_SIZE, limit)


def exhausted(pages: Iterable[Candidate], picks: Iterable[Pick], limit: int) -> tuple[int, ...]:
    """The age buckets whose first page a batch would exhaust: orders after it may have a high enough priority, too.

    `pages`: the first pages of both ends, all of one id kind. Orders with a requested check were read by another index,
    too: where the batch leaves one out, that says nothing about the page. `limit`: how many orders a batch may hold.
    """
    chosen = {pick.order_id for pick in picks}
    taken, left = defaultdict[int, list[Candidate]](list), defaultdict[int, list[Candidate]](list)
    for candidate in pages:
        is_taken = candidate.order_id in chosen or candidate.check_requested_at is not None
        (taken if is_taken else left)[candidate.age_bucket].append(candidate)

    def is_exhausted(bucket: int) -> bool:
        # The page of those that became due last says nothing about the orders after the first page.
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
    """At most `limit` due orders of one id kind, in the order of their reasons. `waiting` holds each order once.

    Orders with a requested check fill at most half. Of the other positions every fiftieth goes to the order that has
    been due for longest, the rest to those of highest priority. `priority`: the seconds of delay that a poll saves.
    Unresolved orders get none of the other positions, unless nothing else waits.
    """
    priorities = {candidate.order_id: priority(candidate) for candidate in waiting}
    requested = [candidate for candidate in waiting if candidate.check_requested_at]
    pending = [candidate for candidate in waiting if not candidate.is_unresolved]
    checked = nsmallest(_half(limit, batch_number) or int(not pending), requested, key=_by_request)
    left = _without(pending, checked)
    remaining = limit - len(checked)
    # Where all fit, no position is kept.
    kept = _longest(remaining, batch_number) if len(left) > remaining else 0
    longest = nsmallest(kept, left, key=by_due)

    def by_priority(candidate: Candidate) -> tuple[float, datetime, int]:
        # Of two of the same priority, the one that has been due for longer.
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
    """How many positions of a batch are for the longest due: over fifty batches one in fifty, also of small batches.

    Each run of fifty batches starts at another one: else an id kind that gets every fifth batch might have them all.
    """
    run, position = divmod(batch_number, LONGEST_WAITING_OF)
    turn = (position + run) % LONGEST_WAITING_OF
    return (turn + 1) * remaining // LONGEST_WAITING_OF - turn * remaining // LONGEST_WAITING_OF


def by_due(candidate: Candidate) -> tuple[datetime, int]:
    """The sort key of what has been due for longest."""
    return (candidate.due_at, candidate.order_id)


def _by_request(candidate: Candidate) -> tuple[datetime, int]:
    return (candidate.check_requested_at or candidate.due_at, candidate.order_id)


def fill_spare_positions(
    candidates: Sequence[Candidate], free: int, schedule: PollSchedule, now: datetime, rules: Rules
) -> tuple[Pick, ...]:
    """At most `free` of these orders, which are not due: those that have waited longest for their age at the last poll.

    None that was polled less than a window ago, and none that was never polled: its callback may still come.
    """
    waited = _waited(candidates, now, rules)
    return tuple(
        Pick(order_id=candidate.order_id, reason=Reason.SPARE, priority=priority_of(candidate, schedule, now))
        for _, _, candidate in nlargest(free, waited)
    )


def _waited(candidates: Sequence[Candidate], now: datetime, rules: Rules) -> Iterator[tuple[float, int, Candidate]]:
    """Of those that may be polled: the time since the last poll over the age at it, with the smaller id first."""
    for candidate in candidates:
        if candidate.queried_at is None:
            continue
        waited = (now - candidate.queried_at).total_seconds()
        # A request may be answered at an age of nothing, where the grace is as short.
        age = max((candidate.queried_at - candidate.submitted_at).total_seconds(), rules.window_seconds)
        if waited >= max(rules.window_seconds * SHORTEST_WAIT_WINDOWS, LEAST_WAIT_OF_AGE * age):
            yield waited / age, -candidate.order_id, candidate

"""Which due orders fill a batch: those of highest poll priority, and a few that have waited longest.

A batch is chosen out of the orders at both ends of each age bucket: those that became due first, and those that became
due last, which differ most where the world has just changed. Most buckets give it few or none: a page of each end is
read, then more of those buckets only whose first page the batch would exhaust.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from heapq import nsmallest

from worker.domain.records.candidates import Candidate, Pick, Reason
from worker.domain.scheduling.poll_schedule import PollSchedule

PAGE_SIZE = 25
"""How many orders are read at first from each end of a age bucket.

A batch keeps fewer places than that for those due for longest.
"""
LONGEST_WAITING_OF = 50
"""One of so many places is for the order that has been due for longest: priority alone might never come to it."""


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
    """The age buckets whose first page a batch would exhaust: what stands behind it may have priority enough, too.

    `pages`: what was read at first of both ends, all of one id kind. Orders that somebody wants checked were read
    apart from their buckets, too: that they are left out says nothing of the page. `limit`: as many a batch may hold.
    """
    chosen = {pick.order_id for pick in picks}
    taken, left = defaultdict[int, list[Candidate]](list), defaultdict[int, list[Candidate]](list)
    for candidate in pages:
        is_taken = candidate.order_id in chosen or candidate.check_requested_at is not None
        (taken if is_taken else left)[candidate.age_bucket].append(candidate)

    def is_exhausted(bucket: int) -> bool:
        # What became due last says nothing of what stands behind the first page.
        first_left = min(map(_by_due, left[bucket]), default=None)
        before = sum(first_left is None or _by_due(candidate) < first_left for candidate in taken[bucket])
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

    Orders that somebody wants checked fill at most half; of the rest each fiftieth place goes to the order that has
    been due for longest, the others to those of highest priority. `priority`: the seconds of delay that a poll saves.
    """
    priorities = {candidate.order_id: priority(candidate) for candidate in waiting}
    requested = [candidate for candidate in waiting if candidate.check_requested_at]
    checked = nsmallest(_half(limit, batch_number), requested, key=_by_request)
    left = _without(waiting, checked)
    remaining = limit - len(checked)
    # Where all find a place, none is kept for anybody.
    kept = _longest(remaining, batch_number) if len(left) > remaining else 0
    longest = nsmallest(kept, left, key=_by_due)

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
    """How many of a batch's places: where they are no whole number, now one and now none.

    In each run of fifty batches at other ones: an id kind whose turn is every fifth would have them all otherwise.
    """
    run, position = divmod(batch_number, LONGEST_WAITING_OF)
    turn = (position + run) % LONGEST_WAITING_OF
    return (turn + 1) * remaining // LONGEST_WAITING_OF - turn * remaining // LONGEST_WAITING_OF


def _by_due(candidate: Candidate) -> tuple[datetime, int]:
    return (candidate.due_at, candidate.order_id)


def _by_request(candidate: Candidate) -> tuple[datetime, int]:
    return (candidate.check_requested_at or candidate.due_at, candidate.order_id)

"""Positions that no due order needs: orders that are not due yet are polled in them.

A poll in a query that is sent anyway costs nothing at the platform. What the account's curve expects nothing of may
have settled all the same: after a standstill the platform settles orders of every age at once. So the positions go to
the orders whose last poll says least about them by now.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from heapq import nlargest

from worker.domain.records.candidates import Candidate, Pick, Reason
from worker.domain.records.parameters import Rules
from worker.domain.scheduling.fill_batch import priority_of
from worker.domain.scheduling.poll_schedule import SHORTEST_WAIT_WINDOWS, PollSchedule

SPARE_PAGE_SIZE = 25
"""How many orders of each age bucket are read, of those that become due next."""
LEAST_WAIT_OF_AGE = 0.01
"""No order is polled in a spare position before this share of its age at the last poll has passed."""


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

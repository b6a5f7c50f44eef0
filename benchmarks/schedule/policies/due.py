"""Exponential backoff: every order has a time at which it is due."""

from collections.abc import Sequence
from heapq import heappop, heappush

from benchmarks.schedule.policies.pending import PendingOrders
from benchmarks.schedule.scenario import Scenario

FIRST_BACKOFF_SECONDS = 5 * 60.0
LONGEST_BACKOFF_SECONDS = 6 * 3600.0


class ExponentialBackoff(PendingOrders):
    """Due at the end of the grace, then 5 minutes after the first poll, doubling to 6 hours; due first goes first."""

    def __init__(self, scenario: Scenario) -> None:
        """For one scenario."""
        super().__init__(scenario)
        self._due: list[tuple[float, int]] = []
        self._next_wait_seconds: dict[int, float] = {}

    def choose(self, now: float, limit: int) -> Sequence[int]:
        """Those due for longest; `now` in seconds."""
        while self._never_polled and self._never_polled[0][0] <= now:
            due_at, order = self._never_polled.popleft()
            if self._is_pending[order]:
                heappush(self._due, (due_at, order))
        return _take_due(self._due, self._is_pending, now, limit)

    def _poll_again(self, order: int, now: float) -> None:
        wait = self._next_wait_seconds.get(order, FIRST_BACKOFF_SECONDS)
        self._next_wait_seconds[order] = min(2 * wait, LONGEST_BACKOFF_SECONDS)
        heappush(self._due, (now + wait, order))


def _take_due(due: list[tuple[float, int]], is_pending: bytearray, now: float, limit: int) -> list[int]:
    """Take at most `limit` pending orders from a heap, those due for longest first; what is not due stays."""
    taken: list[int] = []
    while due and due[0][0] <= now and len(taken) < limit:
        _, order = heappop(due)
        if is_pending[order]:
            taken.append(order)
    return taken

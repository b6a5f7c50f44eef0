"""What the compared policies have in common: the orders that are pending, and those whose grace has ended."""

from collections import deque
from collections.abc import Collection, Sequence

from benchmarks.schedule.scenario import Scenario


class PendingOrders:
    """Keeps the pending orders. A settled one is dropped only when its turn comes: searching for it takes too long."""

    def __init__(self, scenario: Scenario) -> None:
        """For a scenario's number of orders and its grace."""
        self._grace_seconds = scenario.grace_seconds
        self._is_pending = bytearray(len(scenario.orders))
        self._never_polled: deque[tuple[float, int]] = deque()

    def submitted(self, order: int, at: float) -> None:
        """Keep an order that may be polled once its grace has ended; `at` in seconds."""
        self._is_pending[order] = True
        self._never_polled.append((at + self._grace_seconds, order))

    def called_back(self, order: int, at: float) -> None:
        """Drop an order that its callback settled; `at` in seconds."""
        self._is_pending[order] = False

    def answered(self, now: float, polled: Sequence[int], settled: Collection[int]) -> None:
        """Drop the orders that an answer settled, and queue the others again; `now` in seconds."""
        for order in settled:
            self._is_pending[order] = False
        for order in polled:
            if self._is_pending[order]:
                self._poll_again(order, now)

    def _poll_again(self, order: int, now: float) -> None:
        """An order was polled and is still pending."""

    def _take_never_polled(self, now: float, limit: int) -> list[int]:
        """Take at most `limit` pending orders whose grace has ended, the oldest first."""
        taken: list[int] = []
        waiting = self._never_polled
        while waiting and waiting[0][0] <= now and len(taken) < limit:
            _, order = waiting.popleft()
            if self._is_pending[order]:
                taken.append(order)
        return taken

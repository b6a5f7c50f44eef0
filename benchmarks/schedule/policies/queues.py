"""Policies that keep their orders in a queue: oldest first, and round robin."""

from collections import deque
from collections.abc import Sequence

from benchmarks.schedule.policies.pending import PendingOrders
from benchmarks.schedule.scenario import Scenario


class OldestFirst(PendingOrders):
    """The oldest pending orders past their grace, in every window: the usual design."""

    def __init__(self, scenario: Scenario) -> None:
        """For one scenario."""
        super().__init__(scenario)
        self._oldest: list[int] = []

    def choose(self, now: float, limit: int) -> Sequence[int]:
        """The oldest; `now` in seconds."""
        still_pending = [order for order in self._oldest if self._is_pending[order]]
        self._oldest = still_pending + self._take_never_polled(now, limit - len(still_pending))
        return tuple(self._oldest)


class RoundRobin(PendingOrders):
    """Never polled first, by age; then those not polled for longest."""

    def __init__(self, scenario: Scenario) -> None:
        """For one scenario."""
        super().__init__(scenario)
        self._polled: deque[int] = deque()

    def choose(self, now: float, limit: int) -> Sequence[int]:
        """The next in turn; `now` in seconds."""
        chosen = self._take_never_polled(now, limit)
        while self._polled and len(chosen) < limit:
            order = self._polled.popleft()
            if self._is_pending[order]:
                chosen.append(order)
        return chosen

    def _poll_again(self, order: int, now: float) -> None:
        self._polled.append(order)

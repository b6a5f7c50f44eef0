"""The policy that knows what has settled: no policy can do much better."""

from collections.abc import Sequence
from heapq import heappop, heappush

from benchmarks.schedule.policies.pending import PendingOrders
from benchmarks.schedule.scenario import Scenario


class Clairvoyant(PendingOrders):
    """Only what has settled, past its grace, oldest first."""

    def __init__(self, scenario: Scenario) -> None:
        """For one scenario."""
        super().__init__(scenario)
        self._orders = scenario.orders
        self._settles: list[tuple[float, int]] = []
        self._settled: list[tuple[float, int]] = []

    def submitted(self, order: int, at: float) -> None:
        """Store when the order's result can be learned; `at` in seconds."""
        self._is_pending[order] = True
        settled = self._orders[order].settled
        if settled is not None:
            heappush(self._settles, (max(settled, at + self._grace_seconds), order))

    def choose(self, now: float, limit: int) -> Sequence[int]:
        """The oldest that have settled; `now` in seconds."""
        while self._settles and self._settles[0][0] <= now:
            _, order = heappop(self._settles)
            if self._is_pending[order]:
                heappush(self._settled, (self._orders[order].submitted, order))
        chosen: list[int] = []
        while self._settled and len(chosen) < limit:
            _, order = heappop(self._settled)
            if self._is_pending[order]:
                chosen.append(order)
        return chosen

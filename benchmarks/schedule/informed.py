"""The production policy without its learning: it knows the true curve. What it misses cannot be learned."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from benchmarks.schedule.adaptive import Adaptive
from benchmarks.schedule.scenario import Order, Scenario
from worker.domain.scheduling.ages_and_observations import Ages, Curve
from worker.domain.scheduling.poll_schedule import compute_schedule


class Informed(Adaptive):
    """Polls by a schedule from the true curve of the whole scenario, computed once."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.schedule = compute_schedule(true_curve(scenario.orders, self.ages), self.rules)

    def _learn(self, at: datetime) -> None:
        """There is nothing to learn."""


def true_curve(orders: Sequence[Order], ages: Ages) -> Curve:
    """The share of these orders that settle by each age, and the share of their callbacks that never come.

    One curve holds for all of them: where orders differ, it is their mean.
    """
    settled = sorted(order.settled - order.submitted for order in orders if order.settled is not None)
    lost = sum(order.settled is not None and order.callback is None for order in orders)
    shares = [bisect_right(settled, age) / max(1, len(orders)) for age in ages.edges]
    return Curve(ages, tuple(shares), lost / max(1, len(settled)))

"""The production policy without its learning: it is told the truth once. What is left is what chance keeps back."""

from bisect import bisect_right
from datetime import datetime

from benchmarks.schedule.adaptive import Adaptive
from benchmarks.schedule.scenario import Scenario
from worker.domain.pricing.ages import Ages
from worker.domain.pricing.curve import Curve
from worker.domain.pricing.prices import price_looks


class Informed(Adaptive):
    """Prices its looks by what is true of the scenario as a whole, and never anew."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.prices = price_looks(true_curve(scenario, self.ages), self.rules)

    def _learn(self, at: datetime) -> None:
        """There is nothing to learn."""


def true_curve(scenario: Scenario, ages: Ages) -> Curve:
    """The share of a scenario's orders that settle by each age, and that of their callbacks that never come.

    One for the whole scenario: where either changes in its course, this is no more than the mean.
    """
    settled = sorted(order.settled - order.submitted for order in scenario.orders if order.settled is not None)
    lost = sum(order.settled is not None and order.callback is None for order in scenario.orders)
    shares = [bisect_right(settled, age) / max(1, len(scenario.orders)) for age in ages.edges]
    return Curve(ages, tuple(shares), lost / max(1, len(settled)))

"""The production policy without its learning: it is told the truth once. What is left is what chance keeps back."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from benchmarks.schedule.adaptive import Adaptive, time_of
from benchmarks.schedule.scenario import Order, Scenario
from worker.domain.records.candidates import Candidate, Pick
from worker.domain.scheduling.ages import BUCKETS, Ages
from worker.domain.scheduling.learning import cohort_of
from worker.domain.scheduling.poll_schedule import PollSchedule, compute_schedule
from worker.domain.scheduling.settlement_curve import Curve


class Informed(Adaptive):
    """PollSchedule its looks by what is true of the scenario as a whole, and never anew."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.schedule = compute_schedule(true_curve(scenario.orders, self.ages), self.rules)

    def _learn(self, at: datetime) -> None:
        """There is nothing to learn."""


class Floor(Informed):
    """PollSchedule the looks at each cohort by what is true of it, as nobody can know, and compares all that is due."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        ascending = sorted(scenario.orders, key=lambda order: order.submitted)
        self._by_cohort = {
            cohort: compute_schedule(true_curve(list(orders), self.ages), self.rules)
            for cohort, orders in groupby(ascending, key=lambda order: self._cohort(time_of(order.submitted)))
        }

    def schedule_for(self, candidate: Candidate) -> PollSchedule:
        """Those of its cohort."""
        return self._by_cohort[self._cohort(candidate.submitted_at)]

    def pick(self, at: datetime, limit: int) -> tuple[Pick, ...]:
        """A batch out of all that is due: what is worth most need not stand at an end of its group."""
        due = [one for group in range(BUCKETS) for one in self.first(group, at, len(self.pending))]
        return self.pick_of(due, at, limit)

    def _cohort(self, submitted_at: datetime) -> int:
        return cohort_of(submitted_at.timestamp(), self.rules)


def true_curve(orders: Sequence[Order], ages: Ages) -> Curve:
    """The share of these orders that settle by each age, and that of their callbacks that never come.

    One for all of them: where either changes from one to the next, this is no more than the mean.
    """
    settled = sorted(order.settled - order.submitted for order in orders if order.settled is not None)
    lost = sum(order.settled is not None and order.callback is None for order in orders)
    shares = [bisect_right(settled, age) / max(1, len(orders)) for age in ages.edges]
    return Curve(ages, tuple(shares), lost / max(1, len(settled)))

"""The production policy without its learning: it knows the true curve. What it misses cannot be learned."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from benchmarks.schedule.adaptive import Adaptive, time_of
from benchmarks.schedule.scenario import Order, Scenario
from worker.domain.records.queries import Candidate, Pick
from worker.domain.scheduling.ages import BUCKETS, Ages, Curve
from worker.domain.scheduling.observing import cohort_of
from worker.domain.scheduling.poll_schedule import PollSchedule, compute_schedule


class Informed(Adaptive):
    """Polls by a schedule from the true curve of the whole scenario, computed once."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.schedule = compute_schedule(true_curve(scenario.orders, self.ages), self.rules)

    def _learn(self, at: datetime) -> None:
        """There is nothing to learn."""


class Floor(Informed):
    """Polls each cohort by a schedule from its own true curve, which no worker knows, and compares all due orders."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        ascending = sorted(scenario.orders, key=lambda order: order.submitted)
        self._by_cohort = {
            cohort: compute_schedule(true_curve(list(orders), self.ages), self.rules)
            for cohort, orders in groupby(ascending, key=lambda order: self._cohort(time_of(order.submitted)))
        }

    def schedule_for(self, candidate: Candidate) -> PollSchedule:
        """The schedule of its cohort."""
        return self._by_cohort[self._cohort(candidate.submitted_at)]

    def pick(self, at: datetime, limit: int) -> tuple[Pick, ...]:
        """A batch out of all due orders: those of highest priority may be within their bucket."""
        due = [one for bucket in range(BUCKETS) for one in self.first(bucket, at, len(self.pending))]
        return self.pick_of(due, at, limit)

    def _cohort(self, submitted_at: datetime) -> int:
        return cohort_of(submitted_at.timestamp(), self.rules)


def true_curve(orders: Sequence[Order], ages: Ages) -> Curve:
    """The share of these orders that settle by each age, and the share of their callbacks that never come.

    One curve holds for all of them: where orders differ, it is their mean.
    """
    settled = sorted(order.settled - order.submitted for order in orders if order.settled is not None)
    lost = sum(order.settled is not None and order.callback is None for order in orders)
    shares = [bisect_right(settled, age) / max(1, len(orders)) for age in ages.edges]
    return Curve(ages, tuple(shares), lost / max(1, len(settled)))

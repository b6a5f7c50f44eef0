"""The poll priority of an order, in seconds of delay saved: the Whittle index for choosing which order to poll next.

F is the settlement curve, p the share of lost callbacks. Let a poll cost `c` seconds of delay. Of all orders that were
last polled at age l, the share p (F(a) - F(l)) has settled unseen by age a, and the share U(a) = 1 - F(a) is still
open. The best plan from a poll at l onwards then costs

    W(l) = min over a > l of  c (U(a) + p (F(a) - F(l)))  +  p ∫ from l to a of (F(u) - F(l)) du  +  W(a)

The age a that gives the minimum is the age at which the order is due at that cost (P. Whittle, Restless bandits, 1988).
The priority of an order is the highest cost at which it is due.

An order that is due competes for a position in a query.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from math import inf, sqrt

from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import Curve, ages_of, prior_curve
from worker.domain.scheduling.cohort_factors import NO_FACTORS, Factors, factors_of
from worker.domain.scheduling.learning import Learned

_LEVELS = 28
_LOWEST_WINDOWS, _HIGHEST_WINDOWS = 0.005, 4000.0
SHORTEST_WAIT_WINDOWS = 1
LONGEST_WAIT_WINDOWS = 360
"""An order is due again after this many windows, however low its priority: what was learned may be wrong."""
LONGEST_WAIT_OF_AGE = 0.5
"""An order waits for at most this share of its age, however low its priority."""

SPARE_WAITS = 50
"""If all pending orders fit into one batch, an order waits for at most a fiftieth of its age.

With a poll in every window, results would be found a little sooner. But an order that stays open for three days would
be polled 4,300 times instead of 260 times.
"""


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """A table that shows how long after its last poll an order is due, for each age at that poll and each cost of a
    poll."""

    levels: tuple[float, ...]
    """The costs of a poll, rising, in seconds of delay."""
    last_polls: tuple[float, ...]
    """Ages at the last poll, rising, in seconds."""
    first: tuple[float, ...]
    """The age at which an order that was never polled is due, at each cost; infinite if it never is."""
    again: tuple[tuple[float, ...], ...]
    """The seconds from each of `last_polls` until the order is due, at each cost."""
    factors: Factors = NO_FACTORS
    """The factors by which the priority of some orders is higher or lower than the table says."""
    fits_one_batch: bool = False
    """Whether all orders that were pending when the schedule was computed fit into one batch. If so, no poll delays
    another one."""

    def priority(self, last_poll: float | None, age: float) -> float:
        """The priority of polling an order of this age, in seconds of delay; 0 if the order is not due at any cost."""
        if last_poll is None:
            return self._highest(self.first, age)
        number, share = self._row_of(last_poll)
        waited = age - last_poll
        here = self._highest(self.again[number], waited)
        return here + share * (self._highest(self.again[number + 1], waited) - here) if share else here

    def due_age(self, last_poll: float | None) -> float:
        """The age from which a poll has a priority, in seconds; infinite if it never has one."""
        return self.first[0] if last_poll is None else last_poll + self._wait(last_poll)

    def _wait(self, last_poll: float) -> float:
        number, share = self._row_of(last_poll)
        here = self.again[number][0]
        # Between two rows, an order has a priority as soon as one of these rows gives it one.
        return min(here, self.again[number + 1][0]) if share else here

    def _row_of(self, last_poll: float) -> tuple[int, float]:
        """The row for an age at the last poll, and the age's position between this row and the next, 0 to 1."""
        polls = self.last_polls
        number = bisect_right(polls, last_poll) - 1
        if number < 0:
            return 0, 0.0
        if number == len(polls) - 1:
            return number, 0.0
        return number, (last_poll - polls[number]) / (polls[number + 1] - polls[number])

    def _highest(self, due: tuple[float, ...], reached: float) -> float:
        """The highest cost at which an order is due by now, interpolated between two costs."""
        number = bisect_right(due, reached)
        levels = self.levels
        if number == 0:
            return 0.0
        here, left = levels[number - 1], due[number - 1]
        if number == len(levels):
            return here * reached / left if left else here
        right = due[number]
        share = (reached - left) / (right - left) if right < inf else 1 - left / reached
        return here + share * (levels[number] - here)


def schedule_of(learned: Learned, now: float, rules: Rules, *, fits_one_batch: bool) -> PollSchedule:
    """The schedule that follows from what was learned.

    `now` is in seconds since the epoch. `fits_one_batch`: whether all pending orders fit into one batch.
    """
    curve = learned.curve(now, rules)
    return replace(
        compute_schedule(curve, rules), factors=factors_of(learned, curve, now, rules), fits_one_batch=fits_one_batch
    )


@lru_cache(maxsize=8)
def prior_schedule(rules: Rules) -> PollSchedule:
    """The schedule before anything is learned about an account. Computed once for each `rules`."""
    return compute_schedule(prior_curve(ages_of(rules)), rules)


def compute_schedule(curve: Curve, rules: Rules) -> PollSchedule:
    """Compute the best plan (see the module's docstring) for each cost, backwards from the age limit.

    This takes some milliseconds for each cost.
    """
    lowest, highest = (rules.window_seconds * windows for windows in (_LOWEST_WINDOWS, _HIGHEST_WINDOWS))
    step = (highest / lowest) ** (1 / (_LEVELS - 1))
    levels = tuple(lowest * step**number for number in range(_LEVELS))
    plans = [_PollPlan(curve, rules, poll_cost) for poll_cost in levels]
    edges = curve.ages.edges
    return PollSchedule(
        levels=levels,
        last_polls=edges[1:],
        first=_rising([plan.first for plan in plans]),
        again=tuple(_rising([plan.due[number] - edges[number] for plan in plans]) for number in range(1, len(edges))),
    )


def _rising(due: Sequence[float]) -> tuple[float, ...]:
    """The ages at which an order is due, raised where needed so that they never fall from one cost to the next.

    A higher cost never makes an order due earlier, but the computed times may be wrong by a step of the grid.
    """
    latest, rising = 0.0, []
    for age in due:
        latest = max(latest, age)
        rising.append(latest)
    return tuple(rising)


class _PollPlan:
    """The best plan at one cost of a poll. F and W (see the module's docstring) are assumed to be linear between two
    edges."""

    def __init__(self, curve: Curve, rules: Rules, poll_cost: float) -> None:
        self._edges, self._settled, self._areas = curve.ages.edges, curve.settled, curve.areas
        self._lost, self._poll_cost, self._window = curve.lost_share, poll_cost, rules.window_seconds
        self._last = len(self._edges) - 1
        self.costs = [0.0] * len(self._edges)
        """W at each edge. It is 0 at the last edge, the age limit, because a last poll is made there in any case."""
        self.due = [inf] * len(self._edges)
        """For each edge: the age at the next poll after a poll at this edge; infinite if there is none."""
        for number in range(self._last - 1, -1, -1):
            self._plan_from(number)
        self.first = self._plan_first(rules.grace_seconds)

    def _plan_from(self, number: int) -> None:
        age, share = self._edges[number], self._settled[number]
        best, due = self._within(number, self._delay(self._last, age, share, self._areas[number]))
        settled = self._settled[-1]
        least = self._poll_cost * (1 - settled + self._lost * (settled - share))
        for later in range(number + 1, self._last):
            delay = self._delay(later, age, share, self._areas[number])
            if delay + least > best:
                # Stop: the delay until edge `later` and the cheapest poll together cost more than the best plan so far.
                # At later edges, the delay is even longer.
                break
            cost, at = self._between(later, share, delay, age + self._window)
            if cost < best:
                best, due = cost, at
        self.costs[number], self.due[number] = best, due

    def _plan_first(self, grace: float) -> float:
        edges, areas = self._edges, self._areas
        start = next((number for number, age in enumerate(edges) if age >= grace), self._last)
        best, due = self._lost * (areas[-1] - areas[start]), inf
        for later in range(start, self._last):
            cost, at = self._between(later, 0.0, self._delay(later, edges[start], 0.0, areas[start]), grace)
            if cost < best:
                best, due = cost, at
        return due

    def _delay(self, later: int, age: float, share: float, area: float) -> float:
        """The cost of leaving orders unpolled from `age` until edge `later`.

        `share` is F at `age`, and `area` is the integral of F from 0 to `age`.
        """
        return self._lost * (self._areas[later] - area - share * (self._edges[later] - age))

    def _within(self, number: int, waiting: float) -> tuple[float, float]:
        """The cost of the better of two plans, and the age at its next poll.

        One plan polls at even intervals, of a window or more, until the next edge. The other never polls again, which
        costs `waiting`.
        """
        left, right = self._edges[number], self._edges[number + 1]
        length, gain = right - left, self._settled[number + 1] - self._settled[number]
        still_open = 1 - self._settled[number]
        if length <= self._window or number + 1 >= self._last:
            return waiting, inf
        rate = self._lost * gain * length / 2
        even = sqrt(self._poll_cost * still_open / rate) if rate > 0 else 1.0
        part = min(max(even, self._window / length), 1.0)
        polls = self._poll_cost * (still_open / part - (1 - self._lost) * gain)
        cost = polls + rate * part + self.costs[number + 1]
        return (cost, left + part * length) if cost < waiting else (waiting, inf)

    def _between(self, number: int, share: float, delay: float, soonest: float) -> tuple[float, float]:
        """The cost of the best next poll between edge `number` and the next edge, and the age at that poll.

        `share`: the share of orders that had settled by the last poll. `delay`: the cost of the delay until edge
        `number`. Most of the time of a whole schedule is spent here, so comparisons replace calls of `min` and `max`.
        """
        left, right = self._edges[number], self._edges[number + 1]
        if right < soonest:
            return inf, inf
        length, low = right - left, self._settled[number]
        gain = self._settled[number + 1] - low
        poll_cost, lost, costs = self._poll_cost, self._lost, self.costs
        # The cost of a poll at left + part * length is a parabola in `part`.
        square = lost * gain * length / 2
        unseen = lost * (low - share)
        straight = unseen * length - poll_cost * gain * (1 - lost) + (costs[number + 1] - costs[number])
        part = 0.0 if straight >= 0 else 1.0 if straight <= -2 * square else -straight / (2 * square)
        if left < soonest:
            part = max(part, (soonest - left) / length)
        fixed = poll_cost * (1 - low + unseen) + delay
        return fixed + costs[number] + part * (straight + part * square), left + part * length


def first_due(submitted_at: datetime, rules: Rules) -> datetime:
    """When the grace for an order's callback ends."""
    return submitted_at + timedelta(seconds=rules.grace_seconds)


def next_due(submitted_at: datetime, schedule: PollSchedule, now: datetime, rules: Rules) -> datetime:
    """When a poll has a priority again, for an order that was polled just now and is still open.

    The order waits for at least a window. It waits for at most 360 windows, and at most half of its age, because what
    is learned now may be outdated by then. It is due at the age limit in any case, because polling ends there. If all
    pending orders fit into one batch, a long wait saves nothing: the wait is at most a fiftieth of the age.
    """
    age = max(0.0, (now - submitted_at).total_seconds())
    longest = age / SPARE_WAITS if schedule.fits_one_batch else age * LONGEST_WAIT_OF_AGE
    waits = [schedule.due_age(age) - age, longest, rules.window_seconds * LONGEST_WAIT_WINDOWS]
    if age < rules.unresolved_after_seconds:
        waits.append(rules.unresolved_after_seconds - age)
    return now + timedelta(seconds=max(rules.window_seconds * SHORTEST_WAIT_WINDOWS, min(waits)))

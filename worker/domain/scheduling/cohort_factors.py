"""Factors to the poll priority: what a cohort's own callbacks and polls show, beside what is learned from all.

A schedule knows one curve and one share of lost callbacks for an account. While an operator settles nothing, or no one
receives callbacks, some cohorts differ from the others for hours, and the known callbacks show which:

- The orders of a cohort that have settled unseen since a poll are as many as the callbacks since, times the odds that
  one is lost. Where half of the callbacks that the curve expects have come, another poll has half the priority.
- The priority of a first poll rises with the share of lost callbacks, about in proportion to the odds. The first
  polls of a cohort and of the adjacent ones show how many are lost.

Both are mixed with what is learned from all cohorts, so that few orders count for little.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from math import floor, inf

from worker.domain.records.accounts import Rules
from worker.domain.scheduling.ages_and_observations import Curve, cohort_of, cohort_seconds
from worker.domain.scheduling.learning import MOSTLY_LOST, Cohort, Learned

_BELIEF = 2.0
"""The weight of what is learned from all: as many callbacks, or first polls that hit at odds of one."""
_MOST_ODDS = 1.0
"""No cohort's odds count for more than even: its first polls would leave no room in a batch for others."""
_KNOWN_WINDOWS = 1440
"""Cohorts that are older than this have no factors: too few of their orders still settle."""


@dataclass(frozen=True, slots=True)
class CohortFactors:
    """The factors for the orders of one cohort."""

    first: float
    """For a first poll."""
    again: tuple[float, ...]
    """By the edge of the ages at which the order was last polled, from 0 on; past the last one it is 1."""


@dataclass(frozen=True, slots=True)
class Factors:
    """By how much a poll priority is higher or lower than the schedule says; 1 where nothing is known."""

    cohort_seconds: float = inf
    edges: tuple[float, ...] = ()
    by_cohort: Mapping[int, CohortFactors] = field(default_factory=dict)

    def factor(self, submitted: float, last_poll: float | None) -> float:
        """The factor for an order submitted then (seconds since the epoch), last polled at this age (seconds)."""
        known = self.by_cohort.get(floor(submitted / self.cohort_seconds))
        if known is None:
            return 1.0
        if last_poll is None:
            return known.first
        number = bisect_right(self.edges, last_poll) - 1
        here, later = (known.again[each] if each < len(known.again) else 1.0 for each in (number, number + 1))
        if number + 1 >= len(self.edges):
            return here
        left, right = self.edges[number], self.edges[number + 1]
        return here + (later - here) * (last_poll - left) / (right - left)


NO_FACTORS = Factors()
"""Nothing is known of any cohort."""


def factors_of(learned: Learned, curve: Curve, now: float, rules: Rules) -> Factors:
    """The factors of each cohort now (seconds since the epoch), beside the curve that was learned from all.

    None where most callbacks are lost: then they prove nothing.
    """
    if curve.lost_share > MOSTLY_LOST:
        return NO_FACTORS
    oldest = cohort_of(now - _KNOWN_WINDOWS * rules.window_seconds, rules)
    whole = {number: cohort for number, cohort in learned.cohorts.items() if number >= oldest and cohort.is_whole}
    odds = curve.lost_share / (1 - curve.lost_share)
    own_odds = learned.cohort_odds(odds)
    length = cohort_seconds(rules)
    return Factors(
        cohort_seconds=length,
        edges=curve.ages.edges,
        by_cohort={
            number: CohortFactors(
                first=min(own_odds[number], _MOST_ODDS) / odds,
                again=tuple(_callbacks_since(cohort, curve, now - (number + 0.5) * length)),
            )
            for number, cohort in whole.items()
        },
    )


def _callbacks_since(cohort: Cohort, curve: Curve, age: float) -> Iterator[float]:
    """For each edge below this age (seconds): the callbacks since then, divided by the expected ones."""
    came = accumulate((cohort.called_back[number] for number in range(len(curve.settled))), initial=0)
    so_far, received = curve.settled_at(age), (1 - curve.lost_share) * cohort.size
    for edge, before, settled in zip(curve.ages.edges, came, curve.settled, strict=False):
        if edge >= age:
            return
        yield (_BELIEF + cohort.called_back.total() - before) / (_BELIEF + received * (so_far - settled))

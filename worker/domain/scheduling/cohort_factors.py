"""Factors to the poll priority, learned from a cohort's own callbacks and polls.

A schedule has one curve and one share of lost callbacks for an account. But some cohorts (orders that were submitted at
about the same time) differ from the others for hours, for example while a mobile operator settles nothing, or while no
one receives callbacks. The known callbacks show which cohorts differ:

- Some of a cohort's orders have settled unseen since a poll. Their number is the number of callbacks since that poll,
  times the odds that a callback is lost. So if only half of the callbacks that the curve expects have come, another
  poll has half the priority.
- The priority of a first poll rises with the share of lost callbacks, about in proportion to the odds. The first
  polls of a cohort and of the adjacent cohorts show how many callbacks are lost.

Both factors are mixed with what is learned from all cohorts, so that a few orders change them only a little.
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
"""The weight of what is learned from all cohorts together, in callbacks of one cohort."""
_MOST_ODDS = 1.0
"""The highest odds of a lost callback that are used for a cohort. With higher odds, the cohort's first polls would fill
whole batches."""
_KNOWN_WINDOWS = 1440
"""Cohorts older than this have no factors, because too few of their orders still settle."""


@dataclass(frozen=True, slots=True)
class CohortFactors:
    """The factors for the orders of one cohort."""

    first: float
    """The factor for a first poll."""
    again: tuple[float, ...]
    """The factors for a later poll. Factor k is for orders whose age at the last poll was edge k; past the end, the
    factor is 1."""


@dataclass(frozen=True, slots=True)
class Factors:
    """The factors by which poll priorities are higher or lower than the schedule says; 1 if nothing is known."""

    cohort_seconds: float = inf
    edges: tuple[float, ...] = ()
    by_cohort: Mapping[int, CohortFactors] = field(default_factory=dict)

    def factor(self, submitted: float, last_poll: float | None) -> float:
        """The factor for an order, by its submission (seconds since the epoch) and its age at the last poll (seconds;
        None if it was never polled)."""
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
"""The factors if nothing is known about any cohort."""


def factors_of(learned: Learned, curve: Curve, now: float, rules: Rules) -> Factors:
    """The factors of each cohort at `now` (seconds since the epoch), relative to the curve learned from all cohorts.

    Return `NO_FACTORS` if most callbacks are lost: then callbacks prove nothing.
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
    """For each edge below this age (seconds): the cohort's callbacks since that edge, divided by the expected ones."""
    came = accumulate((cohort.called_back[number] for number in range(len(curve.settled))), initial=0)
    so_far, received = curve.settled_at(age), (1 - curve.lost_share) * cohort.size
    for edge, before, settled in zip(curve.ages.edges, came, curve.settled, strict=False):
        if edge >= age:
            return
        yield (_BELIEF + cohort.called_back.total() - before) / (_BELIEF + received * (so_far - settled))

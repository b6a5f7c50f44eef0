"""Which share of all orders the platform has settled by which age."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from worker.domain.scheduling.ages import Ages

PRIOR_EXPONENT = 0.3
"""Before anything is learned, an order of age a is assumed to settle at a rate of 0.3 / a."""
PRIOR_LOST_SHARE = 0.05


@dataclass(frozen=True)
class Curve:
    """F: `settled[k]` is the share of orders, stuck ones included, that are settled by edge k of the ages."""

    ages: Ages
    settled: tuple[float, ...]
    lost_share: float
    """Of the settled orders, the share whose callback never comes: 0 to 1."""

    @cached_property
    def areas(self) -> tuple[float, ...]:
        """The integral of F from 0 to each edge, in seconds."""
        total, areas = 0.0, [0.0]
        for (left, right), (low, high) in zip(pairwise(self.ages.edges), pairwise(self.settled), strict=True):
            total += (right - left) * (low + high) / 2
            areas.append(total)
        return tuple(areas)

    def settled_at(self, age_seconds: float) -> float:
        """F at any age, linear between two edges."""
        edges, number = self.ages.edges, self.ages.bin_of(age_seconds)
        if number == len(edges) - 1:
            return self.settled[-1]
        share = (max(0.0, age_seconds) - edges[number]) / (edges[number + 1] - edges[number])
        return self.settled[number] + share * (self.settled[number + 1] - self.settled[number])


def prior_chance(ages: Ages, number: int) -> float:
    """The chance, before anything is learned, that an order which enters bin `number` open settles in it."""
    left, right = ages.edges[number], ages.edges[number + 1]
    return float(1 - (max(left, ages.edges[1] / 2) / right) ** PRIOR_EXPONENT)


def curve_of(ages: Ages, chances: Sequence[float], lost_share: float) -> Curve:
    """The curve whose bins have these chances to settle an order that enters them open."""
    open_share, settled = 1.0, [0.0]
    for chance in chances:
        open_share *= 1 - chance
        settled.append(1 - open_share)
    return Curve(ages, tuple(settled), lost_share)


def prior_curve(ages: Ages) -> Curve:
    """The curve before anything is learned."""
    chances = [prior_chance(ages, number) for number in range(len(ages.edges) - 1)]
    return curve_of(ages, chances, PRIOR_LOST_SHARE)

"""The measure: how late a worker learns the results whose callbacks never come."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from benchmarks.schedule.scenario import Scenario
from benchmarks.schedule.simulation import Outcome

LAST_SETTLEMENT_SECONDS = 2 * 3600.0
"""An order counts when it settles at least this long before the horizon: later ones could hardly be learned in time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The result of one run of a policy. The delays and the share are None where no order counts."""

    mean_delay_seconds: float | None
    median_delay_seconds: float | None
    p90_delay_seconds: float | None
    p99_delay_seconds: float | None
    max_delay_seconds: float | None
    never_learned_share: float | None
    """Of the orders that count, those never learned. Their delay ends at the horizon."""
    queries: int
    ids: int


def measure(scenario: Scenario, outcome: Outcome) -> Measured:
    """The delays of the orders that count: those without a callback, settled two hours before the horizon or earlier.

    A delay runs from the later of settlement and end of grace to when the result was learned.
    """
    delays: list[float] = []
    never = 0
    latest = scenario.horizon_seconds - LAST_SETTLEMENT_SECONDS
    for (submitted, settled, callback), learned_at in zip(scenario.orders, outcome.learned_at, strict=True):
        if callback is None and settled is not None and settled <= latest:
            never += learned_at is None
            known_at = scenario.horizon_seconds if learned_at is None else learned_at
            delays.append(known_at - max(settled, submitted + scenario.grace_seconds))
    delays.sort()
    return Measured(
        mean_delay_seconds=fmean(delays) if delays else None,
        median_delay_seconds=median(delays) if delays else None,
        p90_delay_seconds=_quantile(delays, 0.90),
        p99_delay_seconds=_quantile(delays, 0.99),
        max_delay_seconds=delays[-1] if delays else None,
        never_learned_share=never / len(delays) if delays else None,
        queries=outcome.queries,
        ids=outcome.ids,
    )


def _quantile(ascending: Sequence[float], share: float) -> float | None:
    """The value below which a share of the values lies, between two of them in proportion."""
    if not ascending:
        return None
    position = share * (len(ascending) - 1)
    low, high = ascending[math.floor(position)], ascending[math.ceil(position)]
    return low + (high - low) * (position - math.floor(position))

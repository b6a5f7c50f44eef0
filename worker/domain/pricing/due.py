"""When an order may be asked about: from then on it competes for a place in a batch."""

from datetime import datetime, timedelta

from worker.domain.pricing.prices import Prices
from worker.domain.rules import Rules

SHORTEST_WAIT_WINDOWS = 1
LONGEST_WAIT_WINDOWS = 360
"""However little a look is worth, an order is due again after so many windows: what was learned may be wrong."""


def first_due(submitted_at: datetime, rules: Rules) -> datetime:
    """When the grace for an order's callback ends."""
    return submitted_at + timedelta(seconds=rules.grace_seconds)


def next_due(submitted_at: datetime, prices: Prices, now: datetime, rules: Rules) -> datetime:
    """When a look is worth anything again, for an order that was asked about just now and is still open.

    At least a window from now; at most 360 windows, and no longer than the order is old: what is believed of it now may
    no longer hold by then. At the age limit, where asking ends, in any case.
    """
    age = max(0.0, (now - submitted_at).total_seconds())
    waits = [prices.due_age(age) - age, age, rules.window_seconds * LONGEST_WAIT_WINDOWS]
    if age < rules.unresolved_after_seconds:
        waits.append(rules.unresolved_after_seconds - age)
    return now + timedelta(seconds=max(rules.window_seconds * SHORTEST_WAIT_WINDOWS, min(waits)))

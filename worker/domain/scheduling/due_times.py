"""When an order is due: from then on it competes for a position in a query."""

from datetime import datetime, timedelta

from worker.domain.records.parameters import Rules
from worker.domain.scheduling.poll_schedule import PollSchedule

SHORTEST_WAIT_WINDOWS = 1
LONGEST_WAIT_WINDOWS = 360
"""However low its priority, an order is due again after so many windows: what was learned may be wrong."""
LONGEST_WAIT_OF_AGE = 0.5
"""However low its priority, an order waits for no more than this share of its age."""

SPARE_WAITS = 50
"""Where all that is pending fits into one batch an order waits for no longer than a fiftieth of its age.

A poll in every window would find results a little sooner, but poll an order that stays open for three days 4,300
times, not 260.
"""


def first_due(submitted_at: datetime, rules: Rules) -> datetime:
    """When the grace for an order's callback ends."""
    return submitted_at + timedelta(seconds=rules.grace_seconds)


def next_due(submitted_at: datetime, schedule: PollSchedule, now: datetime, rules: Rules) -> datetime:
    """When a poll has any priority again, for an order that was polled just now and is still open.

    At least a window from now; at most 360 windows, and half of the order's age: what is learned now may no longer
    hold by then. At the age limit, where polling ends, in any case. Where all that is pending fits into one
    batch, a long wait saves nothing: a fiftieth of the age at most.
    """
    age = max(0.0, (now - submitted_at).total_seconds())
    longest = age / SPARE_WAITS if schedule.fits_one_batch else age * LONGEST_WAIT_OF_AGE
    waits = [schedule.due_age(age) - age, longest, rules.window_seconds * LONGEST_WAIT_WINDOWS]
    if age < rules.unresolved_after_seconds:
        waits.append(rules.unresolved_after_seconds - age)
    return now + timedelta(seconds=max(rules.window_seconds * SHORTEST_WAIT_WINDOWS, min(waits)))

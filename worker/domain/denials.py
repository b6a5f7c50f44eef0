"""Orders of which the platform says that it does not know them: when that is believed, and polling stops.

Denials are counted apart from absences. The first always counts; a later one counts only if the platform answered about
another order since, or in the same answer. So a platform that denies everything, by a bug or in a sandbox, sets no
order aside, however long it lasts.
"""

from dataclasses import replace
from datetime import datetime

from worker.domain.giving_up import give_up
from worker.domain.records.orders import Attention, Change
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Query

DENIALS_BEFORE_GIVING_UP = 3
DENIAL_WINDOWS = 120
"""The last of these denials is at least so many windows after the first: an order may reach a platform late."""


def count_denial(
    change: Change,
    query: Query,
    now: datetime,
    rules: Rules,
    *,
    others_believed: bool,
    answers_before: int,
    answers_now: int,
) -> Change:
    """What it does to a polled order that an answer's item denies.

    `others_believed`: whether the same answer held a believed item of another order; `answers_before` and
    `answers_now`: the account's count of answers with a believed item, without and with this one.
    """
    order = change.after
    if order.denials and not (others_believed or answers_before > order.denial_mark):
        return change
    # A first denial that lies ahead is the mark of a clock that was set back since.
    first = min(order.first_denied_at or query.sent_at, query.sent_at)
    denials = order.denials + 1
    change = change.then(replace(order, denials=denials, first_denied_at=first, denial_mark=answers_now))
    if denials < DENIALS_BEFORE_GIVING_UP or query.sent_at - first < rules.windows(DENIAL_WINDOWS):
        return change
    detail = f"the platform denied it {denials} times, the first time at {first.isoformat(timespec='seconds')}"
    return give_up(change, Attention.UNKNOWN_TO_PLATFORM, query, now, detail)

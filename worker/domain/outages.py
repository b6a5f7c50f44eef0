"""Outages: many query failures in a row, as from a firewall, that say nothing about single orders.

Ten failures in a row of the kinds that make suspects are an outage. Three answers in a row after it return the suspects
that these failures made or halved to the batches. Lone suspects that failed again while others succeeded stay.
"""

from dataclasses import replace
from datetime import datetime

from worker.domain.records.accounts import AccountState
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Order
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Query
from worker.domain.scheduling.ages import bucket_at

FAILURES_OF_AN_OUTAGE = 10
ANSWERS_AFTER_AN_OUTAGE = 3
RETURN_WINDOWS = 360
"""Suspects are returned at most once in so many windows."""
FAILED_AGAIN = 2
"""A suspect that failed alone so often, with a success of others in between, is not returned."""


def group_number(query_id: int, half: int) -> int:
    """The number of a group of suspects. Each query has two of its own, so no other query makes the same group."""
    return query_id * 2 + half


def count_failure(state: AccountState, query: Query) -> AccountState:
    """The account's state after a query failure of a kind that makes suspects."""
    failures = state.failures_in_row + 1
    # With several slots queries may end in another order than they began.
    since = min(state.failing_since or query.id, query.id)
    state = replace(state, failures_in_row=failures, failing_since=since, answers_in_row=0)
    if failures < FAILURES_OF_AN_OUTAGE:
        return state
    # An outage that was interrupted for less than three answers goes on.
    start = min(state.outage_from or since, since)
    return replace(state, outage_from=start, outage_until=max(state.outage_until or 0, query.id))


def count_answer(state: AccountState, now: datetime, rules: Rules) -> tuple[AccountState, tuple[int, int] | None]:
    """The account's state after an answered query, and the first and last group of suspects to return, if any."""
    state = replace(state, failures_in_row=0, failing_since=None)
    if state.outage_from is None or state.outage_until is None:
        return state, None
    answers = min(state.answers_in_row + 1, ANSWERS_AFTER_AN_OUTAGE)
    returned_at = state.suspects_returned_at
    # A time in the future means that a clock was set back since.
    is_too_soon = returned_at is not None and now - rules.windows(RETURN_WINDOWS) < returned_at <= now
    if answers < ANSWERS_AFTER_AN_OUTAGE or is_too_soon:
        return replace(state, answers_in_row=answers), None
    groups = group_number(state.outage_from, 0), group_number(state.outage_until, 1)
    over = replace(state, outage_from=None, outage_until=None, answers_in_row=0, suspects_returned_at=now)
    return over, groups


def return_to_batch(order: Order, query: Query, now: datetime, rules: Rules) -> Change:
    """Return a suspect of an outage to the batches. `query` is the one whose answer showed that the outage is over."""
    bucket = bucket_at(order.submitted_at, order.queried_at, rules)
    after = replace(order.out_of_suspicion(), lease_token=None, age_bucket=bucket)
    detail = "the platform answers again: its failures said nothing of single orders"
    event = query.event(order, after, EventKind.CLEARED, now, detail)
    return Change(before=order, after=after, events=(event,))

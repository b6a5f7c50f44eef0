"""Platforms that answer one order a query, whatever was asked: how that is noticed, and how it ends.

The answer for several orders is not documented. A platform that answers only the first of a batch would make all others
look absent; three such batches in a row raise the suspicion, one query about an order that was left out decides it.
"""

from dataclasses import replace
from datetime import datetime

from worker.domain.accounts import AccountState
from worker.domain.choice import BATCH_RETRY_WINDOWS
from worker.domain.queries import Query
from worker.domain.reports import Answer
from worker.domain.rules import Rules

TELLING_BATCH = 5
"""A batch of fewer ids that is answered with one item tells nothing."""
STREAK_BEFORE_PROBE = 3


def is_excused(state: AccountState, query: Query, answer: Answer) -> bool:
    """Whether what a batch's answer leaves out is not absent: the platform is known to answer one order, and did."""
    return state.one_item_mode and not query.is_alone and answer.item_count == 1


def learn_from_answer(
    state: AccountState, query: Query, answer: Answer, now: datetime, rules: Rules
) -> tuple[AccountState, int | None]:
    """What an answer teaches about one-item platforms.

    Returns the account's state, and the query from which on the one-item answers' absences are to be forgiven, if any.
    """
    if answer.item_count >= 2:
        return _no_suspicion(replace(state, one_item_mode=False, batch_retry_at=None)), None
    if query.is_alone and query.orders[0].id == state.one_item_probe:
        if not answer.said:
            return _no_suspicion(state), None
        retry_at = now + rules.windows(BATCH_RETRY_WINDOWS)
        return _no_suspicion(replace(state, one_item_mode=True, batch_retry_at=retry_at)), state.one_item_since
    if state.one_item_mode or len(query.orders) < TELLING_BATCH:
        return state, None
    if answer.item_count == 0:
        return _no_suspicion(state), None
    streak = state.one_item_streak + 1
    left_out = [order.id for order in query.orders if order.asked_id in answer.absent]
    return replace(
        state,
        one_item_streak=streak,
        one_item_since=state.one_item_since or query.id,
        one_item_probe=left_out[0] if streak >= STREAK_BEFORE_PROBE and left_out else state.one_item_probe,
    ), None


def _no_suspicion(state: AccountState) -> AccountState:
    return replace(state, one_item_streak=0, one_item_since=None, one_item_probe=None)

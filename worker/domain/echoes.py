"""Whether a platform names orders by customParm in its answers, and so whether batches by customParm are safe.

The page does not say. It is learned from items that were believed, in answers to queries by customParm, and it can end:
a platform may stop, or may echo only where it is polled one order.
"""

from dataclasses import replace
from datetime import datetime

from worker.domain.records.accounts import ECHO_RETRY_WINDOWS, ENDINGS_BEFORE_RETRIES, AccountState
from worker.domain.records.parameters import Rules
from worker.domain.records.queries import Query
from worker.domain.records.reports import Answer, IdKind

EMPTY_BATCHES_BEFORE_ENDING = 3


def names_no_order(query: Query, answer: Answer) -> bool:
    """Whether an answer to a batch by customParm names none of its orders: then none of them was polled in truth."""
    return query.id_kind is IdKind.CUSTOM_PARM and not query.is_alone and not answer.said


def learn_echo(
    state: AccountState, query: Query, answer: Answer, now: datetime, rules: Rules, *, has_believed_echo: bool
) -> AccountState:
    """What an answer teaches about echoes of customParm; of a query by requestId, nothing.

    `has_believed_echo`: whether an item was believed that carries its order's customParm.
    """
    if query.id_kind is not IdKind.CUSTOM_PARM:
        return state
    if query.is_alone:
        restores = has_believed_echo and state.echo_endings < ENDINGS_BEFORE_RETRIES
        return replace(state, echoes_custom_parm=True) if restores else state
    if has_believed_echo:
        return replace(state, echoes_custom_parm=True, echo_endings=0, empty_echo_batches=0, echo_retry_at=None)
    if not state.echoes_custom_parm:
        return state
    if answer.said:
        return replace(state, empty_echo_batches=0)
    empty = state.empty_echo_batches + 1
    if answer.item_count or empty >= EMPTY_BATCHES_BEFORE_ENDING:
        return _end(state, now, rules)
    return replace(state, empty_echo_batches=empty)


def _end(state: AccountState, now: datetime, rules: Rules) -> AccountState:
    return replace(
        state,
        echoes_custom_parm=False,
        echo_endings=state.echo_endings + 1,
        empty_echo_batches=0,
        echo_retry_at=now + rules.windows(ECHO_RETRY_WINDOWS),
    )

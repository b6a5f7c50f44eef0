"""Learn how a platform answers queries of several orders, because its documentation does not say.

*One item.* A platform may answer only the first order of a batch. Then all other orders seem absent. After three
batches in a row whose answers have one item, an order that was left out is polled alone. If the platform answers it,
the platform is one that answers only one order per query.

*Echoes.* A platform echoes customParm if its answers name their orders by customParm. Only then are batches by
customParm safe. The worker learns this from believed items in answers to queries by customParm. Echoes can end: a
platform may stop them, or may echo only in answers about one order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from worker.domain.records.accounts import (
    BATCH_RETRY_WINDOWS,
    ECHO_RETRY_WINDOWS,
    ENDINGS_BEFORE_RETRIES,
    AccountState,
    Rules,
)
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Answer
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import IdKind, Lane, OrderState
from worker.domain.records.queries import Query

FEWEST_IDS_AS_EVIDENCE = 5
"""If a batch has at least this many ids, an answer with one item is evidence that the platform answers only one."""
STREAK_BEFORE_PROBE = 3
EMPTY_BATCHES_BEFORE_ENDING = 3
"""If the answers to this many batches by customParm in a row have no item, the worker no longer relies on echoes."""


def is_one_item_answer(query: Query, answer: Answer) -> bool:
    """Whether an answer is evidence that the platform answers only one order: it has one item for at least five ids."""
    return len(query.orders) >= FEWEST_IDS_AS_EVIDENCE and answer.item_count == 1


def is_excused(state: AccountState, query: Query, answer: Answer) -> bool:
    """Whether the orders that a batch's answer leaves out do not count as absent.

    This is so if the platform is known to answer only one order per query, and this answer has one item.
    """
    return state.one_item_mode and not query.is_alone and answer.item_count == 1


def learn_one_item(
    state: AccountState, query: Query, answer: Answer, now: datetime, rules: Rules
) -> tuple[AccountState, int | None]:
    """Learn from an answer whether the platform answers only one order per query.

    Return the account's state, and the id of a query or None. If there is an id, the caller must reset the absences
    that answers with one item caused since that query.
    """
    if answer.item_count >= 2:
        return _no_suspicion(replace(state, one_item_mode=False, batch_retry_at=None)), None
    if state.one_item_streak >= STREAK_BEFORE_PROBE and _is_probe(query):
        if not answer.said:
            return _no_suspicion(state), None
        retry_at = now + rules.windows(BATCH_RETRY_WINDOWS)
        return _no_suspicion(replace(state, one_item_mode=True, batch_retry_at=retry_at)), state.one_item_since
    if state.one_item_mode or len(query.orders) < FEWEST_IDS_AS_EVIDENCE:
        return state, None
    if answer.item_count == 0:
        return _no_suspicion(state), None
    since = state.one_item_since or query.id
    return replace(state, one_item_streak=state.one_item_streak + 1, one_item_since=since), None


def with_probe(
    changes: Iterable[Change], state: AccountState, query: Query, answer: Answer, now: datetime
) -> Iterator[Change]:
    """Yield the changes. If a probe is needed, one order that the answer left out is changed, to be polled alone soon.

    `state` is the account's state after the answer. An order is picked after every third answer in a row with one item,
    because a callback may have settled the order that was picked before.
    """
    streak = state.one_item_streak
    is_wanted = is_one_item_answer(query, answer) and streak > 0 and streak % STREAK_BEFORE_PROBE == 0
    left_out = {order.id for order in query.orders if order.polled_id in answer.absent}
    for change in changes:
        is_pending = change.after.state is OrderState.PENDING
        if is_wanted and is_pending and change.after.id in left_out and query.holds(change.before):
            is_wanted = False
            # Mark the order as if a check was requested. Otherwise it would wait for all orders that are polled alone.
            probe = replace(
                change.after, lane=Lane.ALONE, absences=0, absence_mark=0, due_at=now, check_requested_at=now
            )
            detail = CodedText(TextCode.LEFT_OUT_OF_BATCHES, count=streak)
            yield query.record(change, probe, EventKind.ASKED_ALONE, now, detail)
        else:
            yield change


def names_no_order(query: Query, answer: Answer) -> bool:
    """Whether the answer to a batch by customParm names no order of the batch. Then no order was polled."""
    return query.id_kind is IdKind.CUSTOM_PARM and not query.is_alone and not answer.said


def learn_echo(
    state: AccountState, query: Query, answer: Answer, now: datetime, rules: Rules, *, has_believed_echo: bool
) -> AccountState:
    """Learn from an answer whether the platform echoes customParm. An answer to a query by requestId teaches nothing.

    `has_believed_echo` is True if a believed item has the customParm of its order.
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
        return _end_echo(state, now, rules)
    return replace(state, empty_echo_batches=empty)


def _is_probe(query: Query) -> bool:
    polled = query.orders[0]
    return query.is_alone and polled.lane is Lane.ALONE and polled.check_requested_at is not None


def _no_suspicion(state: AccountState) -> AccountState:
    return replace(state, one_item_streak=0, one_item_since=None)


def _end_echo(state: AccountState, now: datetime, rules: Rules) -> AccountState:
    return replace(
        state,
        echoes_custom_parm=False,
        echo_endings=state.echo_endings + 1,
        empty_echo_batches=0,
        echo_retry_at=now + rules.windows(ECHO_RETRY_WINDOWS),
    )

"""Orders that an answer leaves out: absence is no news, but three in a row lead to a query of their own."""

from dataclasses import replace
from datetime import datetime

from worker.domain.giving_up import give_up
from worker.domain.one_item import is_excused
from worker.domain.records.accounts import AccountState
from worker.domain.records.orders import Attention, Change, EventKind, Lane
from worker.domain.records.queries import Query
from worker.domain.records.reports import Answer

ABSENCES_BEFORE_ALONE = 3
ABSENCES_ALONE_BEFORE_GIVING_UP = 3


def count_absence(change: Change, query: Query, answer: Answer, state: AccountState, now: datetime) -> Change:
    """What it does to an asked order that an answer leaves out. `state` is the account's, before the answer."""
    if is_excused(state, query, answer):
        # Nor was a check that somebody asked for made in truth.
        return change.then(replace(change.after, due_at=now, check_requested_at=change.before.check_requested_at))
    if change.before.lane is Lane.ALONE or (state.one_item_mode and query.is_alone):
        return _absent_alone(change, query, answer, state, now)
    # Only an answer that holds another id shows that the platform looked.
    return _absent_from_batch(change, query, now) if answer.said else change


def _absent_from_batch(change: Change, query: Query, now: datetime) -> Change:
    absences = change.after.absences + 1
    if absences < ABSENCES_BEFORE_ALONE:
        return change.then(replace(change.after, absences=absences))
    after = replace(change.after, lane=Lane.ALONE, absences=0, absence_mark=0)
    detail = f"left out of {absences} answers in a row"
    return change.then(after, [query.event(change.before, after, EventKind.ASKED_ALONE, now, detail)])


def _absent_alone(change: Change, query: Query, answer: Answer, state: AccountState, now: datetime) -> Change:
    order = change.after
    # An empty answer proves something only on a platform that answers others: an outage must not give orders up.
    others_were_answered = order.absences == 0 or state.answered_with_items > order.absence_mark
    if answer.item_count or not others_were_answered:
        return change
    absences = order.absences + 1
    change = change.then(replace(order, absences=absences, absence_mark=state.answered_with_items))
    if absences < ABSENCES_ALONE_BEFORE_GIVING_UP:
        return change
    detail = f"asked alone, left out {absences} times in a row"
    return give_up(change, Attention.UNKNOWN_TO_PLATFORM, query, now, detail)

"""Decide what a verdict changes in its order, and when an order is given up: then polling stops and a person decides.

Only this module makes an order final because of what the platform says. Only `worker.domain.orders.operator_acts` makes
an order final because of what an operator says. An answer or a callback may still settle an order that was given up.

An answer may leave out a polled order (an absence), or say that the platform does not know it (a denial). A single
absence proves nothing; after three in a row, the order gets a query of its own.

Denials are counted separately. The first denial always counts. A later one counts only if the platform has said
something believed about another order since the last counted denial, or says it in the same answer. So a platform that
denies everything, by a bug or in a sandbox, does not make any order unresolved, however long it continues.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from worker.domain.accounts.platform_habits import is_excused
from worker.domain.orders.verdicts import Effect, Verdict
from worker.domain.records.accounts import AccountState, Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Answer, Report
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, Lane, Order, OrderState, Source, gravest
from worker.domain.records.queries import Query
from worker.domain.wire.fields import id_fault, names_a_row

_STATE = {Effect.SUCCEEDED: OrderState.SUCCEEDED, Effect.FAILED: OrderState.FAILED}

_UNRESOLVED_INTERVAL_WINDOWS = 10

# Once an order has a result, these reasons for attention are removed: each says only that a result was missing.
_EXPLAINED_BY_A_RESULT = frozenset(
    {Attention.UNKNOWN_STATUS, Attention.UNKNOWN_TO_PLATFORM, Attention.REJECTED_BY_PLATFORM, Attention.TOO_OLD}
)


def record_report(
    before: Order, after: Order, kind: EventKind, report: Report, *, reason: CodedText | None = None, **where: Any
) -> Change:
    """The change that an item makes to an order, with an event that holds the item as JSON.

    `where` gives the source, time and query of the event.
    """
    return Change.none(before).record(
        after,
        kind,
        traffic_sts=report.traffic_sts,
        remark=report.remark,
        ori_amount=report.ori_amount,
        detail=reason.having(said=report.words) if reason else report.words,
        **where,
    )


def settle(order: Order, verdict: Verdict, *, source: Source, now: datetime, query_id: int | None = None) -> Change:
    """Apply a verdict. A final or cancelled order never changes its state, traffic_sts, remark or ori_amount."""
    record = partial(
        record_report, order, report=verdict.report, reason=verdict.reason, source=source, at=now, query_id=query_id
    )
    if verdict.effect is Effect.NONE:
        change = record(_shown_to_a_person(order, verdict.attention), EventKind.NOT_BELIEVED)
        return _due_now(change, now) if verdict.is_due_now and order.state is OrderState.PENDING else change
    if not order.state.may_settle:
        return _compare_with_final(order, verdict, record)
    if verdict.effect is Effect.DUE_NOW:
        change = record(order, EventKind.NOT_BELIEVED)
        return _due_now(change, now) if order.state is OrderState.PENDING else change
    named = order.with_request_id(_storable_id(verdict.report.request_id))
    if verdict.effect is Effect.PENDING:
        reported = replace(named.not_denied(), **_said(verdict))
        is_new = reported != order
        return record(reported, EventKind.REPORTED) if is_new else Change.none(order)
    return record(_final(named, verdict, source, now), EventKind.SETTLED)


def poll_again_now(order: Order, now: datetime) -> Order:
    """Make an order due now. If a query for it is under way, have the order polled again afterwards."""
    if order.is_leased(now):
        return replace(order, check_requested_at=now)
    return replace(order, due_at=min(order.due_at, now))


def unresolved_again_at(polled_at: datetime, rules: Rules) -> datetime:
    """When a callback may again have an unresolved order polled; the order's last poll was at `polled_at`."""
    return polled_at + rules.windows(_UNRESOLVED_INTERVAL_WINDOWS)


def poll_unresolved_at(order: Order, at: datetime) -> Order:
    """Have an unresolved order polled once more, from this time on."""
    # If queries of the order alone failed, it gets a query of its own again, because it may make every query of a batch
    # fail.
    return replace(order, due_at=at, check_requested_at=at, lane=Lane.ALONE if order.failures_alone else order.lane)


def _due_now(change: Change, now: datetime) -> Change:
    return change.then(poll_again_now(change.after, now))


def _said(verdict: Verdict) -> dict[str, Any]:
    """The values that an order's fields take from a believed item."""
    return {
        "traffic_sts": verdict.report.status,
        "remark": verdict.report.remark,
        "ori_amount": verdict.amount,
    }


def _final(order: Order, verdict: Verdict, source: Source, now: datetime) -> Order:
    return order.no_longer_polled(
        _STATE[verdict.effect],
        **_said(verdict),
        amount_is_price=verdict.amount_is_price,
        settled_by=source,
        settled_at=now,
        attention=gravest(_attention_left(order, verdict), verdict.attention),
    )


def _storable_id(request_id: str | None) -> str | None:
    """The requestId that an order may take from an item; None if this id is unfit. The event keeps the item in any
    case."""
    return None if request_id is None or id_fault(request_id) or names_a_row(request_id) else request_id


def _shown_to_a_person(order: Order, attention: Attention | None) -> Order:
    return replace(order, attention=gravest(order.attention, attention))


def _compare_with_final(order: Order, verdict: Verdict, record: Callable[[Order, EventKind], Change]) -> Change:
    if not _contradicts(order, verdict):
        return record(order, EventKind.IGNORED)
    return record(_shown_to_a_person(order, Attention.LATE_CONFLICT), EventKind.CONTRADICTED)


def _contradicts(order: Order, verdict: Verdict) -> bool:
    if verdict.effect is Effect.PENDING:
        return False
    # DUE_NOW means a success whose amount is still missing. This is a result, too.
    result = OrderState.SUCCEEDED if verdict.effect is Effect.DUE_NOW else _STATE[verdict.effect]
    if order.state is not result:
        return True
    # An item about a failed order may lack the amount: then nothing was charged.
    if verdict.amount is None or verdict.amount == (order.ori_amount or 0):
        return False
    # A price that the platform repeats and a missing amount both mean that nothing was charged.
    return verdict.charged_amount != order.charged_amount


def _attention_left(order: Order, verdict: Verdict) -> Attention | None:
    """The attention that remains once the order settles."""
    if order.attention in _EXPLAINED_BY_A_RESULT:
        return None
    if order.attention is Attention.MOBILE_MISMATCH and verdict.report.mobile:
        # The item shows a mobile number, and the verdict found that it may be the order's number.
        return None
    return order.attention


OVERDUE_WINDOWS = 60
"""If an order is still pending this many windows after the age limit, it is shown to a person, whatever keeps it
pending."""
ABSENCES_BEFORE_ALONE = 3
ABSENCES_ALONE_BEFORE_GIVING_UP = 3
DENIALS_BEFORE_GIVING_UP = 3
DENIAL_WINDOWS = 120
"""An order is given up only if the last denial comes at least this many windows after the first: the order may reach
the platform late."""


def give_up(change: Change, attention: Attention, query: Query, now: datetime, why: CodedText, rules: Rules) -> Change:
    """Make an order unresolved. If a check was requested during the query, for example by a callback, have the order
    polled once more."""
    order, requested_at = change.after, query.requested_since(change.after)
    graver = gravest(order.attention, attention)
    # Clear the time until which callbacks have no effect on polling: it was set for the pending order, not for an
    # unresolved one.
    after = order.no_longer_polled(OrderState.UNRESOLVED, attention=graver, callback_check_after=None)
    if requested_at is not None:
        at = min(requested_at, unresolved_again_at(query.sent_at, rules))
        after = poll_unresolved_at(after, max(now, at))
    return query.record(change, after, EventKind.GAVE_UP, now, why.having(raised=attention))


def is_past_age_limit(order: Order, query: Query, rules: Rules) -> bool:
    """Whether the order was past the age limit when the query was sent."""
    return query.sent_at - order.age_limit_from >= timedelta(seconds=rules.unresolved_after_seconds)


def give_up_if_too_old(change: Change, query: Query, now: datetime, rules: Rules) -> Change:
    """Make a pending order unresolved if it was past the age limit when the query was sent."""
    order = change.after
    if order.state is not OrderState.PENDING or not is_past_age_limit(order, query, rules):
        return change
    return give_up(change, Attention.TOO_OLD, query, now, CodedText(TextCode.POLLED_PAST_AGE_LIMIT), rules)


def overdue_before(now: datetime, rules: Rules) -> datetime:
    """A pending order is overdue if it was submitted, or reopened, before this time."""
    return now - timedelta(seconds=rules.unresolved_after_seconds) - rules.windows(OVERDUE_WINDOWS)


def flag_overdue(order: Order, now: datetime, rules: Rules) -> Change:
    """Show an overdue order to a person. The order stays pending, since no answer has said anything about it."""
    is_overdue = order.state is OrderState.PENDING and order.age_limit_from < overdue_before(now, rules)
    if not is_overdue or order.attention is not None or order.dismissed_at is not None:
        return Change.none(order)
    flagged = replace(order, attention=Attention.TOO_OLD)
    why = CodedText(TextCode.OVERDUE, lasts=f"{rules.windows(OVERDUE_WINDOWS).total_seconds():g} s")
    return Change.none(order).record(flagged, EventKind.OVERDUE, source=Source.WORKER, at=now, detail=why)


def count_absence(
    change: Change, query: Query, answer: Answer, state: AccountState, now: datetime, rules: Rules
) -> Change:
    """Count the absence of a polled order that an answer leaves out. `state`: the account's state before the answer."""
    if is_excused(state, query, answer):
        # The answer says nothing about the order, so a requested check still has to be made.
        return change.then(replace(change.after, due_at=now, check_requested_at=change.before.check_requested_at))
    if change.before.lane is Lane.ALONE or (state.one_item_mode and query.is_alone):
        return _absent_alone(change, query, answer, state, now, rules)
    # Only an answer that holds another polled id shows that the platform read the batch.
    return _absent_from_batch(change, query, now) if answer.said else change


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
    """Count that an item of an answer denies a polled order.

    `others_believed`: whether the same answer holds a believed item of another order. `answers_before` and
    `answers_now`: the account's count of answers with a believed item, without this answer and with it.
    """
    order = change.after
    if order.denials and not (others_believed or answers_before > order.denial_mark):
        return change
    # If the first denial seems to be in the future, a clock was set back since.
    first = min(order.first_denied_at or query.sent_at, query.sent_at)
    denials = order.denials + 1
    change = change.then(replace(order, denials=denials, first_denied_at=first, denial_mark=answers_now))
    if denials < DENIALS_BEFORE_GIVING_UP or query.sent_at - first < rules.windows(DENIAL_WINDOWS):
        return change
    why = CodedText(TextCode.DENIED_AGAIN, count=denials, time=first.isoformat(timespec="seconds"))
    return give_up(change, Attention.UNKNOWN_TO_PLATFORM, query, now, why, rules)


def _absent_from_batch(change: Change, query: Query, now: datetime) -> Change:
    absences = change.after.absences + 1
    if absences < ABSENCES_BEFORE_ALONE:
        return change.then(replace(change.after, absences=absences))
    after = replace(change.after, lane=Lane.ALONE, absences=0, absence_mark=0)
    why = CodedText(TextCode.LEFT_OUT, count=absences)
    return query.record(change, after, EventKind.ASKED_ALONE, now, why)


def _absent_alone(
    change: Change, query: Query, answer: Answer, state: AccountState, now: datetime, rules: Rules
) -> Change:
    order = change.after
    # After the first absence, an empty answer counts only if the platform has answered about other orders since the
    # last absence. Otherwise, an outage would cause orders to be given up.
    others_were_answered = order.absences == 0 or state.answered_with_items > order.absence_mark
    if answer.item_count or not others_were_answered:
        return change
    absences = order.absences + 1
    change = change.then(replace(order, absences=absences, absence_mark=state.answered_with_items))
    if absences < ABSENCES_ALONE_BEFORE_GIVING_UP:
        return change
    why = CodedText(TextCode.LEFT_OUT_ALONE, count=absences)
    return give_up(change, Attention.UNKNOWN_TO_PLATFORM, query, now, why, rules)

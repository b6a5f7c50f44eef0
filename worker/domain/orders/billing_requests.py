"""Decide the requests of a billing system: which orders of a list are new, duplicates or refused, and which orders may
be cancelled or checked."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from worker.domain.orders.settlement import poll_again_now
from worker.domain.records.accounts import Rules
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import Directory, Rejection, Submission
from worker.domain.records.order_changes import Change, EventKind
from worker.domain.records.orders import Attention, Order, OrderKey, OrderState, Source, gravest, version_at
from worker.domain.records.sentences import Sentence, _
from worker.domain.scheduling.poll_schedule import first_due

_TWO_ORDERS = _("request_id, custom_parm: belong to two different known orders; send a new order under ids of its own")

Listed = Sequence[tuple[int, object, Submission]]
"""Submissions as (index in the list, payload, submission)."""


@dataclass(kw_only=True, slots=True)
class EnqueueResult:
    """The result of a list of submissions."""

    accepted: list[int] = field(default_factory=list)
    """The indexes of the new orders."""
    duplicates: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    keys: list[OrderKey] = field(default_factory=list)
    """The keys of the orders that are new or were filled in. Callbacks may wait for these orders."""
    new: list[Order] = field(default_factory=list)
    """The orders to insert; their ids are negative."""
    changes: list[Change] = field(default_factory=list)
    """The changes to known orders whose missing fields were filled in."""


def insertion_order(key: OrderKey) -> tuple[str, str, str]:
    """The sort key for inserting the orders of a list.

    Two lists that share orders insert them in the same order, so they cannot deadlock over the unique indexes.
    """
    return (key.account, key.request_id or "", key.custom_parm or "")


def names_an_id_twice(submissions: Listed) -> bool:
    """Whether two submissions of a list share an id. If so, the result of one depends on the other."""
    keys = [submission.key for _, _, submission in submissions]
    ids = [(key.account, "r", key.request_id) for key in keys if key.request_id is not None]
    ids += [(key.account, "c", key.custom_parm) for key in keys if key.custom_parm is not None]
    return len(set(ids)) < len(ids)


def new_order(submission: Submission, now: datetime, rules: Rules, *, order_id: int) -> Order:
    """The new order for a submission, due when the grace for its callback ends."""
    return Order(
        id=order_id,
        account=submission.key.account,
        request_id=submission.key.request_id,
        custom_parm=submission.key.custom_parm,
        mobile=submission.mobile,
        expected_amount=submission.expected_amount,
        submitted_at=submission.submitted_at,
        due_at=first_due(submission.submitted_at, rules),
        created_at=now,
        version=version_at(now),
    )


def differences(order: Order, submission: Submission) -> tuple[Sentence, ...]:
    """The errors for the fields in which a submission differs from the order's row. Amounts are compared by value."""
    pairs = (
        ("request_id", order.request_id, submission.key.request_id),
        ("custom_parm", order.custom_parm, submission.key.custom_parm),
        ("mobile", order.mobile, submission.mobile),
        ("expected_amount", order.expected_amount, submission.expected_amount),
    )
    return tuple(
        _(
            "%(field)s: %(value)s differs from the known order's %(known)s; send a new order under ids of its own",
            field,
            sent,
            known,
        )
        for field, known, sent in pairs
        if known is not None and sent is not None and known != sent
    )


def fill_in(order: Order, submission: Submission) -> Order:
    """The order, with the fields that its row lacks filled in from a submission. Nothing is overwritten.

    If the expected amount comes only after the order has settled, it is compared now: with the charge of a success, or
    with the price that the platform repeated for a failed order. If the amount differs from this price, the price
    counts as a charge.
    """
    filled = replace(
        order.with_request_id(submission.key.request_id),
        custom_parm=order.custom_parm or submission.key.custom_parm,
        mobile=order.mobile or submission.mobile,
        expected_amount=submission.expected_amount if order.expected_amount is None else order.expected_amount,
    )
    is_new = order.expected_amount is None and filled.expected_amount is not None
    is_compared = filled.state is OrderState.SUCCEEDED or filled.amount_is_price
    if is_new and is_compared and filled.expected_amount != filled.ori_amount:
        attention = gravest(filled.attention, Attention.AMOUNT_MISMATCH)
        return replace(filled, amount_is_price=False, attention=attention)
    return filled


def after_insertion(submissions: Listed, inserted: Collection[OrderKey]) -> tuple[EnqueueResult, Listed]:
    """Return two things: the result for the submissions whose orders were just inserted, and the submissions that are
    left.

    `inserted` holds the keys of the new rows. No two submissions share an id.
    """
    result, rest = EnqueueResult(), []
    for index, payload, submission in submissions:
        if submission.key in inserted:
            result.accepted.append(index)
            result.keys.append(submission.key)
        else:
            rest.append((index, payload, submission))
    return result, rest


def enqueue_submissions(
    submissions: Listed, known: Sequence[Order], now: datetime, rules: Rules, result: EnqueueResult
) -> None:
    """Decide about each submission in turn, and add to the result. `known` holds all orders that the submissions
    name."""
    before, directory = {order.id: order for order in known}, Directory(known)
    orders = dict(before)
    for index, payload, submission in submissions:
        named = directory.holders(submission.key)
        order = orders[named[0]] if named else None
        errors = (_TWO_ORDERS,) if len(named) > 1 else differences(order, submission) if order else ()
        if errors:
            result.rejections.append(Rejection(index=index, payload=payload, errors=errors))
            continue
        if order is None:
            entered = new_order(submission, now, rules, order_id=-1 - len(orders))
            result.accepted.append(index)
        else:
            entered = fill_in(order, submission)
            result.duplicates.append(index)
        if entered != order:
            orders[entered.id] = entered
            directory.enter(entered.key, entered.id)
            result.keys.append(entered.key)
    new = (order for order in orders.values() if order.id not in before)
    result.new = sorted(new, key=lambda order: insertion_order(order.key))
    filled_in = (order for order in orders.values() if order != before.get(order.id, order))
    result.changes = [_filled_in(before[order.id], order, now) for order in filled_in]


def _filled_in(before: Order, after: Order, now: datetime) -> Change:
    ids = {"request_id": str(after.request_id), "custom_parm": str(after.custom_parm)}
    detail = CodedText(TextCode.FILLED_IN, **ids)
    return Change.none(before).record(after, EventKind.FILLED_IN, source=Source.ENQUEUE, at=now, detail=detail)


Reference = tuple[int, object, OrderKey]
"""A reference as (index in the list, payload, key)."""


@dataclass(kw_only=True, slots=True)
class ReferenceResult:
    """The result of a list of references."""

    changed: int = 0
    unchanged: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    changes: dict[int, Change] = field(default_factory=dict)
    """The changes, by order id."""


def cancel_all(references: Sequence[Reference], orders: Sequence[Order], now: datetime) -> ReferenceResult:
    """Stop polling orders that the billing system has dealt with. Final and cancelled orders stay as they are.

    `orders` holds all orders that the references name.
    """
    result = ReferenceResult()
    for order, _reference in _named(references, orders, result):
        if order.state.may_settle and order.id not in result.changes:
            after = order.no_longer_polled(OrderState.CANCELLED)
            result.changes[order.id] = _change(order, after, EventKind.CANCELLED, now)
            result.changed += 1
        else:
            result.unchanged += 1
    return result


def check_all(references: Sequence[Reference], orders: Sequence[Order], now: datetime) -> ReferenceResult:
    """Have pending orders polled next. Refuse orders in other states: they must be reopened first.

    `orders` holds all orders that the references name.
    """
    result = ReferenceResult()
    for order, (index, payload, key) in _named(references, orders, result):
        if order.state is not OrderState.PENDING:
            is_now = Sentence(order.state.value)
            error = _("order %(order)s: is %(state)s, not pending; reopen it first", key, is_now)
            result.rejections.append(Rejection(index=index, payload=payload, errors=(error,)))
            continue
        after = replace(poll_again_now(order, now), check_requested_at=now)
        result.changes[order.id] = _change(order, after, EventKind.CHECK_REQUESTED, now)
        result.changed += 1
    return result


def _named(
    references: Sequence[Reference], orders: Sequence[Order], result: ReferenceResult
) -> list[tuple[Order, Reference]]:
    """The order that each reference names. Refuse a reference that names no order, or two orders."""
    by_id, directory = {order.id: order for order in orders}, Directory(orders)
    found = []
    for index, payload, key in references:
        named = directory.holders(key)
        if len(named) == 1:
            found.append((by_id[named[0]], (index, payload, key)))
            continue
        why = _("its ids belong to two different orders") if named else _("is not known; enqueue it first")
        error = _("order %(order)s: %(why)s", key, why)
        result.rejections.append(Rejection(index=index, payload=payload, errors=(error,)))
    return found


def _change(before: Order, after: Order, kind: EventKind, now: datetime) -> Change:
    return Change.none(before).record(after, kind, source=Source.BILLING, at=now)
